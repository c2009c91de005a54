"""A language model as the judge: what is certain first, then what it said before, then itself."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from wideseek_judge.answers import agrees
from wideseek_judge.canonical import canonical, is_empty, surely_differ
from wideseek_judge.chat import Chat
from wideseek_judge.config import JudgeConfig
from wideseek_judge.desk import Clerk, Desk, Group, Item, JudgeCounts
from wideseek_judge.prompts import PromptName, prompt
from wideseek_judge.replies import read_correct
from wideseek_judge.store import VerdictCache, cache_key
from wideseek_judge.verdicts import (
    Ahead,
    Alignment,
    Case,
    Comparison,
    NoVerdict,
    Spelled,
    Verdict,
    align_by_spelling,
    compare_by_spelling,
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
        self._clerk = Clerk(config, chat, counts)
        self._desk = Desk(config, self._clerk, counts)

    async def close(self) -> None:
        """Gives up what is still under way."""
        await self._desk.close()

    def identity(self, value: str) -> str:
        """The canonical spelling."""
        return canonical(value)

    async def align(
        self, case: Case, alignments: Sequence[Alignment], ahead: Ahead | None = None
    ) -> list[Spelled]:
        """By spelling first; the model is asked about what is left on both sides.

        The cells that come `ahead` go along, unless a request is for one column.
        """
        certain = [self._spelled(alignment) for alignment in alignments]
        self._counts.certain += sum(map(len, certain))
        asked = [self._key_items(case, *pair) for pair in zip(alignments, certain, strict=True)]
        keys = [item for items in asked for item in items]
        if not keys:
            return certain
        cells: list[Item] = []
        if ahead is not None and self._config.batching != "column":
            cells = [self._item(case, cell) for cell in self._open(ahead(certain))[1]]
        found = await self._decide([*keys, *cells])
        # A cell that got no verdict is asked again if it is needed.
        numbers = {item.key: found[item.key] for item in cells}
        case.known.update({key: n for key, n in numbers.items() if isinstance(n, int)})
        return [
            names
            | {i.value: i.group.references[n - 1] for i in items if (n := _sure(found[i.key]))}
            for names, items in zip(certain, asked, strict=True)
        ]

    def _spelled(self, alignment: Alignment) -> Spelled:
        return align_by_spelling(alignment) if self._config.certain_first else {}

    def _key_items(self, case: Case, alignment: Alignment, aligned: Spelled) -> list[Item]:
        """The values that have to be looked for among the references."""
        # The official rules let several rows answer for one; elsewhere a reference is used once.
        taken = set[str]() if case.official else set(aligned.values())
        left = list(dict.fromkeys(v for v in alignment.values if v not in aligned))
        references = tuple(dict.fromkeys(r for r in alignment.references if r not in taken))
        if self._config.certain_first:
            left = [value for value in left if _may_fit(value, references)]
        if not references:
            return []
        name = alignment.column or "names of columns"
        group = Group(question=case.question, column=name, references=references)
        return [
            Item(
                key=self._key("table", case, "key", name, value, *references),
                group=group,
                value=value,
                highest=len(references),
                case=case,
            )
            for value in left
        ]

    async def compare(self, case: Case, columns: Sequence[Comparison]) -> list[list[Verdict]]:
        """Certain cells by spelling, then those seen before, then the model."""
        verdicts, left = self._open(columns)
        self._counts.certain += len(verdicts)
        items = [self._item(case, cell) for cell in left]
        found = await self._decide([item for item in items if item.key not in case.known])
        for cell, item in zip(left, items, strict=True):
            known = case.known.get(item.key)
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

    def _item(self, case: Case, cell: _Cell) -> Item:
        parts = (cell.column, cell.criterion, cell.answer, cell.gold)
        group = Group(question=case.question, column=cell.column, criterion=cell.criterion)
        return Item(
            key=self._key("table", case, "cell", *parts),
            group=group,
            value=cell.answer,
            reference=cell.gold,
            case=case,
        )

    def _certain(self, cell: _Cell) -> Verdict | None:
        """A verdict that no sensible judge would overturn; None if it is open."""
        if not self._config.certain_first:
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
        fresh = await self._desk.decide(left) if left else []
        decided = {item.key: number for item, number in zip(left, fresh, strict=True)}
        await self._remember({key: str(n) for key, n in decided.items() if isinstance(n, int)})
        return {key: int(number) for key, number in known.items()} | decided

    async def correct(self, case: Case, answer: str, references: Sequence[str]) -> Verdict:
        """By spelling if certain, else as the model says."""
        if self._config.certain_first and agrees(answer, references):
            self._counts.certain += 1
            return Verdict(1.0, "normalised")
        key = self._key("answer", case, answer, *references)
        known = await self._remembered([key])
        if key in known:
            self._counts.cached += 1
            return _JUDGED[known[key] == "1"]
        self._counts.asked += 1
        right = await self._ask_answer(case, answer, references)
        await self._remember({key: str(int(right))})
        return _JUDGED[right]

    async def _ask_answer(self, case: Case, answer: str, references: Sequence[str]) -> bool:
        """Asks until the reply can be read. Raises `NoVerdict` when it never can."""
        messages = prompt("answer").fill(
            question=case.question, answer=answer, references=list(references)
        )
        for _ in range(self._config.parse_attempts):
            right = read_correct(await self._clerk.ask("answer", [case], messages))
            if right is not None:
                return right
            self._counts.parse_failures += 1
        raise NoVerdict(f"answer: no readable verdict in {self._config.parse_attempts} replies")

    def _key(self, purpose: PromptName, case: Case, *parts: str) -> str:
        model, version = self._config.endpoint.model, prompt(purpose).version
        return cache_key(purpose, version, model, case.question, *parts)

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
