"""Means over questions with honest intervals. Plain numbers in, plain numbers out.

Trials of one question resemble each other, so the question is the unit: a mean is the mean over
questions of each question's own mean, and its standard error comes from the spread between
questions (cluster-robust, every question weighing the same).
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from wideseek_core.tasks import Record

Floats = NDArray[np.float64]

Z95 = 1.959963984540054
_T95 = (
    *(12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469),
    *(2.3646, 2.3060, 2.2622, 2.2281, 2.2010, 2.1788),
)


_DRAWS_AT_ONCE = 10_000


class Mean(Record):
    """A mean over questions, its standard error and its 95% interval."""

    mean: float
    se: float | None = None
    """Clustered by question; None for a single question."""
    low: float
    high: float
    questions: int

    def __str__(self) -> str:
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]"


def mean_of(values: Sequence[float] | Floats, *, fraction: bool = True) -> Mean:
    """The mean of one value per question, none of which is negative.

    `fraction` says that values lie in [0, 1]: then the interval does too, and where all are 0 (or
    all 1) it has the Wilson interval's width instead of none. Other intervals never go below 0. A
    recall that counts rows several times may pass 1; the interval then ends at the largest value.
    """
    array = np.asarray(values, dtype=np.float64)
    count = int(array.size)
    if count == 0:
        return Mean(mean=0.0, low=0.0, high=1.0 if fraction else 0.0, questions=0)
    mean, largest = float(array.mean()), float(array.max())
    if count == 1:
        low, high = (0.0, max(1.0, mean)) if fraction else (mean, mean)
        return Mean(mean=mean, low=low, high=high, questions=1)
    with np.errstate(over="ignore"):  # of values that no metric has
        se = float(array.std(ddof=1)) / math.sqrt(count)
    half = t95(count - 1) * se
    low, high = max(mean - half, 0.0), mean + half
    if fraction:
        high = min(high, max(1.0, largest))
        if se == 0.0 and mean == 0.0:
            high = Z95**2 / (count + Z95**2)
        elif se == 0.0 and mean == 1.0:
            low = count / (count + Z95**2)
    return Mean(mean=mean, se=se, low=low, high=high, questions=count)


def t95(degrees: int) -> float:
    """The 97.5% quantile of Student's t, from a table and Cornish-Fisher's expansion."""
    if degrees <= len(_T95):
        return _T95[degrees - 1]
    z, n = Z95, float(degrees)
    first = (z**3 + z) / (4 * n)
    second = (5 * z**5 + 16 * z**3 + 3 * z) / (96 * n**2)
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * n**3)
    return z + first + second + third


def pass_at(trials: int, right: int, k: int) -> float:
    """Chance that at least one of `k` trials is right, when `right` of `trials` were.

    1 - C(n-c, k) / C(n, k): unbiased, and the plain maximum for k = n.
    """
    if trials - right < k:
        return 1.0
    return 1.0 - math.comb(trials - right, k) / math.comb(trials, k)


def resampled_means(values: Floats, draws: int, seed: int) -> Floats:
    """Means of `draws` bootstrap samples of the questions. `values`: [questions, metrics]."""
    generator = np.random.default_rng(seed)
    count = values.shape[0]
    chances = np.full(count, 1.0 / count)
    parts: list[Floats] = []
    # As multinomial weights: one matrix product instead of a gather per draw; in parts, since the
    # weights of all draws together may not fit into memory.
    for start in range(0, draws, _DRAWS_AT_ONCE):
        size = min(_DRAWS_AT_ONCE, draws - start)
        parts.append((generator.multinomial(count, chances, size=size) @ values) / count)
    return np.concatenate(parts)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment: family-wise error over all the given tests."""
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = highest
    return adjusted
