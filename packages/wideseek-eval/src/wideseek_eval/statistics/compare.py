"""Whether one run is better than another: paired over questions, with family-wise error held."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import numpy as np

from wideseek_core import ConfigError, DataError, Task
from wideseek_core.tasks import Record
from wideseek_eval.runs.results import Result
from wideseek_eval.statistics.means import Floats, Mean, holm, mean_of, resampled_means
from wideseek_eval.statistics.summary import EFFORT, Counts, count, values_by_question

HEADLINE = ("item_f1", "row_f1", "success", "correct", "format_valid")
"""What is compared by default: few metrics, since each one widens Holm's correction."""

MAX_DRAWS = 10_000_000


class Difference(Record):
    """One metric of B minus A, over the questions that count in both."""

    metric: str
    a: Mean
    b: Mean
    difference: float
    low: float
    """Of the 95% percentile interval of the paired bootstrap."""
    high: float
    p: float
    """Two-sided, from the bootstrap shifted to no difference."""
    p_holm: float
    """Adjusted over all scores compared; counts of effort are adjusted among themselves."""


class Comparison(Record):
    """Two runs side by side."""

    version: Literal[1] = 1
    questions: int
    """Asked in both."""
    only_a: int
    only_b: int
    counts_a: Counts
    counts_b: Counts
    draws: int
    differences: tuple[Difference, ...]


def compare(
    a: Sequence[Result],
    b: Sequence[Result],
    *,
    metrics: Iterable[str] = HEADLINE,
    draws: int = 10_000,
    seed: int = 0,
) -> Comparison:
    """Paired bootstrap of B minus A over questions.

    Raises `DataError` if none is shared, `ConfigError` for a number of draws or a seed that can't
    be used.
    """
    if not 1 <= draws <= MAX_DRAWS:
        raise ConfigError(f"draws must be from 1 to {MAX_DRAWS:,} (got {draws})")
    if seed < 0:
        raise ConfigError(f"seed must not be negative (got {seed})")
    in_a, in_b = {result.task_id for result in a}, {result.task_id for result in b}
    if not in_a & in_b:
        raise DataError("the two runs share no question")
    differences = [_difference(a, b, name, draws, seed) for name in metrics]
    found = [difference for difference in differences if difference is not None]
    adjusted = _adjusted(found)
    return Comparison(
        questions=len(in_a & in_b),
        only_a=len(in_a - in_b),
        only_b=len(in_b - in_a),
        counts_a=count(a),
        counts_b=count(b),
        draws=draws,
        differences=tuple(
            difference.model_copy(update={"p_holm": adjusted[difference.metric]})
            for difference in found
        ),
    )


def _adjusted(found: Sequence[Difference]) -> dict[str, float]:
    """Holm's p by metric. Showing an effort beside the scores must not change their p."""
    adjusted: dict[str, float] = {}
    for is_effort in (False, True):
        family = [item for item in found if (item.metric in EFFORT) == is_effort]
        values = holm([item.p for item in family])
        adjusted |= {item.metric: p for item, p in zip(family, values, strict=True)}
    return adjusted


def _difference(
    a: Sequence[Result], b: Sequence[Result], name: str, draws: int, seed: int
) -> Difference | None:
    trials_a, trials_b = values_by_question(a, name), values_by_question(b, name)
    shared = sorted(trials_a.keys() & trials_b.keys())
    if not shared:
        return None
    means_a = _means(trials_a, shared)
    means_b = _means(trials_b, shared)
    gaps = means_b - means_a
    gap = float(gaps.mean())
    drawn = resampled_means(gaps[:, None], draws, seed)[:, 0]
    low, high = np.quantile(drawn, [0.025, 0.975])
    # Shifted so that its mean is 0, the bootstrap shows what chance alone would give. The slack
    # lets draws that equal the gap but for rounding count as extreme.
    extreme = np.abs(drawn - gap) >= abs(gap) - 1e-12
    p = (1 + int(extreme.sum())) / (1 + draws)
    return Difference(
        metric=name,
        a=mean_of(means_a, fraction=name not in EFFORT),
        b=mean_of(means_b, fraction=name not in EFFORT),
        difference=gap,
        low=float(low),
        high=float(high),
        p=p,
        p_holm=p,
    )


def _means(trials: Mapping[str, Sequence[float]], questions: Sequence[str]) -> Floats:
    means = [sum(trials[question]) / len(trials[question]) for question in questions]
    return np.array(means, dtype=np.float64)


def check_same_tasks(a: Mapping[str, Task], b: Mapping[str, Task]) -> None:
    """Raises `DataError` if a question of both runs has different references."""
    for name in a.keys() & b.keys():
        if a[name].gold != b[name].gold or a[name].question != b[name].question:
            raise DataError(f"task {name!r} is not the same question in the two runs")
