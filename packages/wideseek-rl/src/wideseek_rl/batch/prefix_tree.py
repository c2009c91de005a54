"""Samples that begin alike as one sequence in which every shared token stands once.

The agents of a question's rollouts get the same prompts and, where the policy is confident, give
the same responses. Run separately, the samples would compute those tokens again and again. A tree
lays them out one after another, and each token attends to its own sample's past alone, which gives
every sample the values that it would have by itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wideseek_rl.batch.samples import Ids, TrainingSample

Places = NDArray[np.int64]

PAIR_COST = 2e-3
"""What a pair of tokens costs in attention, in costs of a token in all else. Measured for the start
policy; for larger models it is less, so a tree that pays here pays there."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PrefixTree:
    """Some samples, with T tokens among them.

    Example: samples `a b c` and `a b d e` make the tokens `a b c d e`; their paths are
    `0 1 2` and `0 1 3 4`.
    """

    samples: tuple[TrainingSample, ...]
    ids: Ids
    """`[T]`."""
    paths: tuple[Places, ...]
    """Where the tokens of each sample stand: one array as long as its sample."""

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def branched(self) -> bool:
        """Whether some sample leaves another's way, so that plain causal attention won't do."""
        return len(self) > max(map(len, self.samples))

    def positions(self) -> Places:
        """The place of each token in its own sample, `[T]`."""
        found = np.zeros(len(self), dtype=np.int64)
        for path in self.paths:
            found[path] = np.arange(len(path))
        return found

    def mask(self) -> NDArray[np.bool_]:
        """True where a token (first index) may attend to another: `[T, T]`."""
        seen = np.eye(len(self), dtype=np.bool_)
        for path in self.paths:
            seen[np.ix_(path, path)] |= np.tri(len(path), dtype=np.bool_)
        return seen


def single(sample: TrainingSample) -> PrefixTree:
    """A tree of one sample."""
    return PrefixTree(samples=(sample,), ids=sample.ids, paths=(np.arange(len(sample)),))


def build_prefix_trees(samples: Sequence[TrainingSample], max_tokens: int) -> list[PrefixTree]:
    """All samples in trees of at most `max_tokens`, shared where that costs less than apart.

    Samples sorted by their tokens have their longest common beginning with a neighbour, so each is
    tried on the tree of the one before it alone.
    """
    trees: list[PrefixTree] = []
    for sample in sorted(samples, key=lambda sample: sample.ids.astype(">u4").tobytes()):
        grown = _joined(trees[-1], sample) if trees else None
        if grown is not None and len(grown) <= max_tokens and _pays(trees[-1], sample, grown):
            trees[-1] = grown
        else:
            trees.append(single(sample))
    return trees


def _joined(tree: PrefixTree, sample: TrainingSample) -> PrefixTree:
    """The tree with one more sample, which follows the last one as long as it can."""
    last = tree.samples[-1]
    length = min(len(last), len(sample))
    differing = np.flatnonzero(last.ids[:length] != sample.ids[:length])
    shared = int(differing[0]) if len(differing) else length
    new = np.arange(len(tree), len(tree) + len(sample) - shared)
    return PrefixTree(
        samples=(*tree.samples, sample),
        ids=np.concatenate([tree.ids, sample.ids[shared:]]),
        paths=(*tree.paths, np.concatenate([tree.paths[-1][:shared], new])),
    )


def _pays(tree: PrefixTree, sample: TrainingSample, grown: PrefixTree) -> bool:
    return _cost(grown) < _cost(tree) + _cost(single(sample))


def _cost(tree: PrefixTree) -> float:
    """Causal attention skips half of the pairs; under a mask all are computed."""
    pairs = len(tree) ** 2 * (1.0 if tree.branched else 0.5)
    return len(tree) + PAIR_COST * pairs
