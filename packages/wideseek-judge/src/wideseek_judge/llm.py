"""A language model as the judge: certain cases settled first, the rest cached and asked in batches.

Values are numbered in the prompts and the model replies with numbers, so nothing it is shown has
to be repeated letter by letter.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from wideseek_core import JudgeError, Message
from wideseek_judge.answers import agrees
from wideseek_judge.canonical import canonical, is_empty, surely_differ
from wideseek_judge.chat import Chat
from wideseek_judge.config import JudgeConfig
from wideseek_judge.prompts import PromptName, numbered, prompt
from wideseek_judge.replies import read_correct, read_numbers
from wideseek_judge.store import Exchange, Transcripts, VerdictCache, cache_key
from wideseek_judge.verdicts import (
    Alignment,
    Case,
    Comparison,
    NoVerdict,
    Verdict,
    align_by_spelling,
    compare_by_spelling,
)

T = TypeVar("T")

_JUDGED = (Verdict(0.0, "judge"), Verdict(1.0, "judge"))
_EMPTY = Verdict(0.0, "empty")
_AGAIN = "That could not be read. Reply with the one JSON object asked for, and nothing else."


@dataclass(slots=True)
class JudgeCounts:
    """What judging has cost and met so far."""

    calls: int = 0
    """Requests to the model."""
    certain: int = 0
    """Cells, keys and answers settled without it."""
    cached: int = 0
    """Those it had settled before."""
    asked: int = 0
    """Those put to it."""
    parse_failures: int = 0
    """Replies that could not be read, or left something out."""
    unscored: int = 0
    """Answers left without a score."""


@dataclass(frozen=True, slots=True)
class _Cell:
    """A pair that the model has to decide."""

    column: str
    criterion: str
    answer: str
    gold: str


class LlmVerdicts:
    """Asks a model what spelling can't settle."""

    def __init__(
        self, config: JudgeConfig, chat: Chat, cache: VerdictCache | None, counts: JudgeCounts
    ) -> None:
        self._config, self._chat, self._cache, self._counts = config, chat, cache, counts
        self._transcripts = Transcripts(config.transcripts)

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
        references = list(dict.fromkeys(r for r in alignment.references if r not in taken))
        if self._config.certain_first:
            left = [value for value in left if _may_fit(value, references)]
        if not left or not references:
            return aligned
        name = alignment.column or "column names"
        listed = "\n".join(references)
        keys = {v: self._key("keys", case, name, v, listed) for v in left}
        known = await self._remembered(list(keys.values()))
        self._counts.cached += sum(keys[value] in known for value in left)
        open_values = [value for value in left if keys[value] not in known]
        fresh = await self._match(case, name, open_values, references) if open_values else {}
        await self._remember({keys[value]: fresh[value] for value in open_values})
        for value in left:
            reference = fresh.get(value, known.get(keys[value], ""))
            if reference:
                aligned[value] = reference
        return aligned

    async def _match(
        self, case: Case, name: str, values: Sequence[str], references: Sequence[str]
    ) -> dict[str, str]:
        """The model's reference for each value; empty if it found none."""
        self._counts.asked += len(values)
        size = self._config.batch_pairs
        batches = [values[start : start + size] for start in range(0, len(values), size)]

        async def one(batch: Sequence[str]) -> dict[str, str]:
            messages = prompt("keys").fill(
                question=case.question,
                column=name,
                values=numbered(batch),
                references=numbered(references),
            )
            read = _Numbers(len(batch), len(references), case.official)
            numbers = await self._ask(case, "keys", messages, read)
            found = {value: numbers.get(at, 0) for at, value in enumerate(batch, 1)}
            return {value: references[at - 1] if at else "" for value, at in found.items()}

        merged: dict[str, str] = {}
        for found in await _all(one(batch) for batch in batches):
            merged |= found
        return merged

    async def compare(self, case: Case, columns: Sequence[Comparison]) -> list[list[Verdict]]:
        """Certain cells by spelling, then those seen before, then the model."""
        verdicts: dict[_Cell, Verdict] = {}
        grid = [
            [_Cell(column.column, column.criterion, *pair) for pair in column.pairs]
            for column in columns
        ]
        cells = list(dict.fromkeys(cell for column in grid for cell in column))
        for cell in cells:
            certain = self._certain(cell)
            if certain is not None:
                verdicts[cell] = certain
        self._counts.certain += len(verdicts)
        left = [cell for cell in cells if cell not in verdicts]
        if left:
            verdicts |= await self._judge(case, left)
        return [[verdicts[cell] for cell in column] for column in grid]

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

    async def _judge(self, case: Case, cells: Sequence[_Cell]) -> dict[_Cell, Verdict]:
        keys = {c: self._key("cells", case, c.column, c.criterion, c.answer, c.gold) for c in cells}
        known = await self._remembered(list(keys.values()))
        verdicts = {cell: _JUDGED[known[key] == "1"] for cell, key in keys.items() if key in known}
        self._counts.cached += len(verdicts)
        left = [cell for cell in cells if cell not in verdicts]
        self._counts.asked += len(left)

        async def one(batch: Sequence[_Cell]) -> dict[_Cell, int]:
            messages = prompt("cells").fill(question=case.question, items=_by_column(batch))
            read = _Numbers(len(batch), 1, case.official)
            numbers = await self._ask(case, "cells", messages, read)
            scores = {cell: numbers.get(at, 0) for at, cell in enumerate(batch, 1)}
            await self._remember({keys[cell]: str(score) for cell, score in scores.items()})
            return scores

        for scores in await _all(one(batch) for batch in self._batches(left)):
            verdicts |= {cell: _JUDGED[score] for cell, score in scores.items()}
        return verdicts

    def _batches(self, cells: Sequence[_Cell]) -> list[Sequence[_Cell]]:
        groups: dict[str, list[_Cell]] = {}
        for cell in cells:
            group = cell.column if self._config.batching == "column" else ""
            groups.setdefault(group, []).append(cell)
        size = self._config.batch_pairs
        return [
            group[start : start + size]
            for group in groups.values()
            for start in range(0, len(group), size)
        ]

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
        messages = prompt("answer").fill(
            question=case.question, answer=answer, references=list(references)
        )
        right = await self._ask(case, "answer", messages, read_correct)
        await self._remember({key: str(int(right))})
        return _JUDGED[right]

    async def _ask(
        self,
        case: Case,
        purpose: PromptName,
        messages: list[Message],
        read: Callable[[str], T | None],
    ) -> T:
        """Asks until the reply can be read. Raises `NoVerdict` when it never can."""
        asked = messages
        for _ in range(self._config.parse_attempts):
            case.calls += 1
            self._counts.calls += 1
            reply = await self._chat(asked)
            result = read(reply)
            await self._note(case, purpose, asked, reply, result is not None)
            if result is not None:
                return result
            self._counts.parse_failures += 1
            again = Message(role="user", content=_AGAIN)
            asked = [*messages, Message(role="assistant", content=reply or "-"), again]
        raise NoVerdict(f"{purpose}: no readable verdict in {self._config.parse_attempts} replies")

    async def _note(
        self,
        case: Case,
        purpose: PromptName,
        messages: Sequence[Message],
        reply: str,
        readable: bool,
    ) -> None:
        if self._config.transcripts is None:
            return
        exchange = Exchange(
            task_id=case.task_id,
            purpose=purpose,
            model=self._config.endpoint.model,
            prompt="\n\n".join(message.content for message in messages),
            reply=reply,
            readable=readable,
        )
        await asyncio.to_thread(self._transcripts.write, exchange)

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


