"""Rows that begin alike as one sequence in which every shared token stands once.

The agents of a question's rollouts are told the same and, where the policy is sure, say the same.
Rows side by side would run those tokens again and again. A tree lays them out one after another,
each token attending to its own row's past alone, which gives every row the numbers it would have
by itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wideseek_rl.rows import Ids, Row

Places = NDArray[np.int64]

PAIR_COST = 2e-3
"""What a pair of tokens costs in attention, in costs of a token in all else. Measured for the start
policy; for larger models it is less, so a tree that pays here pays there."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tree:
    """Some rows, with T tokens among them.

    Example: rows `a b c` and `a b d e` make the tokens `a b c d e`; their paths are
    `0 1 2` and `0 1 3 4`.
    """

    rows: tuple[Row, ...]
    ids: Ids
    """`[T]`."""
    paths: tuple[Places, ...]
    """Where the tokens of each row stand: one array as long as its row."""

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def branched(self) -> bool:
        """Whether some row leaves another's way, so that plain causal attention won't do."""
        return len(self) > max(map(len, self.rows))

    def positions(self) -> Places:
        """The place of each token in its own row, `[T]`."""
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


def single(row: Row) -> Tree:
    """A tree of one row."""
    return Tree(rows=(row,), ids=row.ids, paths=(np.arange(len(row)),))


def grow(rows: Sequence[Row], max_tokens: int) -> list[Tree]:
    """All rows in trees of at most `max_tokens`, shared where that costs less than apart.

    Rows sorted by their tokens have their longest common beginning with a neighbour, so each is
    tried on the tree of the one before it alone.
    """
    trees: list[Tree] = []
    for row in sorted(rows, key=lambda row: row.ids.astype(">u4").tobytes()):
        grown = _joined(trees[-1], row) if trees else None
        if grown is not None and len(grown) <= max_tokens and _pays(trees[-1], row, grown):
            trees[-1] = grown
        else:
            trees.append(single(row))
    return trees


def _joined(tree: Tree, row: Row) -> Tree:
    """The tree with one more row, which follows the last one as long as it can."""
    last = tree.rows[-1]
    length = min(len(last), len(row))
    differing = np.flatnonzero(last.ids[:length] != row.ids[:length])
    shared = int(differing[0]) if len(differing) else length
    new = np.arange(len(tree), len(tree) + len(row) - shared)
    return Tree(
        rows=(*tree.rows, row),
        ids=np.concatenate([tree.ids, row.ids[shared:]]),
        paths=(*tree.paths, np.concatenate([tree.paths[-1][:shared], new])),
    )


def _pays(tree: Tree, row: Row, grown: Tree) -> bool:
    return _cost(grown) < _cost(tree) + _cost(single(row))


def _cost(tree: Tree) -> float:
    """Causal attention skips half of the pairs; under a mask all are computed."""
    pairs = len(tree) ** 2 * (1.0 if tree.branched else 0.5)
    return len(tree) + PAIR_COST * pairs
