"""Tables as the official evaluator reads them, with the type inference of `pandas.read_csv`.

The official numbers depend on that inference: empty cells and `NA` become `nan`, a column of whole
numbers with a gap becomes `5.0`, quotes vanish. It is confined to this module.
"""

import io
import math
import re
from collections.abc import Sequence
from typing import Any, cast

import pandas

from wideseek_core import TableGold
from wideseek_core.tables import MarkdownTable

_FENCED = re.compile(r"```markdown(.*?)```", re.DOTALL)
_PIPE_LINES = re.compile(r"((?:\|.*\n?)+)")


def official_name(name: str) -> str:
    """A column name in the official normal form."""
    return name.strip().lower().replace(" ", "")


def official_table(text: str) -> MarkdownTable | None:
    """The table of an answer; None if the official extraction finds none.

    Raises whatever `read_csv` raises on it.
    """
    block = _first_block(text)
    if block is None:
        return None
    lines = block.strip().split("\n")
    lines[0] = lines[0].replace(" ", "").lower()
    kept = [
        "|".join(cell.strip() for cell in line.strip().split("|"))
        for line in lines
        if "|" in line and not set(line.strip()) <= set("|- :")
    ]
    frame = cast(Any, pandas).read_csv(io.StringIO("\n".join(kept)), sep="|")
    return _cast(frame, drop_unnamed=True)


def _first_block(text: str) -> str | None:
    """The first fenced `markdown` block, else the first run of lines that begin with a pipe."""
    fenced = _FENCED.search(text)
    if fenced is not None:
        return fenced[1]
    if text.count("|") < 4:
        return None
    start = max(text.rfind("\n", 0, text.index("|")), 0)
    end = text.find("\n", text.rindex("|"))
    run = _PIPE_LINES.search(text[start : end if end >= 0 else len(text)])
    return run[1] if run else None


def official_gold(gold: TableGold) -> MarkdownTable | None:
    """The reference as the official evaluator reads it: CSV, or the same way as answers."""
    if gold.format == "markdown":
        return official_table(gold.text.lstrip("\ufeff"))
    frame = cast(Any, pandas).read_csv(io.StringIO(gold.text.lstrip("\ufeff")))
    return _cast(frame, drop_unnamed=False)


def _cast(frame: Any, *, drop_unnamed: bool) -> MarkdownTable:
    """Names in normal form, and every value as text: `nan`, `5`, `5.0`, `True`."""
    columns = [str(name) for name in frame.columns]
    kept = [at for at, name in enumerate(columns) if not (drop_unnamed and _unnamed(name))]
    values = [_texts(frame.iloc[:, at].tolist()) for at in kept]
    return MarkdownTable(
        columns=tuple(official_name(columns[at]) for at in kept),
        rows=tuple(zip(*values, strict=True)) if values else (),
    )


def _unnamed(name: str) -> bool:
    return name.startswith("Unnamed")


def _texts(values: Sequence[object]) -> list[str]:
    return [
        "nan" if value is None or (isinstance(value, float) and math.isnan(value)) else str(value)
        for value in values
    ]
