"""Tables against reference tables, by WideSearch's rules with their quirks repaired.

    answer -> table -> required columns -> rows joined one to one by key -> cells -> metrics

Each step is one function of a module of its own, and nothing goes back to an earlier one.
"""

from collections.abc import Callable, Sequence
from functools import partial

from wideseek_core import KEY_JOINT, CellScore, Score, ScoreState, TableGold, TableMetrics
from wideseek_judge.rules.cells import cell_verdicts, judge_questions
from wideseek_judge.rules.columns import choose_table, column_name, locate_columns
from wideseek_judge.rules.reference import Reference, Row, read_reference
from wideseek_judge.rules.row_join import Join, join_rows
from wideseek_judge.rules.table_metrics import Counts, table_metrics
from wideseek_judge.verdicts import JudgingContext, Verdict, Verdicts

Prepare = Callable[[Reference, list[Row]], list[Row]]
"""What is done to rows of the reference and of the answer before they are joined."""


async def score_strictly(
    context: JudgingContext, gold: TableGold, answer: str, verdicts: Verdicts
) -> Score:
    """The score of an answer text against a reference table. Raises `DataError`, `JudgeError`."""
    reference = read_reference(gold)
    rows = await answer_rows(context, reference, answer, verdicts)
    if isinstance(rows, str):
        return failed(rows)
    return await score_rows(context, reference, rows, verdicts)


async def answer_rows(
    context: JudgingContext, reference: Reference, answer: str, verdicts: Verdicts
) -> list[Row] | str:
    """The rows of an answer, cut to the required columns; or what is missing."""
    normalize = reference.normalize_columns
    table = choose_table(answer, reference.columns, normalize=normalize)
    if table is None:
        return "no table in the answer"
    names = [column_name(name, normalize=normalize) for name in table.columns]
    required = reference.columns
    positions = await locate_columns(context, names, required, verdicts, align=normalize)
    missing = [name for name, at in zip(required, positions, strict=True) if at is None]
    if missing:
        return f"columns missing: {', '.join(missing)}"
    taken = [at for at in positions if at is not None]
    return [tuple(row[at] for at in taken) for row in table.rows] or "the table has no rows"


async def score_rows(
    context: JudgingContext, reference: Reference, rows: Sequence[Row], verdicts: Verdicts
) -> Score:
    """The score of an answer's rows."""
    questions = partial(judge_questions, reference)
    join = await join_rows(context, reference, rows, verdicts, questions)
    cells = await cell_verdicts(context, reference, join.pairs, verdicts)
    return _explained(context, reference, join, cells)


def failed(message: str) -> Score:
    """The score of an answer that holds no usable table."""
    return Score(state=ScoreState.FAILED, metrics=TableMetrics(), message=message)


def _explained(
    context: JudgingContext,
    reference: Reference,
    join: Join,
    verdicts: Sequence[Sequence[Verdict]],
) -> Score:
    """The metrics, and why each cell got its score."""
    rows = [[column[index] for column in verdicts] for index in range(len(join.pairs))]
    cells = [
        CellScore(
            key=_name(reference, gold),
            column=reference.columns[at],
            answer=row[at],
            gold=gold[at],
            score=verdict.score,
            by=verdict.by,
        )
        for (row, gold), found in zip(join.pairs, rows, strict=True)
        for at, verdict in enumerate(found)
    ]
    counts = Counts(
        item_score=sum(cell.score for cell in cells),
        row_score=sum(min(verdict.score for verdict in row) for row in rows),
        answer_rows=join.answer_rows,
        gold_rows=len(reference.rows),
        columns=len(reference.columns),
    )
    return Score(
        state=ScoreState.SCORED,
        metrics=table_metrics(counts),
        format_valid=True,
        cells=tuple(cells),
        missing_rows=tuple(_name(reference, row) for row in join.missing),
        extra_rows=tuple(_name(reference, row) for row in join.extra),
        judge_calls=context.calls,
        judge_usage=context.usage,
    )


def _name(reference: Reference, row: Row) -> str:
    return KEY_JOINT.join(reference.key(row))
