"""A language model as the judge: what is certain first, then the model."""

from collections.abc import Sequence
from dataclasses import dataclass

from wideseek_core.counting import counted
from wideseek_core.errors import NoVerdict
from wideseek_judge.config import JudgeConfig
from wideseek_judge.counts import JudgeCounts
from wideseek_judge.llm.batching import RequestBatcher
from wideseek_judge.llm.cache import VerdictCache
from wideseek_judge.llm.chat import Chat, StructuredChat
from wideseek_judge.llm.items import Group, Item, object_schema
from wideseek_judge.llm.prompts import prompt
from wideseek_judge.llm.replies import looks_like_verdict, read_correct
from wideseek_judge.llm.requests import JudgeClient, JudgeRequest
from wideseek_judge.offline import align_by_spelling, compare_by_spelling
from wideseek_judge.rules.short_answers import agrees
from wideseek_judge.text.canonical import canonical, is_empty, surely_differ
from wideseek_judge.verdicts import (
    Alignment,
    Comparison,
    JudgingContext,
    KeyMap,
    PrefetchComparisons,
    Verdict,
)

_JUDGED = (Verdict(0.0, "judge"), Verdict(1.0, "judge"))
_EMPTY = Verdict(0.0, "empty")
_CORRECT = object_schema({"correct": {"type": "integer", "enum": [0, 1]}})


@dataclass(frozen=True, slots=True)
class _Cell:
    """A pair that has to be decided."""

    column: str
    criterion: str
    answer: str
    gold: str


