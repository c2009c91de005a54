"""Puts items to a model in few requests, and hands each its number back.

Cells to compare and keys to align go into the same requests. By default a request holds items of
one table, so that no answer's text can influence the verdict on another. What a reply leaves out is
asked again, alone.
"""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from wideseek_core.counting import counted
from wideseek_core.errors import NoVerdict
from wideseek_judge.config import JudgeConfig
from wideseek_judge.counts import JudgeCounts
from wideseek_judge.llm.items import Group, Item, grouped, verdict_schema
from wideseek_judge.llm.prompts import prompt
from wideseek_judge.llm.replies import looks_like_verdict, read_numbers
from wideseek_judge.llm.requests import JudgeClient, JudgeRequest
from wideseek_judge.verdicts import JudgingContext

MIN_HALVED = 8
"""An unreadable reply about more items than this may be too long: its items are asked in halves."""
MAX_REQUEST_CHARACTERS = 40_000
"""Of the values in one request."""

Decided = dict[Item, int | Exception]
"""The number of each item, or why it has none."""


@dataclass(slots=True)
class _Waiting:
    """An item that waits for those of other answers."""

    contexts: list[JudgingContext]
    decided: "asyncio.Future[int | Exception]"


@dataclass(slots=True)
class RequestBatcher:
    """Collects items into requests. Use within a running loop; close it after use."""

    config: JudgeConfig
    client: JudgeClient
    counts: JudgeCounts
    _waiting: dict[Item, _Waiting] = field(default_factory=dict[Item, _Waiting])
    _timer: asyncio.TimerHandle | None = None
    _tasks: "set[asyncio.Task[None]]" = field(default_factory=set["asyncio.Task[None]"])

    async def decide(self, context: JudgingContext, items: Sequence[Item]) -> Decided:
        """The number of each item of one answer, or why it has none."""
        items = list(dict.fromkeys(items))
        if self.config.batching == "shared":
            return await self._decide_shared(context, items)
        decided: Decided = {}
        parts = [part for group in self._groups(items) for part in self._parts(group)]
        async with asyncio.TaskGroup() as group:
            for part in parts:
                group.create_task(self._settle([context], part, decided))
        return decided

    async def close(self) -> None:
        """Gives up what is still under way."""
        if self._timer is not None:
            self._timer.cancel()
        for waiter in self._waiting.values():
            if not waiter.decided.done():
                waiter.decided.set_result(_closed())
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.client.close()

    def _groups(self, items: Sequence[Item]) -> list[list[Item]]:
        """What may share requests: all items of the table, or those of one column."""
        if self.config.batching != "column":
            return [list(items)]
        by_group: dict[Group, list[Item]] = {}
        for item in items:
            by_group.setdefault(item.group, []).append(item)
        return list(by_group.values())

    def _parts(self, items: Sequence[Item]) -> Iterator[list[Item]]:
        """Items in requests of bounded size."""
        part: list[Item] = []
        characters = 0
        for item in items:
            too_long = characters + item.shown_characters > MAX_REQUEST_CHARACTERS
            if part and (len(part) >= self.config.max_batch_items or too_long):
                yield part
                part, characters = [], 0
            part.append(item)
            characters += item.shown_characters
        if part:
            yield part

    async def _decide_shared(self, context: JudgingContext, items: Sequence[Item]) -> Decided:
        loop = asyncio.get_running_loop()
        wanted: dict[Item, asyncio.Future[int | Exception]] = {}
        for item in items:
            waiting = self._waiting.get(item)
            if waiting is None:
                waiting = self._waiting[item] = _Waiting([], loop.create_future())
            waiting.contexts.append(context)
            wanted[item] = waiting.decided
        if len(self._waiting) >= self.config.max_batch_items:
            self._flush()
        elif self._waiting and self._timer is None:
            self._timer = loop.call_later(self.config.batch_window_s, self._flush)
        # Shielded, since another answer may wait for the same item when this one is canceled.
        numbers = await asyncio.gather(*(asyncio.shield(future) for future in wanted.values()))
        return dict(zip(wanted, numbers, strict=True))

    def _flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiting, self._waiting = self._waiting, {}
        for part in self._parts(list(waiting)):
            task = asyncio.create_task(self._serve({item: waiting[item] for item in part}))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _serve(self, waiting: dict[Item, _Waiting]) -> None:
        """Settles items of several answers. Whatever happens, every waiting answer hears of it."""
        contexts = _distinct(waiter.contexts for waiter in waiting.values())
        decided: Decided = {}
        try:
            await self._settle(contexts, list(waiting), decided)
        finally:
            for item, waiter in waiting.items():
                if not waiter.decided.done():
                    waiter.decided.set_result(decided.get(item, _closed()))

    async def _settle(
        self, contexts: Sequence[JudgingContext], items: Sequence[Item], decided: Decided
    ) -> None:
        """Sees to it that every item gets a number or a failure."""
        attempts = self.config.max_parse_attempts
        failure: Exception = NoVerdict(
            f"table: no readable verdict in {counted(attempts, 'reply')}"
        )
        try:
            await self._ask(contexts, items, attempts, decided)
        except Exception as error:  # noqa: BLE001 - raised where the verdicts are used
            failure = error
        for item in items:
            decided.setdefault(item, failure)

    async def _ask(
        self,
        contexts: Sequence[JudgingContext],
        items: Sequence[Item],
        attempts: int,
        decided: Decided,
    ) -> None:
        """Asks, notes what is answered, and asks again for the rest."""
        request = _request(items, again=attempts < self.config.max_parse_attempts)
        reading = await self.client.ask(contexts, request)
        numbers = reading.numbers
        if numbers is not None and self.config.mode == "official":
            numbers = dict.fromkeys(request.highest, 0) | numbers  # the official rule
        left: list[Item] = []
        for at, item in enumerate(items, 1):
            if numbers is not None and at in numbers:
                decided[item] = numbers[at]
            else:
                left.append(item)
        if not left:
            return
        self.counts.parse_failures += 1
        if attempts <= 1:
            return
        halved = len(left) > (1 if reading.is_cut else MIN_HALVED) and numbers is None
        middle = len(left) // 2 if halved else len(left)
        for part in (left[:middle], left[middle:]):
            if part:
                await self._ask(contexts, part, attempts - 1, decided)


def _closed() -> NoVerdict:
    return NoVerdict("table: the judge was closed")


def _distinct(groups: Iterable[Sequence[JudgingContext]]) -> list[JudgingContext]:
    return list({id(context): context for contexts in groups for context in contexts}.values())


def _request(items: Sequence[Item], *, again: bool) -> JudgeRequest:
    groups = grouped(items)
    # Where the data holds text shaped like a verdict, a reply may quote it.
    alone = any(looks_like_verdict(f"{item.value}\n{item.reference}") for item in items)
    return JudgeRequest(
        purpose="table",
        messages=prompt("table").fill(again=again, groups=groups),
        schema=verdict_schema(items),
        highest={at: item.highest for at, item in enumerate(items, 1)},
        read=lambda reply: read_numbers(reply, alone=alone),
    )
