"""Tokens and samples that can't be trained on: masked before they run, counted and named.

One odd number must not cost everybody's step. A turn in which the sampler reported something that
is no log-probability is masked whole, since whatever went wrong went on from there.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from wideseek_core.counting import counted
from wideseek_rl.batch.samples import TrainingSample

MAX_LOGPROB = 1e-2
"""Log-probabilities are at most 0; so much is left to rounding."""

MAX_NAMED = 5
"""Samples that a warning names."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Screened:
    """What is left of a step's samples."""

    samples: list[TrainingSample]
    tokens: int
    """Tokens that were masked, those of dropped samples included."""
    dropped: int
    """Samples of which nothing is left to train."""


def screen(samples: Sequence[TrainingSample], vocabulary: int) -> Screened:
    """Masks turns whose numbers are not finite, and drops samples with ids of no token."""
    kept: list[TrainingSample] = []
    masked, names = 0, list[str]()
    for number, sample in enumerate(samples):
        trained = sample.weights != 0  # true of NaN as well
        reason, bad = _fault(sample, trained, vocabulary)
        if reason is None:
            kept.append(sample)
            continue
        masked += int(bad.sum())
        tokens = counted(int(bad.sum()), "token")
        names.append(f"sample {number} of prompt {sample.group}: {tokens}, {reason}")
        if (trained & ~bad).any():
            kept.append(_masked(sample, bad))
    if names:
        more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
        logger.warning(
            "%s not trained: %s%s", counted(masked, "token"), "; ".join(names[:MAX_NAMED]), more
        )
    return Screened(samples=kept, tokens=masked, dropped=len(samples) - len(kept))


def _fault(
    sample: TrainingSample, trained: NDArray[np.bool_], vocabulary: int
) -> tuple[str | None, NDArray[np.bool_]]:
    """What is wrong with a sample, and which of its tokens must not train."""
    if len(sample) and not 0 <= int(sample.ids.min()) <= int(sample.ids.max()) < vocabulary:
        return f"ids outside of 0..{vocabulary - 1}", trained
    checks = {
        "weight": np.isfinite(sample.weights),
        "advantage": np.isfinite(sample.advantages),
        "log-probability": np.isfinite(sample.logprobs) & (sample.logprobs <= MAX_LOGPROB),
    }
    found = [(name, trained & ~good) for name, good in checks.items()]
    found = [(name, bad) for name, bad in found if bad.any()]
    if trained.any() and trained[0]:
        found.append(("no token before it", trained & (np.arange(len(trained)) == 0)))
    if not found:
        return None, np.zeros(len(sample), dtype=np.bool_)
    bad = np.logical_or.reduce([bad for _, bad in found])
    name, first = found[0]
    values = {
        "weight": sample.weights,
        "advantage": sample.advantages,
        "log-probability": sample.logprobs,
    }
    reason = f"{name} {values[name][np.argmax(first)]}" if name in values else name
    return reason, _whole_turns(sample, bad)


def _whole_turns(sample: TrainingSample, bad: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """All trained tokens of the turns that hold a bad one."""
    at, turns = np.flatnonzero(sample.weights), sample.turns()
    found = np.zeros(len(sample), dtype=np.bool_)
    found[at[np.isin(turns, turns[bad[at]])]] = True
    return found


def _masked(sample: TrainingSample, bad: NDArray[np.bool_]) -> TrainingSample:
    zero = np.float32(0)
    return replace(
        sample,
        weights=np.where(bad, zero, sample.weights),
        advantages=np.where(bad, zero, sample.advantages),
        logprobs=np.where(bad, zero, sample.logprobs),
    )
