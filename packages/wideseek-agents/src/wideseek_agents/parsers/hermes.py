"""Tool calls of Hermes and Qwen models: JSON objects in `<tool_call>` blocks."""

import json
import re
from collections.abc import Iterator
from typing import cast

from pydantic import JsonValue

from wideseek_agents.parsers.json_objects import call_of, is_quoted, object_at, read_call
from wideseek_core import MalformedCall, ToolCall, WrittenCall

OPENING, CLOSING = "<tool_call>", "</tool_call>"
_STRICT_TAGS = re.compile("<tool_call>"), re.compile("</tool_call>")
_LENIENT_TAGS = (
    re.compile(r"<\s*tool_calls?\s*>", re.IGNORECASE),
    re.compile(r"<\s*/\s*tool_calls?\s*>", re.IGNORECASE),
)
_FENCE = re.compile(r"\s*(?:```|~~~)\w*[ \t]*\n")


class HermesParser:
    """`<tool_call>{"name": ..., "arguments": {...}}</tool_call>` blocks."""

    instructions = ""

    def __init__(self, *, strict: bool = False) -> None:
        """`strict` reads one object with `name` and `arguments` a block, and nothing else."""
        self._strict = strict
        self._opening, self._closing = _STRICT_TAGS if strict else _LENIENT_TAGS

    def parse(self, text: str) -> list[WrittenCall]:
        """The calls of all blocks. A tag inside a JSON string ends nothing."""
        calls: list[WrittenCall] = []
        opened = self._next(text, 0)
        while opened is not None:
            found, end = self._block(text, opened.end())
            calls += found
            opened = self._next(text, end)
        return calls

    def write(self, call: ToolCall) -> str:
        """A block."""
        value = {"name": call.name, "arguments": call.arguments}
        return f"{OPENING}\n{json.dumps(value, ensure_ascii=False)}\n{CLOSING}"

    def _next(self, text: str, start: int) -> re.Match[str] | None:
        """The next opening tag; one in inline code or in a row of a table opens nothing."""
        for opened in self._opening.finditer(text, start):
            if self._strict or not is_quoted(text, *opened.span()):
                return opened
        return None

    def _block(self, text: str, start: int) -> tuple[list[WrittenCall], int]:
        """The calls of the block whose content begins at `start`, and where to read on."""
        values: list[JsonValue] = []
        fence = None if self._strict else _FENCE.match(text, start)
        end = start if fence is None else fence.end()
        while (found := object_at(text, end, strict=self._strict)) is not None:
            value, end = found
            values.append(value)
            if self._strict:
                break
        rest = text[end:].lstrip()
        if fence is not None:
            rest = rest.lstrip("`~").lstrip()
        problem = "not_json"
        if values and self._closing.match(rest):
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
        return call_of(name, arguments)


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