@dataclass(frozen=True, slots=True)
class _Numbers:
    """Reads a reply that gives each of `count` items a number of at most `highest`."""

    count: int
    highest: int
    missing_counts_zero: bool

    def __call__(self, reply: str) -> dict[int, int] | None:
        numbers = read_numbers(reply)
        if numbers is None:
            return None
        valid = {
            at: number
            for at, number in numbers.items()
            if 1 <= at <= self.count and 0 <= number <= self.highest
        }
        return valid if self.missing_counts_zero or len(valid) == self.count else None


def _may_fit(value: str, references: Sequence[str]) -> bool:
    """Whether a key could name one of the references at all."""
    return not is_empty(value) and not all(surely_differ(value, r) for r in references)


def _by_column(cells: Sequence[_Cell]) -> list[dict[str, object]]:
    """The cells as the prompt shows them: numbered through, grouped by column."""
    groups: dict[tuple[str, str], dict[str, dict[str, str]]] = {}
    for number, cell in enumerate(cells, 1):
        group = groups.setdefault((cell.column, cell.criterion), {})
        group[str(number)] = {"answer": cell.answer, "reference": cell.gold}
    return [
        {"column": column, **({"criterion": criterion} if criterion else {}), "items": items}
        for (column, criterion), items in groups.items()
    ]


async def _all(jobs: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """The results of jobs run side by side; of failures, the first is raised as it is."""
    tasks: list[asyncio.Task[T]] = []
    failure: BaseException | None = None
    try:
        async with asyncio.TaskGroup() as group:
            tasks.extend(group.create_task(job) for job in jobs)
    except* JudgeError as failures:
        failure = failures
    while isinstance(failure, BaseExceptionGroup):
        failure = cast(BaseExceptionGroup[BaseException], failure).exceptions[0]
    if failure is not None:
        raise failure
    return [task.result() for task in tasks]
