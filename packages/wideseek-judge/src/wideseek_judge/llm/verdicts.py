"""A language model as the judge: what is certain first, then what it said before, then itself."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from wideseek_core.errors import NoVerdict
from wideseek_judge.config import JudgeConfig
from wideseek_judge.counts import JudgeCounts
from wideseek_judge.llm.batching import Group, Item, JudgeClient, RequestBatcher
from wideseek_judge.llm.cache import VerdictCache, cache_key
from wideseek_judge.llm.client import Chat
from wideseek_judge.llm.prompts import PromptName, prompt
from wideseek_judge.llm.replies import read_correct
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
        self, config: JudgeConfig, chat: Chat, cache: VerdictCache | None, counts: JudgeCounts
    ) -> None:
        self._config, self._cache, self._counts = config, cache, counts
        self._client = JudgeClient(config, chat, counts)
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
        ahead: PrefetchComparisons | None = None,
    ) -> list[KeyMap]:
        """By spelling first; the model is asked about what is left on both sides.

        The cells that come `ahead` go along, unless a request is for one column.
        """
        certain = [self._spelled(alignment) for alignment in alignments]
        self._counts.certain += sum(map(len, certain))
        asked = [self._key_items(context, *pair) for pair in zip(alignments, certain, strict=True)]
        keys = [item for items in asked for item in items]
        if not keys:
            return certain
        cells: list[Item] = []
        if ahead is not None and self._config.batching != "column":
            cells = [self._item(context, cell) for cell in self._open(ahead(certain))[1]]
        found = await self._decide([*keys, *cells])
        # A cell that got no verdict is asked again if it is needed.
        numbers = {item.key: found[item.key] for item in cells}
        context.known.update({key: n for key, n in numbers.items() if isinstance(n, int)})
        return [
            names
            | {i.value: i.group.references[n - 1] for i in items if (n := _sure(found[i.key]))}
            for names, items in zip(certain, asked, strict=True)
        ]

    def _spelled(self, alignment: Alignment) -> KeyMap:
        return align_by_spelling(alignment) if self._config.skip_certain else {}

    def _key_items(
        self, context: JudgingContext, alignment: Alignment, aligned: KeyMap
    ) -> list[Item]:
        """The values that have to be looked for among the references."""
        # The official rules let several rows answer for one; elsewhere a reference is used once.
        taken = set[str]() if context.official else set(aligned.values())
        left = list(dict.fromkeys(v for v in alignment.values if v not in aligned))
        references = tuple(dict.fromkeys(r for r in alignment.references if r not in taken))
        if self._config.skip_certain:
            left = [value for value in left if _may_fit(value, references)]
        if not references:
            return []
        name = alignment.column or "names of columns"
        group = Group(question=context.question, column=name, references=references)
        return [
            Item(
                key=self._key("table", context, "key", name, value, *references),
                group=group,
                value=value,
                highest=len(references),
                context=context,
            )
            for value in left
        ]

    async def compare(
        self, context: JudgingContext, columns: Sequence[Comparison]
    ) -> list[list[Verdict]]:
        """Certain cells by spelling, then those seen before, then the model."""
        verdicts, left = self._open(columns)
        self._counts.certain += len(verdicts)
        items = [self._item(context, cell) for cell in left]
        found = await self._decide([item for item in items if item.key not in context.known])
        for cell, item in zip(left, items, strict=True):
            known = context.known.get(item.key)
            verdicts[cell] = _JUDGED[_sure(found[item.key]) if known is None else known]
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

    def _item(self, context: JudgingContext, cell: _Cell) -> Item:
        parts = (cell.column, cell.criterion, cell.answer, cell.gold)
        group = Group(question=context.question, column=cell.column, criterion=cell.criterion)
        return Item(
            key=self._key("table", context, "cell", *parts),
            group=group,
            value=cell.answer,
            reference=cell.gold,
            context=context,
        )

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

    async def _decide(self, items: Sequence[Item]) -> dict[str, int | BaseException]:
        """By key the number of each item, remembered or decided now, or why it has none."""
        if not items:
            return {}
        known = await self._remembered([item.key for item in items])
        left = [item for item in items if item.key not in known]
        self._counts.cached += len(known)
        fresh = await self._batcher.decide(left) if left else []
        decided = {item.key: number for item, number in zip(left, fresh, strict=True)}
        await self._remember({key: str(n) for key, n in decided.items() if isinstance(n, int)})
        return {key: int(number) for key, number in known.items()} | decided

    async def correct(
        self, context: JudgingContext, answer: str, references: Sequence[str]
    ) -> Verdict:
        """By spelling if certain, else as the model says."""
        if self._config.skip_certain and agrees(answer, references):
            self._counts.certain += 1
            return Verdict(1.0, "normalized")
        key = self._key("answer", context, answer, *references)
        known = await self._remembered([key])
        if key in known:
            self._counts.cached += 1
            return _JUDGED[known[key] == "1"]
        self._counts.asked += 1
        right = await self._ask_answer(context, answer, references)
        await self._remember({key: str(int(right))})
        return _JUDGED[right]

    async def _ask_answer(
        self, context: JudgingContext, answer: str, references: Sequence[str]
    ) -> bool:
        """Asks until the reply can be read. Raises `NoVerdict` when it never can."""
        messages = prompt("answer").fill(
            question=context.question, answer=answer, references=list(references)
        )
        for _ in range(self._config.max_parse_attempts):
            right = read_correct(await self._client.ask("answer", [context], messages))
            if right is not None:
                return right
            self._counts.parse_failures += 1
        raise NoVerdict(f"answer: no readable verdict in {self._config.max_parse_attempts} replies")

    def _key(self, purpose: PromptName, context: JudgingContext, *parts: str) -> str:
        model, version = self._config.endpoint.model, prompt(purpose).version
        return cache_key(purpose, version, model, context.question, *parts)

    async def _remembered(self, keys: Sequence[str]) -> dict[str, str]:
        if self._cache is None:
            return {}
        return await asyncio.to_thread(self._cache.get, keys)

    async def _remember(self, verdicts: dict[str, str]) -> None:
        if self._cache is not None and verdicts:
            await asyncio.to_thread(self._cache.put, verdicts)


def _cells(column: Comparison) -> list[_Cell]:
    return [_Cell(column.column, column.criterion, *pair) for pair in column.pairs]


def _sure(number: int | BaseException) -> int:
    """The number. Raises what stands in its place."""
    if isinstance(number, BaseException):
        raise number
    return number


def _may_fit(value: str, references: Sequence[str]) -> bool:
    """Whether a key could name one of the references at all."""
    return not is_empty(value) and not all(surely_differ(value, r) for r in references)
