"""The training rule: as `strict`, but the judge decides on every column that is no key.

Rules of columns are ignored, and plain numbers outside the key are cut to six significant digits.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

from wideseek_core import Score, TableGold
from wideseek_judge.rules.reference import JUDGED, Reference, Row, read_reference
from wideseek_judge.rules.strict import answer_rows, failed, score_rows
from wideseek_judge.verdicts import JudgingContext, Verdicts


async def score_for_training(
    context: JudgingContext, gold: TableGold, answer: str, verdicts: Verdicts
) -> Score:
    """The score of an answer text against a reference table. Raises `DataError`, `JudgeError`."""
    reference = read_reference(gold)
    reference = replace(
        reference,
        rules=(JUDGED,) * len(reference.columns),
        rows=_shortened(reference, reference.rows),
    )
    rows = await answer_rows(context, reference, answer, verdicts)
    if isinstance(rows, str):
        return failed(rows)
    return await score_rows(context, reference, _shortened(reference, rows), verdicts)


def _shortened(reference: Reference, rows: Sequence[Row]) -> list[Row]:
    """Rows with plain numbers cut to six digits, keys left whole: they must stay apart."""
    return [
        tuple(cell if at in reference.keys else _short_number(cell) for at, cell in enumerate(row))
        for row in rows
    ]


def _short_number(cell: str) -> str:
    if not cell or cell[-1] not in "0123456789.":
        return cell
    try:
        number = float(cell)
    except ValueError:
        return cell
    return f"{number:g}" if math.isfinite(number) else cell
