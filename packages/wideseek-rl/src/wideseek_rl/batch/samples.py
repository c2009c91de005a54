"""Training samples: turns that extend one another share one sequence, each token trained once.

A turn's prompt repeats everything its agent saw before. Training every turn by itself would run
those tokens through the model again and again; a sample holds the last turn of a chain and trains
the responses of all turns that it extends. Where the context was rebuilt, a new sample begins.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from wideseek_core import TrainError, Turn
from wideseek_rl.numbers import MAX_NUMBER, count_numbers

Floats = NDArray[np.float32]
Ids = NDArray[np.int32]

MAX_ID = np.iinfo(np.int32).max
"""The highest token id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedTurn:
    """A sampled turn with what its tokens count for.

    Example: `TrainedTurn(turn=turn, weight=1 / 240, advantage=0.7)`
    """

    turn: Turn
    weight: float
    """Of each response token, in the objective."""
    advantage: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrainingSample:
    """One sequence to train on: plain arrays of equal length, one entry per token.

    `weights` is 0 where nothing trains; there the other two have no meaning.
    """

    ids: Ids
    weights: Floats
    advantages: Floats
    logprobs: Floats
    """Under the distribution that sampled the token."""
    group: int = 0
    """Which prompt of the step it belongs to: the samples of a prompt stay in one update."""
    turn_starts: tuple[int, ...] = ()
    """Where the response of each turn begins, in order: tokens that do not train, in the middle of
    a response, do not end it. Empty where nobody knows; then a turn is what trains without a gap.
    """

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def trained(self) -> int:
        """How many tokens train."""
        return int(np.count_nonzero(self.weights))

    @property
    def nll(self) -> float:
        """Negative log-likelihood of the trained tokens together, −Σ log π in nats."""
        return -float(self.logprobs[self.weights != 0].sum())

    def turns(self) -> NDArray[np.int64]:
        """The number of the turn that each trained token is of, from 0."""
        at = np.flatnonzero(self.weights)
        if not self.turn_starts:
            first = np.diff(at, prepend=-2) > 1
        else:
            spans = np.searchsorted(self.turn_starts, at, side="right")
            first = np.diff(spans, prepend=-1) > 0
        return np.cumsum(first, dtype=np.int64) - 1

    def scaled(self, factor: float) -> "TrainingSample":
        """The same sample with all weights multiplied."""
        return replace(self, weights=self.weights * np.float32(factor))


def is_trainable(turn: Turn) -> bool:
    """Whether a turn has a prompt, a response, and a log-prob for each token of the response."""
    ids = turn.prompt_ids + turn.response_ids
    if not turn.prompt_ids or not turn.response_ids or len(turn.logprobs) != len(turn.response_ids):
        return False
    return min(ids) >= 0 and max(ids) <= MAX_ID


def trained_tokens(turn: Turn) -> int:
    """How many tokens of a trainable turn train: those whose log-prob is a number."""
    return count_numbers(turn.logprobs)


def build_samples(turns: Sequence[TrainedTurn], *, group: int = 0) -> list[TrainingSample]:
    """The samples of the turns of one agent (or of several).

    Tokens whose log-prob is no number do not train; nor do they count as trained. Raises
    `TrainError` for turns without token ids, as chat endpoints give them.
    """
    return [_sample(chain, group) for chain in _chains(turns)]


def _chains(turns: Sequence[TrainedTurn]) -> list[list[TrainedTurn]]:
    """Splits turns into chains in which each prompt continues the turn before it.

    Sorted by their tokens, all sequences between one and its extensions extend it too, so one
    pass with a stack of open prefixes finds each turn's ancestors.
    """
    ordered = sorted(((*_keys(turn.turn), turn) for turn in turns), key=lambda item: item[:2])
    chains: list[list[TrainedTurn]] = []
    stack: list[tuple[bytes, int]] = []  # the ancestors' sequences, with the chain they end
    ends: dict[int, bytes] = {}  # chain -> the sequence it ends with
    for sequence, prompt, turn in ordered:
        while stack and not sequence.startswith(stack[-1][0]):
            stack.pop()
        # An ancestor that reaches into this response was sampled beside it, not before it.
        near = next((entry for entry in reversed(stack) if len(entry[0]) <= len(prompt)), None)
        if near is not None and ends[near[1]] == near[0]:
            chain = near[1]
            chains[chain].append(turn)
        else:
            chain = len(chains)
            chains.append([turn])
        ends[chain] = sequence
        stack.append((sequence, chain))
    return chains


def _keys(turn: Turn) -> tuple[bytes, bytes]:
    """The whole sequence and the prompt as bytes that sort like the ids themselves."""
    if not is_trainable(turn):
        counts = len(turn.prompt_ids), len(turn.response_ids), len(turn.logprobs)
        raise TrainError(
            "a turn has {} prompt ids, {} response ids and {} log-probabilities: "
            "training needs a policy that samples token ids".format(*counts)
        )
    prompt = np.asarray(turn.prompt_ids, dtype=">u4").tobytes()
    return prompt + np.asarray(turn.response_ids, dtype=">u4").tobytes(), prompt


def _sample(chain: Sequence[TrainedTurn], group: int) -> TrainingSample:
    last = chain[-1].turn
    ids = np.asarray(last.prompt_ids + last.response_ids, dtype=np.int32)
    weights, advantages, logprobs = (np.zeros(len(ids), dtype=np.float32) for _ in range(3))
    for trained in chain:
        start = len(trained.turn.prompt_ids)
        span = slice(start, start + len(trained.turn.response_ids))
        given = np.asarray(trained.turn.logprobs)
        known = np.abs(given) <= MAX_NUMBER
        sampled = np.where(known, given, 0.0)
        weights[span] = np.where(known, np.float32(trained.weight), np.float32(0))
        advantages[span] = trained.advantage
        logprobs[span] = sampled
    return TrainingSample(
        ids=ids,
        weights=weights,
        advantages=advantages,
        logprobs=logprobs,
        group=group,
        turn_starts=tuple(len(trained.turn.prompt_ids) for trained in chain),
    )


def turn_numbers(samples: Sequence[TrainingSample]) -> NDArray[np.int64]:
    """The number of the turn that each trained token is of, counted over all samples."""
    parts, count = [np.zeros(0, dtype=np.int64)], 0
    for sample in samples:
        turns = sample.turns()
        parts.append(turns + count)
        count += int(turns[-1]) + 1 if len(turns) else 0
    return np.concatenate(parts)


def split_samples(samples: Sequence[TrainingSample], parts: int) -> Iterator[list[TrainingSample]]:
    """Deals samples to several updates by prompt, so that each keeps the scale of the whole.

    Weights of a part are multiplied by the number of prompts over those in the part.
    """
    groups = sorted({sample.group for sample in samples})
    parts = max(1, min(parts, len(groups)))
    for part in range(parts):
        chosen = set(groups[part::parts])
        factor = len(groups) / len(chosen)
        yield [
            sample.scaled(factor) if factor != 1 else sample
            for sample in samples
            if sample.group in chosen
        ]
