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
    Alignment,
    Case,
    Comparison,
    NoVerdict,
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
        self._cells = Desk("cells", config, self._clerk, counts)
        self._keys = Desk("keys", config, self._clerk, counts)

    async def close(self) -> None:
        """Gives up what is still under way."""
        await self._cells.close()
        await self._keys.close()

    def identity(self, value: str) -> str:
        """The canonical spelling."""
        return canonical(value)

    async def align(self, case: Case, alignment: Alignment) -> dict[str, str]:
        """By spelling first; the model is asked about what is left on both sides."""
        aligned = align_by_spelling(alignment) if self._config.certain_first else {}
        self._counts.certain += len(aligned)
        # The official rules let several rows answer for one; elsewhere a reference is used once.
        taken = set[str]() if case.official else set(aligned.values())
        left = list(dict.fromkeys(v for v in alignment.values if v not in aligned))
        references = tuple(dict.fromkeys(r for r in alignment.references if r not in taken))
        if self._config.certain_first:
            left = [value for value in left if _may_fit(value, references)]
        if not left or not references:
            return aligned
        name = alignment.column or "names of columns"
        group = Group(question=case.question, column=name, references=references)
        items = [
            Item(
                key=self._key("keys", case, name, value, *references),
                group=group,
                value=value,
                highest=len(references),
                case=case,
            )
            for value in left
        ]
        numbers = await self._decide(self._keys, items)
        found = {v: references[at - 1] for v, at in zip(left, numbers, strict=True) if at}
        return aligned | found

    async def compare(self, case: Case, columns: Sequence[Comparison]) -> list[list[Verdict]]:
        """Certain cells by spelling, then those seen before, then the model."""
        grid = [
            [_Cell(column.column, column.criterion, *pair) for pair in column.pairs]
            for column in columns
        ]
        verdicts: dict[_Cell, Verdict] = {}
        left: list[_Cell] = []
        for cell in dict.fromkeys(cell for column in grid for cell in column):
            certain = self._certain(cell)
            if certain is None:
                left.append(cell)
            else:
                verdicts[cell] = certain
        self._counts.certain += len(verdicts)
        items = [self._item(case, cell) for cell in left]
        for cell, number in zip(left, await self._decide(self._cells, items), strict=True):
            verdicts[cell] = _JUDGED[number]
        return [[verdicts[cell] for cell in column] for column in grid]

    def _item(self, case: Case, cell: _Cell) -> Item:
        parts = (cell.column, cell.criterion, cell.answer, cell.gold)
        group = Group(question=case.question, column=cell.column, criterion=cell.criterion)
        return Item(
            key=self._key("cells", case, *parts),
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

    async def _decide(self, desk: Desk, items: Sequence[Item]) -> list[int]:
        """The number of each item: remembered, or decided now and remembered."""
        if not items:
            return []
        known = await self._remembered([item.key for item in items])
        left = [item for item in items if item.key not in known]
        self._counts.cached += len(known)
        fresh = await desk.decide(left) if left else []
        decided = {item.key: number for item, number in zip(left, fresh, strict=True)}
        await self._remember({key: str(number) for key, number in decided.items()})
        numbers = {key: int(number) for key, number in known.items()} | decided
        return [numbers[item.key] for item in items]

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


def _may_fit(value: str, references: Sequence[str]) -> bool:
    """Whether a key could name one of the references at all."""
    return not is_empty(value) and not all(surely_differ(value, r) for r in references)
