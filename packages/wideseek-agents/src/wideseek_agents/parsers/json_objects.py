"""JSON objects in text that a model wrote, and the tool calls that they spell."""

import json
import re
from typing import cast

from pydantic import JsonValue

from wideseek_core import MalformedCall, ToolCall, WrittenCall

_STRICT = json.JSONDecoder()
MAX_NESTING = 50
MENDED = (400, 8_000)
"""Characters in which missing backslashes are looked for: most calls are short, and many broken
ones in a response would take long."""
MAX_LONE_QUOTES = 60
"""Quotation marks without a backslash in a value that is mended; with more it is no call."""
_MARK = re.compile(r'["\[\]{}]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})?')
_CLOSES = re.compile(r"\s*(?:[,:\]}]|\Z)")
"""What follows a quotation mark that ends a string."""
_OPENS_NEXT = re.compile(r'\s+"')
"""What follows the end of a string where a comma is missing."""
_LENIENT = json.JSONDecoder(strict=False)  # Takes line breaks inside strings.


def object_at(text: str, start: int, *, strict: bool = False) -> tuple[JsonValue, int] | None:
    """The JSON value that begins at `start` or after blanks, and its end; None without one.

    Unless `strict`, strings may have line breaks, backslashes that escape nothing, as in paths and
    formulas, and quotation marks that are not escaped, as in titles.
    """
    while start < len(text) and text[start].isspace():
        start += 1
    decoder = _STRICT if strict else _LENIENT
    try:
        return cast(tuple[JsonValue, int], decoder.raw_decode(text, start))
    except json.JSONDecodeError as error:
        return None if strict or not _lacks_backslashes(error, start) else _mended(text, start)
    except (ValueError, RecursionError):  # ValueError: also numbers of thousands of digits
        return None


def _lacks_backslashes(error: json.JSONDecodeError, start: int) -> bool:
    """Whether a value can't be read for want of backslashes: a string may have ended too early."""
    if error.msg.startswith("Invalid \\"):
        return True
    before = error.doc[max(start, error.pos - MENDED[0]) : error.pos].rstrip()
    return error.msg.endswith(" delimiter") and before.endswith('"')


def _mended(text: str, start: int) -> tuple[JsonValue, int] | None:
    """The value at `start` if what stands in strings without a backslash is text."""
    for length in MENDED:
        mended, places = _with_backslashes(text, start, start + length)
        if mended is None:
            return None
        try:
            value, end = cast(tuple[JsonValue, int], _LENIENT.raw_decode(mended))
        except json.JSONDecodeError as error:
            at_the_end = error.msg.startswith("Unterminated") or error.pos > len(mended) - 10
            if not at_the_end or len(text) <= start + length:
                return None
        except (ValueError, RecursionError):
            return None
        else:
            # Each place before the end has moved it by the places before that.
            added = sum(place - start + before < end for before, place in enumerate(places))
            return value, start + end - added
    return None


def _with_backslashes(text: str, start: int, end: int) -> tuple[str | None, list[int]]:
    """The value at `start` with the backslashes that its strings lack, and before what these are.

    A backslash that escapes nothing lacks another; so does a quotation mark in a string that
    nothing follows which may follow a string. A value that is longer is cut off at `end`.
    None if too many marks lack one, or if a comma seems to be missing between two strings.
    """
    mended, places = list[str](), list[int]()
    at, inside, depth = start, False, 0
    quotes, lone = 0, 0  # In this string, with a backslash or without; in the value without.
    for found in _MARK.finditer(text, start, end):
        place, mark = found.start(), found.group()
        if not inside and mark in "[]{}":
            depth += 1 if mark in "[{" else -1
        elif mark == '"' and (not inside or not depth or _CLOSES.match(text, found.end())):
            inside, quotes = not inside, 0
        elif mark in ('"', "\\"):
            mended.append(text[at:place])
            at = place
            places.append(place)
            if mark == '"':
                if lone == MAX_LONE_QUOTES or (
                    quotes % 2 == 0 and _OPENS_NEXT.match(text, found.end())
                ):
                    return None, places
                lone += 1
                quotes += 1
        elif mark == '\\"':
            quotes += 1
        if not inside and depth <= 0:
            end = found.end()
            break
    return "\\".join([*mended, text[at:end]]), places


def is_quoted(text: str, start: int, end: int) -> bool:
    """Whether the tag there stands in inline code or in a row of a table, and means nothing."""
    line = text[text.rfind("\n", 0, start) + 1 : start].lstrip()
    behind = text[end:].partition("\n")[0]
    in_code = line.endswith("`") and behind.startswith("`")
    return in_code or (line.startswith("|") and behind.rstrip().endswith("|"))


def is_call(value: JsonValue) -> bool:
    """Whether an object has the keys of a call; one with a name alone may be an answer."""
    fields = value if isinstance(value, dict) else cast(dict[str, JsonValue], {})
    inner = fields.get("function")
    fields = inner if isinstance(inner, dict) else fields
    return "name" in fields and ("arguments" in fields or "parameters" in fields)


def read_call(value: JsonValue, *, id: str = "") -> WrittenCall:
    """The call that an object spells: its name, and its arguments as an object or as JSON text.

    Arguments may be called `parameters`, and all may stand in a `function` object.
    """
    if not isinstance(value, dict):
        return MalformedCall(problem="not_json", text=_written(value), id=id)
    inner = value.get("function")
    fields = inner if isinstance(inner, dict) else value
    name = fields.get("name")
    if not isinstance(name, str) or not name.strip():
        return MalformedCall(problem="no_name", text=_written(value), id=id)
    arguments = fields.get("arguments")
    if arguments is None:
        arguments = fields.get("parameters")
    return call_of(name.strip(), arguments, id=id)


def call_of(name: str, arguments: JsonValue, *, id: str = "") -> WrittenCall:
    """A call of the tool `name` with arguments as an object, or as JSON text of one."""
    given = arguments
    for _ in range(2):  # Some servers encode the text twice.
        if isinstance(arguments, str):
            found = object_at(arguments, 0)
            whole = found is not None and not arguments[found[1] :].strip()
            arguments = found[0] if found is not None and whole else None
    if isinstance(arguments, dict) and not _is_deep(arguments):
        return ToolCall(name=name, arguments=arguments, id=id)
    return MalformedCall(problem="bad_arguments", text=_written(given), name=name, id=id)


def _is_deep(value: JsonValue) -> bool:
    """Whether a value is nested deeper than records can be written; no tool has such arguments."""
    level = [value]
    for _ in range(MAX_NESTING):
        below: list[JsonValue] = []
        for part in level:
            if isinstance(part, dict | list):
                below += part.values() if isinstance(part, dict) else part
        if not below:
            return False
        level = below
    return True


def _written(value: JsonValue) -> str:
    try:
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    except RecursionError:
        return "..."
