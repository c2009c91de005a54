"""Tool calls in a response: `<tool_call>{"name": ..., "arguments": {...}}</tool_call>` blocks.

What a model writes wrong is data: such calls are dropped and counted, never raised.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

from pydantic import JsonValue

from wideseek_agents.text import clean
from wideseek_core import ToolCall

OPENING, CLOSING = "<tool_call>", "</tool_call>"
_DECODER = json.JSONDecoder()


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One thing that a call asks of its tool."""

    subject: str
    """The query, the URL, or the subtask."""
    count: int | None = None
    """How many documents a search should give; None if the model did not say."""
    info: str = ""
    """What to look for on a page; empty if the model did not say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How a tool's arguments hold its requests.

    `Shape(subject="query", many="queries")` reads `{"queries": [{"query": "moons"}]}`, and
    without `many` the arguments are one request themselves.
    """

    subject: str
    many: str = ""

    def read(self, arguments: Mapping[str, JsonValue]) -> tuple[list[Request], int]:
        """The valid requests, and how many were dropped (at least 1 if none is valid)."""
        items: JsonValue = arguments.get(self.many) if self.many else dict(arguments)
        if not isinstance(items, list):
            items = [items]
        read = [self._request(item) for item in items]
        requests = [request for request in read if request is not None]
        return requests, len(read) - len(requests) if read else 1

    def write(self, requests: Sequence[Request]) -> dict[str, JsonValue]:
        """The arguments that hold exactly these requests."""
        items: list[JsonValue] = [self._item(request) for request in requests]
        return {self.many: items} if self.many else cast(dict[str, JsonValue], items[0])

    def _request(self, item: JsonValue) -> Request | None:
        if not isinstance(item, dict):
            return None
        subject, count, info = (item.get(key) for key in (self.subject, "count", "info_to_extract"))
        if not isinstance(subject, str) or not subject.strip():
            return None
        return Request(
            subject=clean(subject).strip(),
            count=count if isinstance(count, int) and not isinstance(count, bool) else None,
            info=clean(info).strip() if isinstance(info, str) else "",
        )

    def _item(self, request: Request) -> dict[str, JsonValue]:
        item: dict[str, JsonValue] = {self.subject: request.subject}
        if request.count is not None:
            item["count"] = request.count
        if request.info:
            item["info_to_extract"] = request.info
        return item


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedCall:
    """A valid call: its name and what is asked, in order."""

    call: ToolCall
    """Holds exactly `requests`."""
    requests: tuple[Request, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a response asks of the tools."""

    calls: tuple[PlannedCall, ...]
    dropped: int
    """Malformed or unknown calls, invalid requests, and requests over a limit."""


@dataclass(slots=True)
class _Budget:
    per_call: int
    left: int
    dropped: int = 0
    calls: list[PlannedCall] = field(default_factory=list[PlannedCall])


def plan_calls(text: str, shapes: Mapping[str, Shape], *, per_call: int, per_turn: int) -> Plan:
    """The valid calls of a response, read after its last `</think>`.

    Of more than `per_call` requests in a call, or `per_turn` in all, the first are kept.
    """
    budget = _Budget(per_call, per_turn)
    for block in blocks(text.rpartition("</think>")[2]):
        name, arguments = (block.get("name"), block.get("arguments")) if block else (None, None)
        if isinstance(name, str) and name in shapes and isinstance(arguments, dict):
            _add(budget, name, shapes[name], arguments)
        else:
            budget.dropped += 1
    return Plan(calls=tuple(budget.calls), dropped=budget.dropped)


def _add(budget: _Budget, name: str, shape: Shape, arguments: Mapping[str, JsonValue]) -> None:
    requests, dropped = shape.read(arguments)
    kept = requests[: min(budget.per_call, budget.left)]
    budget.dropped += dropped + len(requests) - len(kept)
    budget.left -= len(kept)
    if kept:
        call = ToolCall(name=name, arguments=shape.write(kept))
        budget.calls.append(PlannedCall(call=call, requests=tuple(kept)))


def blocks(text: str) -> Iterator[dict[str, JsonValue] | None]:
    """The object of each block in order; None for one that is malformed or never closed.

    A tag inside a JSON string ends nothing.
    """
    start = text.find(OPENING)
    while start >= 0:
        start += len(OPENING)
        value, end = _object_at(text, start)
        yield value
        start = text.find(OPENING, end)


def _object_at(text: str, start: int) -> tuple[dict[str, JsonValue] | None, int]:
    """The object that fills the block from `start` on, and where to read on."""
    while start < len(text) and text[start].isspace():
        start += 1
    try:
        value, end = cast(tuple[JsonValue, int], _DECODER.raw_decode(text, start))
    except (ValueError, RecursionError):  # ValueError: also numbers of thousands of digits
        return None, start
    closed = text[end:].lstrip().startswith(CLOSING)
    return (value if closed and isinstance(value, dict) else None), end