class LlmVerdicts:
    """Asks a model what spelling can't settle."""

    def __init__(
        self,
        config: JudgeConfig,
        chat: Chat | StructuredChat,
        cache: VerdictCache | None,
        counts: JudgeCounts,
    ) -> None:
        self._config, self._counts = config, counts
        self._client = JudgeClient(config, chat, cache, counts)
        self._batcher = RequestBatcher(config, self._client, counts)

    async def close(self) -> None:
        """Gives up what is still under way."""
        await self._batcher.close()

    def identity(self, value: str) -> str:
        """The canonical spelling."""
        return canonical(value)

    async def align(
        self,
        context: JudgingContext,
        alignments: Sequence[Alignment],
        prefetch: PrefetchComparisons | None = None,
    ) -> list[KeyMap]:
        """By spelling first; the model is asked about what is left on both sides.

        The comparisons that will probably follow go along, unless a request is for one column.
        """
        certain = [self._spelled(alignment) for alignment in alignments]
        self._counts.certain += sum(map(len, certain))
        asked = [self._key_items(context, *pair) for pair in zip(alignments, certain, strict=True)]
        keys = [item for items in asked for item in items]
        if not keys:
            return certain
        cells: list[Item] = []
        if prefetch is not None and self._config.batching != "column":
            cells = [_item(context, cell) for cell in self._open(prefetch(certain))[1]]
        found = await self._batcher.decide(context, [*keys, *cells])
        # A cell that got no verdict is asked again if it is needed.
        numbers = {item: found[item] for item in cells}
        context.known.update({item: n for item, n in numbers.items() if isinstance(n, int)})
        return [
            names | {i.value: i.group.references[n - 1] for i in items if (n := _sure(found[i]))}
            for names, items in zip(certain, asked, strict=True)
        ]

    def _spelled(self, alignment: Alignment) -> KeyMap:
        return align_by_spelling(alignment) if self._config.skip_certain else {}

    def _key_items(
        self, context: JudgingContext, alignment: Alignment, aligned: KeyMap
    ) -> list[Item]:
        """The values that have to be looked for among the references."""
        # The official rules let several rows name one reference; elsewhere it is used once.
        taken = set[str]() if self._config.mode == "official" else set(aligned.values())
        left = list(dict.fromkeys(v for v in alignment.values if v not in aligned))
        references = tuple(dict.fromkeys(r for r in alignment.references if r not in taken))
        if self._config.skip_certain:
            left = [value for value in left if _may_fit(value, references)]
        if not references:
            return []
        column = alignment.column or "names of columns"
        group = Group(question=context.question, column=column, references=references)
        return [Item(group=group, value=value) for value in left]

    async def compare(
        self, context: JudgingContext, columns: Sequence[Comparison]
    ) -> list[list[Verdict]]:
        """Certain cells by spelling, then the model."""
        verdicts, left = self._open(columns)
        self._counts.certain += len(verdicts)
        items = {cell: _item(context, cell) for cell in left}
        open_items = [item for item in items.values() if item not in context.known]
        found = await self._batcher.decide(context, open_items) if open_items else {}
        for cell, item in items.items():
            known = context.known.get(item)
            verdicts[cell] = _JUDGED[_sure(found[item]) if known is None else known]
        return [[verdicts[cell] for cell in _cells(column)] for column in columns]

    def _open(self, columns: Sequence[Comparison]) -> tuple[dict[_Cell, Verdict], list[_Cell]]:
        """The certain cells, and those that are not."""
        verdicts: dict[_Cell, Verdict] = {}
        left: list[_Cell] = []
        for cell in dict.fromkeys(cell for column in columns for cell in _cells(column)):
            certain = self._certain(cell)
            if certain is None:
                left.append(cell)
            else:
                verdicts[cell] = certain
        return verdicts, left

    def _certain(self, cell: _Cell) -> Verdict | None:
        """A verdict that no sensible judge would overturn; None if it is open."""
        if not self._config.skip_certain:
            return None
        verdict = compare_by_spelling(cell.answer, cell.gold)
        if verdict.score:
            return verdict
        if is_empty(cell.answer) and not is_empty(cell.gold):
            return _EMPTY
        # A written criterion may allow a deviation, so difference proves nothing there.
        return verdict if not cell.criterion and surely_differ(cell.answer, cell.gold) else None

    async def correct(
        self, context: JudgingContext, answer: str, references: Sequence[str]
    ) -> Verdict:
        """By spelling if certain, else as the model says. Raises `NoVerdict`."""
        if self._config.skip_certain and agrees(answer, references):
            self._counts.certain += 1
            return Verdict(1.0, "normalized")
        attempts = self._config.max_parse_attempts
        for attempt in range(attempts):
            request = _answer_request(context, answer, references, again=attempt > 0)
            numbers = (await self._client.ask([context], request)).numbers
            if numbers:
                return _JUDGED[numbers[1]]
            self._counts.parse_failures += 1
        raise NoVerdict(f"answer: no readable verdict in {counted(attempts, 'reply')}")


def _answer_request(
    context: JudgingContext, answer: str, references: Sequence[str], *, again: bool
) -> JudgeRequest:
    alone = looks_like_verdict(answer)

    def read(reply: str) -> dict[int, int] | None:
        right = read_correct(reply, alone=alone)
        return None if right is None else {1: int(right)}

    return JudgeRequest(
        purpose="answer",
        messages=prompt("answer").fill(
            again=again, question=context.question, answer=answer, references=list(references)
        ),
        schema=_CORRECT,
        highest={1: 1},
        read=read,
    )


def _item(context: JudgingContext, cell: _Cell) -> Item:
    group = Group(question=context.question, column=cell.column, criterion=cell.criterion)
    return Item(group=group, value=cell.answer, reference=cell.gold)


def _cells(column: Comparison) -> list[_Cell]:
    return [_Cell(column.column, column.criterion, *pair) for pair in column.pairs]


def _sure(number: int | Exception) -> int:
    """The number. Raises the failure that came instead."""
    if isinstance(number, Exception):
        raise number
    return number


def _may_fit(value: str, references: Sequence[str]) -> bool:
    """Whether a key could name one of the references at all."""
    return not is_empty(value) and not all(surely_differ(value, r) for r in references)
