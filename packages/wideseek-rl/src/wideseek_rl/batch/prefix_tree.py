"""Samples with a common prefix as one sequence in which every shared token occurs once.

The agents of a question's rollouts have the same instructions and, where the policy is sure, say
the same. Samples side by side would run those tokens again and again. A tree lays them out depth
first, each token attending to its own sample's past alone, which gives every sample the numbers it
would have by itself.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from wideseek_rl.batch.samples import Ids, TrainingSample

Places = NDArray[np.int64]

DENSE_PAIR_COST = 2e-3
"""What a pair of tokens under a dense mask costs, in costs of a token in all else. Measured for the
start policy; for larger models it is less, so a tree that pays here pays there. Kernels that skip
what nothing attends to have no such cost: there sharing always pays."""

MAX_MASKED_TOKENS = 8192
"""Longest tree under a dense mask, which takes a byte for each pair of its tokens."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PrefixTree:
    """Some samples, with T tokens in K nodes among them, laid out depth first.

    Example: samples `a b c` and `a b d e` make the tokens `a b c d e` in the nodes `a b`, `c` and
    `d e`; their paths are `0 1 2` and `0 1 3 4`.
    """

    samples: tuple[TrainingSample, ...]
    last_nodes: tuple[int, ...]
    """The node in which each sample ends."""
    ids: Ids
    """`[T]`."""
    starts: Places
    """`[K]`, the place of each node's first token; a node ends where the next one starts."""
    depths: Places
    """`[K]`, the position of that token in the samples that go through the node."""
    parents: Places
    """`[K]`, the node above, or -1."""
    branched: bool
    """Whether some node has several below it, so that plain causal attention won't do."""

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def paths(self) -> list[Places]:
        """Where the tokens of each sample stand: one array as long as its sample."""
        return [self._path(node) for node in self.last_nodes]

    def positions(self) -> Places:
        """The place of each token in its own sample, `[T]`."""
        return np.arange(len(self)) - np.repeat(self.starts - self.depths, self._lengths())

    def ends(self) -> Places:
        """One past the last place below the node of each token, `[T]`: see `SequenceLayout`."""
        ends = np.append(self.starts[1:], len(self))
        for node in range(len(ends) - 1, 0, -1):  # children come after their parents
            parent = self.parents[node]
            if parent >= 0:
                ends[parent] = max(ends[parent], ends[node])
        return np.repeat(ends, self._lengths())

    def _lengths(self) -> Places:
        return np.diff(self.starts, append=len(self))

    def _path(self, node: int) -> Places:
        parts: list[Places] = []
        ends = np.append(self.starts[1:], len(self))
        while node >= 0:
            parts.append(np.arange(int(self.starts[node]), int(ends[node])))
            node = int(self.parents[node])
        return np.concatenate(parts[::-1])


def single(sample: TrainingSample) -> PrefixTree:
    """A tree of one sample."""
    return PrefixTree(
        samples=(sample,),
        last_nodes=(0,),
        ids=sample.ids,
        starts=np.zeros(1, dtype=np.int64),
        depths=np.zeros(1, dtype=np.int64),
        parents=np.full(1, -1, dtype=np.int64),
        branched=False,
    )


def build_prefix_trees(
    samples: Sequence[TrainingSample], max_tokens: int, *, pair_cost: float = DENSE_PAIR_COST
) -> list[PrefixTree]:
    """All samples in trees of at most `max_tokens`, shared where that costs less than apart.

    One prefix tree of all samples is cut into trees from below: at each node, what hangs below is
    dealt to as many copies of the way there as cost least.

    Args:
        samples: of one update.
        max_tokens: of a tree; a longer sample is a tree of its own.
        pair_cost: what each pair of a branched tree's tokens costs, in costs of a token.
    """
    return [_laid_out(branch, samples) for branch in _cut(_trie(samples), max_tokens, pair_cost)]


@dataclass(slots=True, eq=False)
class _Node:
    """Tokens `[low, high)` that some samples share."""

    low: int
    high: int
    source: int
    """A sample that has these tokens."""
    here: list[int] = field(default_factory=lambda: [])
    """Samples that end with this node."""
    children: "list[_Node]" = field(default_factory=lambda: [])


@dataclass(slots=True, eq=False)
class _Branch:
    """A node with some of what hangs below it."""

    node: _Node
    here: list[int]
    children: "list[_Branch]"
    size: int
    """Tokens of the node and all below."""
    branched: bool


