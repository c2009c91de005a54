"""Tool calls of Hermes and Qwen models: JSON objects in `<tool_call>` blocks."""

import json
from collections.abc import Iterator
from typing import cast

from pydantic import JsonValue

from wideseek_agents.parsers.json_objects import object_at, read_call
from wideseek_core import MalformedCall, ToolCall, WrittenCall

OPENING, CLOSING = "<tool_call>", "</tool_call>"


class HermesParser:
    """`<tool_call>{"name": ..., "arguments": {...}}</tool_call>` blocks."""

    instructions = ""

    def __init__(self, *, strict: bool = False) -> None:
        """`strict` reads one object with `name` and `arguments` a block, and nothing else."""
        self._strict = strict

    def parse(self, text: str) -> list[WrittenCall]:
        """The calls of all blocks. A tag inside a JSON string ends nothing."""
        calls: list[WrittenCall] = []
        start = text.find(OPENING)
        while start >= 0:
            start += len(OPENING)
            found, end = self._block(text, start)
            calls += found
            start = text.find(OPENING, end)
        return calls

    def write(self, call: ToolCall) -> str:
        """A block."""
        value = {"name": call.name, "arguments": call.arguments}
        return f"{OPENING}\n{json.dumps(value, ensure_ascii=False)}\n{CLOSING}"

    def _block(self, text: str, start: int) -> tuple[list[WrittenCall], int]:
        """The calls of the block whose content begins at `start`, and where to read on."""
        values: list[JsonValue] = []
        end = start
        while (found := object_at(text, end, strict=self._strict)) is not None:
            value, end = found
            values.append(value)
            if self._strict:
                break
        rest = text[end:].lstrip()
        problem = "not_json"
        if values and rest.startswith(CLOSING):
            read = [self._call(value) for value in _flat(values, self._strict)]
            return read or [MalformedCall(problem=problem, text=text[start:end])], end
        if values and not rest:
            problem = "not_closed"
        name = _name_of(values[0]) if values else ""
        return [MalformedCall(problem=problem, text=text[start:end], name=name)], end

    def _call(self, value: JsonValue) -> WrittenCall:
        if not self._strict:
            return read_call(value)
        if not isinstance(value, dict):
            return MalformedCall(problem="not_json", text=json.dumps(value))
        name, arguments = value.get("name"), value.get("arguments")
        if not isinstance(name, str) or not isinstance(arguments, dict):
            return MalformedCall(problem="bad_arguments", text=json.dumps(value))
        return ToolCall(name=name, arguments=arguments)


def _flat(values: list[JsonValue], strict: bool) -> Iterator[JsonValue]:
    """Every object of a block; a block may hold a list of them."""
    for value in values:
        if isinstance(value, list) and not strict:
            yield from value
        else:
            yield value


def _name_of(value: JsonValue) -> str:
    name = cast(dict[str, JsonValue], value).get("name") if isinstance(value, dict) else None
    return name if isinstance(name, str) else ""
