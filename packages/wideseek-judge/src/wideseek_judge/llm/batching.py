"""Puts numbered items to a model in shared requests and hands each its number back.

Cells to compare and keys to align go into the same requests. Items of all answers that are judged
at the same time wait a moment for one another, so that few requests carry many. What a reply leaves
out is asked again, alone; the same item is never in flight twice.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from wideseek_core import Message, PolicyError
from wideseek_core.errors import NoVerdict
from wideseek_judge.config import JudgeConfig
from wideseek_judge.counts import JudgeCounts
from wideseek_judge.llm.cache import Exchange, Transcripts
from wideseek_judge.llm.client import Chat
from wideseek_judge.llm.prompts import PromptName, prompt
from wideseek_judge.llm.replies import read_numbers
from wideseek_judge.verdicts import JudgingContext

_AGAIN = "\nAn earlier reply could not be read. Reply with the one JSON object and nothing else."
_PROMPT: PromptName = "table"
_MIN_HALVED = 8
_MAX_VALUE_CHARACTERS = 1000
_MAX_CHARACTERS = 40_000
"""Of the values in one request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """What the items of a group have in common, as the model is shown it."""

    question: str
    column: str
    criterion: str = ""
    references: tuple[str, ...] = ()
    """Numbered from 1; only where a reference is looked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One thing to be decided by a number from 0 to `highest`."""

    key: str
    """Equal for equal items of any answer."""
    group: Group
    value: str
    reference: str = ""
    highest: int = 1
    context: JudgingContext

    def shown(self) -> object:
        """What the model sees of it, beside its number and its group."""
        if self.group.references:
            return _cut(self.value)
        return {"answer": _cut(self.value), "reference": _cut(self.reference)}


def _cut(value: str) -> str:
    return value if len(value) <= _MAX_VALUE_CHARACTERS else f"{value[:_MAX_VALUE_CHARACTERS]} …"


class JudgeClient:
    """Sends messages to the model; counts and records what is said."""

    def __init__(self, config: JudgeConfig, chat: Chat, counts: JudgeCounts) -> None:
        self._chat, self._counts = chat, counts
        self._model = config.endpoint.model
        self._transcripts = Transcripts(config.transcripts)

    async def ask(
        self, purpose: PromptName, contexts: Sequence[JudgingContext], messages: list[Message]
    ) -> str:
        """One exchange, which counts for every answer it serves. Raises `JudgeError`."""
        self._counts.calls += 1
        for context in contexts:
            context.calls += 1
        try:
            reply = await self._chat(messages)
        except PolicyError as error:  # from an engine of our own
            raise NoVerdict(f"{purpose}: {error}") from error
        if self._transcripts.wanted:
            exchange = Exchange(
                tasks=tuple(context.task_id for context in contexts),
                purpose=purpose,
                model=self._model,
                prompt="\n\n".join(message.content for message in messages),
                reply=reply,
            )
            await asyncio.to_thread(self._transcripts.write, exchange)
        return reply