def _trie(samples: Sequence[TrainingSample]) -> _Node:
    """The compressed prefix tree of all samples, below a root without tokens.

    In the order of their tokens, each sample leaves the way of the one before it once.
    """
    keys = [sample.ids.astype(">u4").tobytes() for sample in samples]
    root = _Node(0, 0, -1)
    way = [root]
    before = np.empty(0, dtype=np.int32)
    for index in sorted(range(len(samples)), key=keys.__getitem__):
        ids = samples[index].ids
        shared = _common(before, ids)
        while way[-1].low >= shared and len(way) > 1:
            way.pop()
        if shared < way[-1].high:
            _split(way[-1], shared)
        if len(ids) > shared:
            node = _Node(shared, len(ids), index)
            way[-1].children.append(node)
            way.append(node)
        way[-1].here.append(index)
        before = ids
    return root


def _common(first: Ids, second: Ids) -> int:
    """How many tokens two sequences begin with alike."""
    length = min(len(first), len(second))
    differing = np.flatnonzero(first[:length] != second[:length])
    return int(differing[0]) if len(differing) else length


def _split(node: _Node, at: int) -> None:
    """Cuts a node in two, at the position `at`."""
    below = _Node(at, node.high, node.source, node.here, node.children)
    node.high, node.here, node.children = at, [], [below]


def _cut(root: _Node, max_tokens: int, pair_cost: float) -> list[_Branch]:
    """The trees: what hangs below the root, dealt to copies of the nodes above it."""
    made: dict[int, list[_Branch]] = {}
    for node in reversed(list(_preorder(root))):
        below = [branch for child in node.children for branch in made.pop(id(child))]
        if node is root:
            return below
        groups = _deal(below, node.high, max_tokens, pair_cost)
        made[id(node)] = [
            _Branch(
                node=node,
                here=node.here if number == 0 else [],
                children=group,
                size=node.high - node.low + sum(branch.size for branch in group),
                branched=len(group) > 1 or any(branch.branched for branch in group),
            )
            for number, group in enumerate(groups)
        ]
    return []


def _preorder(root: _Node) -> Iterator[_Node]:
    """Nodes before their children, without recursion: conversations make deep trees."""
    open_nodes = [root]
    while open_nodes:
        node = open_nodes.pop()
        yield node
        open_nodes += reversed(node.children)


def _deal(
    branches: Sequence[_Branch], depth: int, max_tokens: int, pair_cost: float
) -> list[list[_Branch]]:
    """Groups of branches that share a way of `depth` tokens, so that all together costs least.

    One empty group where there is nothing to deal.
    """
    if not branches:
        return [[]]
    best = [[branch] for branch in branches]
    least = _cost(best, depth, pair_cost)
    for count in _counts(len(branches)):
        groups = _spread(branches, count)
        largest = max(sum(branch.size for branch in group) for group in groups)
        if depth + largest > max_tokens:
            continue
        cost = _cost(groups, depth, pair_cost)
        if cost < least:
            best, least = groups, cost
    return best


def _counts(most: int) -> Iterator[int]:
    """Numbers of groups worth trying: few ones, then ever fewer of the many."""
    count = 1
    while count < most:
        yield count
        count += max(1, count // 4)


def _spread(branches: Sequence[_Branch], count: int) -> list[list[_Branch]]:
    """Groups of like size: by falling size, each branch goes where the least is."""
    filled = np.zeros(count, dtype=np.int64)
    chosen: dict[int, int] = {}
    for at in sorted(range(len(branches)), key=lambda at: -branches[at].size):
        chosen[at] = int(filled.argmin())
        filled[chosen[at]] += branches[at].size
    groups: list[list[_Branch]] = [[] for _ in range(count)]
    for at, branch in enumerate(branches):
        groups[chosen[at]].append(branch)
    return groups


def _cost(groups: Sequence[Sequence[_Branch]], depth: int, pair_cost: float) -> float:
    """Causal attention skips half of the pairs; under a mask all are computed."""
    total = 0.0
    for group in groups:
        tokens = depth + sum(branch.size for branch in group)
        branched = len(group) > 1 or group[0].branched
        total += tokens + pair_cost * tokens**2 * (1.0 if branched else 0.5)
    return total


def _laid_out(branch: _Branch, samples: Sequence[TrainingSample]) -> PrefixTree:
    parts: list[Ids] = []
    starts, depths, parents, ending, last = [0], list[int](), list[int](), list[int](), list[int]()
    waiting = [(branch, -1)]
    while waiting:
        at, parent = waiting.pop()
        node, number = at.node, len(parts)
        parts.append(samples[node.source].ids[node.low : node.high])
        starts.append(starts[-1] + node.high - node.low)
        depths.append(node.low)
        parents.append(parent)
        ending += at.here
        last += [number] * len(at.here)
        waiting += [(child, number) for child in reversed(at.children)]
    return PrefixTree(
        samples=tuple(samples[index] for index in ending),
        last_nodes=tuple(last),
        ids=parts[0] if len(parts) == 1 else np.concatenate(parts),
        starts=np.array(starts[:-1], dtype=np.int64),
        depths=np.array(depths, dtype=np.int64),
        parents=np.array(parents, dtype=np.int64),
        branched=branch.branched,
    )
