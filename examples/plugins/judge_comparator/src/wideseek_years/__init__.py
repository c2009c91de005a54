"""Compares years that sources give differently: `"metric": ["near_year"]` in a task."""

import re

_YEAR = re.compile(r"\b[12]\d{3}\b")


def near_year(answer: str, reference: str, criterion: float | str | None) -> float:
    """1 for years at most `criterion` apart (1 if there is none), 0 for all else."""
    years = [_YEAR.search(cell) for cell in (answer, reference)]
    if years[0] is None or years[1] is None:
        return 0.0
    allowed = float(criterion) if criterion is not None else 1.0
    return float(abs(int(years[0][0]) - int(years[1][0])) <= allowed)