class RequestBatcher:
    """Collects items. Use within a running loop; close it after use."""

    def __init__(self, config: JudgeConfig, clerk: JudgeClient, counts: JudgeCounts) -> None:
        self._config, self._client, self._counts = config, clerk, counts
        self._waiting: list[Item] = []
        self._timer: asyncio.TimerHandle | None = None
        self._answers: dict[str, asyncio.Future[int]] = {}
        self._requests: set[asyncio.Task[None]] = set()

    async def decide(self, items: Sequence[Item]) -> list[int | BaseException]:
        """The number of each item, or why it has none."""
        loop = asyncio.get_running_loop()
        fresh = list({item.key: item for item in items if item.key not in self._answers}.values())
        for item in fresh:
            self._answers[item.key] = loop.create_future()
        self._counts.asked += len(fresh)
        wanted = [self._answers[item.key] for item in items]
        self._accept(fresh)
        # Shielded, since another answer may wait for the same item when this one is cancelled.
        shielded = (asyncio.shield(answer) for answer in wanted)
        return await asyncio.gather(*shielded, return_exceptions=True)

    async def close(self) -> None:
        """Gives up what is still under way."""
        if self._timer is not None:
            self._timer.cancel()
        for request in list(self._requests):
            request.cancel()
        await asyncio.gather(*self._requests, return_exceptions=True)

    def _accept(self, items: Sequence[Item]) -> None:
        if self._config.batching == "shared":
            self._waiting.extend(items)
            if len(self._waiting) >= self._config.max_batch_items:
                self._flush()
            elif self._waiting and self._timer is None:
                loop = asyncio.get_running_loop()
                self._timer = loop.call_later(self._config.batch_window_s, self._flush)
            return
        parts: dict[Group | None, list[Item]] = {}
        for item in items:
            part = item.group if self._config.batching == "column" else None
            parts.setdefault(part, []).append(item)
        for part in parts.values():
            self._send_all(part)

    def _flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiting, self._waiting = self._waiting, []
        self._send_all(waiting)

    def _send_all(self, items: Sequence[Item]) -> None:
        batch: list[Item] = []
        letters = 0
        for item in items:
            length = min(len(item.value) + len(item.reference), 2 * _MAX_VALUE_CHARACTERS)
            if batch and (
                len(batch) >= self._config.max_batch_items or letters + length > _MAX_CHARACTERS
            ):
                self._start(batch)
                batch, letters = [], 0
            batch.append(item)
            letters += length
        if batch:
            self._start(batch)

    def _start(self, batch: Sequence[Item]) -> None:
        request = asyncio.create_task(self._settle(batch))
        self._requests.add(request)
        request.add_done_callback(self._requests.discard)

    async def _settle(self, batch: Sequence[Item]) -> None:
        """Sees to it that every item of a batch gets a number or a failure."""
        failure: BaseException = NoVerdict(
            f"{_PROMPT}: no readable verdict in {self._config.max_parse_attempts} replies"
        )
        try:
            await self._send(batch, self._config.max_parse_attempts)
        except asyncio.CancelledError:
            failure = NoVerdict(f"{_PROMPT}: the judge was closed")
            raise
        except Exception as error:  # noqa: BLE001 - raised where the answers are awaited
            failure = error
        finally:
            for item in batch:
                answer = self._answers.pop(item.key)
                if not answer.done():
                    answer.set_exception(failure)

    async def _send(self, items: Sequence[Item], attempts: int) -> None:
        """Asks, hands out what is answered, and asks again for the rest."""
        contexts = list({id(item.context): item.context for item in items}.values())
        messages = prompt(_PROMPT).fill(groups=_grouped(items))
        if attempts < self._config.max_parse_attempts:
            messages = [Message(role="user", content=messages[0].content + _AGAIN)]
        numbers = read_numbers(await self._client.ask(_PROMPT, contexts, messages))
        left: list[Item] = []
        for at, item in enumerate(items, 1):
            number = (numbers or {}).get(at, -1)
            if not 0 <= number <= item.highest:
                if numbers is None or not item.context.official:
                    left.append(item)
                    continue
                number = 0
            if not self._answers[item.key].done():
                self._answers[item.key].set_result(number)
        if not left:
            return
        self._counts.parse_failures += 1
        if attempts <= 1:
            return
        # A reply that was cut off may fit for half as many items.
        halved = numbers is None and len(left) > _MIN_HALVED
        middle = len(left) // 2 if halved else len(left)
        for part in (left[:middle], left[middle:]):
            if part:
                await self._send(part, attempts - 1)


def _grouped(items: Sequence[Item]) -> list[dict[str, object]]:
    """The items as the prompt shows them: numbered through, by group."""
    shown: dict[Group, dict[str, object]] = {}
    for at, item in enumerate(items, 1):
        shown.setdefault(item.group, {})[str(at)] = item.shown()
    return [_heading(group) | {_label(group): numbered} for group, numbered in shown.items()]


def _label(group: Group) -> str:
    return "values" if group.references else "items"


def _heading(group: Group) -> dict[str, object]:
    heading: dict[str, object] = {"question": group.question, "column": group.column}
    if group.criterion:
        heading["criterion"] = group.criterion
    if group.references:
        heading["references"] = {str(at): name for at, name in enumerate(group.references, 1)}
    return heading
