"""Calls that a model wrote in another format than its own: never an answer.

Models fall back to formats of their training: other tags, JSON alone or in a fence, XML, function
calls as in Python. What is JSON in the shape of a call is read; any other call is malformed.
"""

import re
from collections.abc import Callable, Collection, Iterator
from functools import cache, partial
from itertools import islice
from typing import cast

from pydantic import JsonValue

from wideseek_agents.parsers.json_objects import is_call, object_at, read_call
from wideseek_core import MalformedCall, WrittenCall

_FENCE = r"^[ \t]*(?:`{3,}|~{3,})[^\n`]*$"
_TAG = (
    r"(?:<|&lt;)\s*[|｜]?\s*/?\s*(?:\w{1,20}:)?(?:(?:tools?|functions?)[ _▁-]?(?:calls?|use)"
    r"(?:[ _▁-]|section|argument|begin|start|end|sep)*|python_tag|invoke|function)"
)
_CONTROL = r"<[|｜][^|｜<>\n]{1,40}[|｜]>"
_MARKUP = re.compile(
    rf"{_FENCE}|{_CONTROL}|{_TAG}[^>{{}}\[\]\n]{{0,200}}(?:>|&gt;)|\[/?TOOL_CALLS\]", re.M | re.I
)
"""What stands around a call in one format or another."""
_CALL_MARK = re.compile(rf"{_TAG}|\[TOOL_CALLS\]|\bto=(?:functions|tools)\.", re.I)
_MARKED_JSON = re.compile(rf"\s*(?:{_TAG}[^>]{{0,200}}(?:>|&gt;)|\[TOOL_CALLS\])\s*[\[{{<]", re.I)
"""A response that begins with a call, whatever it calls."""
_QUOTED = re.compile(r"`[^`\n]+`|^[ \t]*\|.*\|[ \t]*$", re.M)
"""Inline code and the rows of tables, in which nothing is called."""
_LINE_OF_JSON = re.compile(r"^[ \t]*(?=[\[{])", re.M)
_MAX_STARTS = 50
_MAX_DEPTH = 5
"""Lists and messages around a call."""


def foreign_calls(text: str, tools: Collection[str]) -> list[WrittenCall]:
    """The calls in a response in which the agent's own format has read none.

    One that is neither marked as a call nor the whole response has to name one of `tools`.
    """
    named = "|".join(re.escape(name) for name in tools if name in text)
    if not named and not text.startswith(("{", "[", "`", "~")) and not _CALL_MARK.search(text):
        return []
    return _json_calls(text, named) or _malformed(text, named)


def _json_calls(text: str, named: str) -> list[WrittenCall]:
    """The calls of a response that ends with them, as JSON that begins on a line of its own."""
    bare = _MARKUP.sub("\n", text)
    known = re.compile(rf"(?:\w+[./])?(?:{named})(?::\d+)?") if named else None
    value_at = cache(partial(object_at, bare))  # Each start reads on through those behind it.
    for start in islice(_LINE_OF_JSON.finditer(bare), _MAX_STARTS):
        values = list(_calls_in(_values(bare, start.end(), value_at)))
        alone = not bare[: start.start()].strip() or _CALL_MARK.search(text) is not None
        if values and (
            (alone and all(map(is_call, values)))
            or (known and all(known.fullmatch(read_call(value).name) for value in values))
        ):
            return [read_call(value) for value in values]
    return []


def _values(
    text: str, place: int, value_at: Callable[[int], tuple[JsonValue, int] | None]
) -> list[JsonValue]:
    """The JSON values from `place` to the end of a text; none if something else is there."""
    values: list[JsonValue] = []
    while place < len(text):
        found = value_at(place)
        if found is None:
            return []
        values.append(found[0])
        place = found[1]
        while place < len(text) and (text[place].isspace() or text[place] in ",;"):
            place += 1
    return values


def _calls_in(values: list[JsonValue], depth: int = 0) -> Iterator[JsonValue]:
    """The objects that spell calls, of lists and of whole messages too."""
    for value in values:
        if isinstance(value, list) and depth < _MAX_DEPTH:
            yield from _calls_in(value, depth + 1)
            continue
        fields = value if isinstance(value, dict) else cast(dict[str, JsonValue], {})
        inner = fields.get("tool_calls") or fields.get("function_call")
        if "name" in fields or inner is None or depth >= _MAX_DEPTH:
            yield value
        else:
            yield from _calls_in(inner if isinstance(inner, list) else [inner], depth + 1)


def _malformed(text: str, named: str) -> list[WrittenCall]:
    """A malformed call, if the text holds one; `named` are the tools that it names."""
    plain = _QUOTED.sub(" ", text)
    found = re.search(rf"(?<![\w-])({named})(?![\w-])", plain) if named else None
    if found is not None:
        marked = _CALL_MARK.search(plain) is not None
        bare = _MARKUP.sub("\n", plain)
        shapes = (pattern.replace("NAME", f"(?:{named})") for pattern in _SHAPES)
        if marked or any(re.search(shape, bare, re.M | re.I) for shape in shapes):
            return [MalformedCall(problem="not_json", text=text, name=found[1])]
    return [MalformedCall(problem="not_json", text=text)] if _MARKED_JSON.match(plain) else []


_QUOTE = "[\"'“”]"
_SHAPES = (
    # {"name": "search", ... and {'action': 'search', ..., also spread over lines
    r"^[ \t]*\[?\s{0,20}\{[^{}]{0,200}?"
    rf"\b(?:name|tool|tool_name|action|function){_QUOTE}?\s*:"
    rf"\s*{_QUOTE}(?:\w+[./])?NAME(?::\d+)?{_QUOTE}",
    # search(query="a") at the end, alone or in a list
    r"^[ \t]*\[?(?:print\()?(?:\w+\.)?NAME\(\s*(?:\w+\s*=|[\"'\[{])[^\0]{0,4000}\)\s*\]?\s*\Z",
    # >>>search
    r"^>>>[ \t]*NAME[ \t]*$",
    # Action: search
    r"^[ \t*]*Action[*]*\s*:[ \t*`]*NAME\b[^\0]{0,4000}^[ \t*]*Action Input",
)
