"""What the rules leave open, and the interface of those who decide it."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from wideseek_core import Reply, Usage
from wideseek_core.usage import Price, total_usage


@dataclass(slots=True, kw_only=True)
class JudgingContext:
    """One answer under judgement, and what judging it has cost so far."""

    task_id: str
    question: str
    calls: int = 0
    usage: tuple[Usage, ...] = ()
    """Requests, tokens and cost by the model's name."""
    known: dict[Hashable, int] = field(default_factory=dict[Hashable, int])
    """What was decided along the way, before it was asked for."""

    def spend(self, reply: Reply, price: Price) -> None:
        """Counts a reply of the judge's model."""
        usage = Usage(
            role="judge",
            model=reply.model,
            requests=1,
            prompt_tokens=reply.prompt_tokens,
            response_tokens=reply.response_tokens,
            cost=price.cost(reply.prompt_tokens, reply.response_tokens),
        )
        self.usage = total_usage([*self.usage, usage])


@dataclass(frozen=True, slots=True, kw_only=True)
class Alignment:
    """Find for each value the reference that means the same."""

    column: str
    """The key column; empty when the values are column names themselves."""
    values: Sequence[str]
    references: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Say of each pair in a column whether the answer's cell is right."""

    column: str
    criterion: str
    """What counts as right; empty for "same meaning"."""
    pairs: Sequence[tuple[str, str]]
    """Answer and reference."""


KeyMap = dict[str, str]
"""The reference for each value that has one; values without one are left out."""

PrefetchComparisons = Callable[[Sequence[KeyMap]], Sequence[Comparison]]
"""From the keys that are certain, by column, the comparisons that will probably follow."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A score in [0, 1], and what decided it."""

    score: float
    by: str


class Verdicts(Protocol):
    """Decides what the rules leave open. All methods raise `JudgeError`."""

    def identity(self, value: str) -> str:
        """A spelling that values share if they are surely the same."""
        ...

    async def align(
        self,
        context: JudgingContext,
        alignments: Sequence[Alignment],
        prefetch: PrefetchComparisons | None = None,
    ) -> list[KeyMap]:
        """What the values of each column are called in the reference.

        Who has to ask a model may put what `prefetch` gives into the same request.
        """
        ...

    async def compare(
        self, context: JudgingContext, columns: Sequence[Comparison]
    ) -> list[list[Verdict]]:
        """A verdict per pair of each column."""
        ...

    async def correct(
        self, context: JudgingContext, answer: str, references: Sequence[str]
    ) -> Verdict:
        """Whether a short answer is right."""
        ...
