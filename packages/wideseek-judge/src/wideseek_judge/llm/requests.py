"""Single requests to the judging model: sent, read, counted, recorded and remembered.

What a reply says may depend on everything in its request, so verdicts are remembered by the whole
request, and two equal requests share one reply.
"""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

from wideseek_core import Finish, Message
from wideseek_core.text import clean
from wideseek_judge.config import JudgeConfig
from wideseek_judge.counts import JudgeCounts
from wideseek_judge.llm.cache import Exchange, Transcripts, VerdictCache, cache_key
from wideseek_judge.llm.chat import Chat, Schema, StructuredChat, ask
from wideseek_judge.llm.prompts import PromptName, prompt
from wideseek_judge.verdicts import JudgingContext

Numbers = dict[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeRequest:
    """A filled prompt, and how its reply is read."""

    purpose: PromptName
    messages: Sequence[Message]
    schema: Schema
    highest: Mapping[int, int]
    """The largest number that each item may get."""
    read: Callable[[str], Numbers | None]
    """The numbers in a reply; None if it has no readable verdict."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a reply says."""

    numbers: Numbers | None = None
    """The number of each item that has one; None if no verdict can be read."""
    is_cut: bool = False
    """Whether the reply was ended by its length, so that nothing in it counts."""


@dataclass(slots=True)
class JudgeClient:
    """Asks the model. Use within a running loop; close it after use."""

    config: JudgeConfig
    chat: Chat | StructuredChat
    cache: VerdictCache | None
    counts: JudgeCounts
    _in_flight: dict[str, "asyncio.Task[Reading]"] = field(
        default_factory=dict[str, "asyncio.Task[Reading]"]
    )

    async def close(self) -> None:
        """Gives up what is still under way."""
        tasks = list(self._in_flight.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def ask(self, contexts: Sequence[JudgingContext], request: JudgeRequest) -> Reading:
        """The numbers in the reply to one request, remembered or fresh. Raises `JudgeError`."""
        key = self._key(request)
        remembered = await self._remembered(key, request)
        if remembered:
            self.counts.cached += len(remembered)
            return Reading(remembered)
        for context in contexts:
            context.calls += 1
        task = self._in_flight.get(key)
        if task is None:
            task = asyncio.create_task(self._fresh(key, contexts, request))
            self._in_flight[key] = task
            task.add_done_callback(lambda done: self._landed(key, done))
        # Shielded, since another answer may wait for the same reply when this one is canceled.
        return await asyncio.shield(task)

    def _landed(self, key: str, task: "asyncio.Task[Reading]") -> None:
        self._in_flight.pop(key, None)
        if not task.cancelled():
            task.exception()  # marks it as seen, also if nobody waits any more

    async def _fresh(
        self, key: str, contexts: Sequence[JudgingContext], request: JudgeRequest
    ) -> Reading:
        self.counts.calls += 1
        self.counts.asked += len(request.highest)
        reply = await ask(self.chat, request.messages, request.schema)
        if contexts:
            contexts[0].spend(reply, self.config.price)
        await self._record(contexts, request, reply.text)
        if reply.finish is Finish.LENGTH:
            return Reading(is_cut=True)
        numbers = request.read(reply.text)
        if numbers is None:
            return Reading()
        numbers = _in_range(numbers, request)
        await self._remember(key, numbers)
        return Reading(numbers)

    async def _record(
        self, contexts: Sequence[JudgingContext], request: JudgeRequest, reply: str
    ) -> None:
        if self.config.transcripts is None:
            return
        exchange = Exchange(
            tasks=tuple(clean(context.task_id) for context in contexts),
            purpose=request.purpose,
            model=self.config.endpoint.model,
            prompt="\n\n".join(message.content for message in request.messages),
            reply=clean(reply),
        )
        await asyncio.to_thread(Transcripts(self.config.transcripts).write, exchange)

    def _key(self, request: JudgeRequest) -> str:
        """Everything that a verdict depends on."""
        endpoint = self.config.endpoint
        content = [message.content for message in request.messages]
        version = prompt(request.purpose).version
        structured = str(endpoint.structured_output)
        return cache_key(endpoint.base_url, endpoint.model, structured, version, *content)

    async def _remembered(self, key: str, request: JudgeRequest) -> Numbers | None:
        if self.cache is None:
            return None
        text = (await asyncio.to_thread(self.cache.get, [key])).get(key)
        return None if text is None else _in_range(_loaded(text), request)

    async def _remember(self, key: str, numbers: Numbers) -> None:
        if self.cache is not None and numbers:
            text = json.dumps({str(at): number for at, number in numbers.items()})
            await asyncio.to_thread(self.cache.put, {key: text})


def _in_range(numbers: Numbers, request: JudgeRequest) -> Numbers:
    """The numbers that items of the request can have; a model may invent others."""
    known = request.highest
    return {at: number for at, number in numbers.items() if 0 <= number <= known.get(at, -1)}


def _loaded(text: str) -> Numbers:
    """Remembered numbers; none from a line that this program has not written."""
    try:
        pairs = cast(dict[str, object], json.loads(text)).items()
        return {int(at): number for at, number in pairs if isinstance(number, int)}
    except (ValueError, AttributeError, RecursionError):
        return {}
