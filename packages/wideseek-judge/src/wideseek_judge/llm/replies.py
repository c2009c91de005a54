"""Reads what language models reply when asked for JSON: fences, chatter, duplicates, bad commas."""

import json
import re
from collections.abc import Iterator
from typing import cast

_FENCE = re.compile(r"```[a-zA-Z]*\s*\n?(.*?)```", re.DOTALL)
_COMMENT = re.compile(r"(?m)^\s*(?://|#).*$|(?<=[\d\"\s,])\s*//[^\"\n]*$")
_TRAILING = re.compile(r",(?=\s*[}\]])")
_PAIR = re.compile(
    r"[\"'*`]*(?:idx_|item |#)?(\d{1,5})[\"'*`]*\s*[:=]\s*[\"'*`]*"
    r"(\d{1,5}|true|false|yes|no|null|none|correct|incorrect)\b",
    re.IGNORECASE,
)
_WORD = re.compile(r"\b(incorrect|correct|not correct|wrong|right|yes|no)\b", re.IGNORECASE)
_WORDS = {
    "true": 1,
    "yes": 1,
    "correct": 1,
    "right": 1,
    "false": 0,
    "no": 0,
    "incorrect": 0,
    "not correct": 0,
    "wrong": 0,
    "null": 0,
    "none": 0,
    "": 0,
}
_MAX_CHARACTERS = 400_000
_MAX_TRIES = 50


def read_numbers(reply: str) -> dict[int, int] | None:
    """A mapping of numbers to numbers, `{"1": 1, "idx_2": true}`; None if there is none.

    A key that comes twice keeps its last value. Values that are no number are left out.
    """
    reply = _final(reply)
    for found in _objects(reply):
        numbers = _numbers(found)
        if numbers or not found:
            return numbers
    pairs = {int(key): _WORDS.get(word.lower(), -1) for key, word in _PAIR.findall(reply)}
    pairs |= {int(key): int(word) for key, word in _PAIR.findall(reply) if word.isdigit()}
    return {key: value for key, value in pairs.items() if value >= 0} or None


def read_correct(reply: str) -> bool | None:
    """The verdict in a reply, `{"correct": 1}` or a bare word; None if there is none."""
    reply = _final(reply)
    for found in _objects(reply):
        for name in ("correct", "is_correct", "score", "verdict", "judgement", "judgment"):
            value = _number(found.get(name, "?"))
            if value in (0, 1):
                return bool(value)
    words = [word.lower() for word in _WORD.findall(reply)]
    return bool(_WORDS[words[-1]]) if words else None


def _final(reply: str) -> str:
    return reply[-_MAX_CHARACTERS:].rpartition("</think>")[2]


def _objects(reply: str) -> Iterator[dict[str, object]]:
    """JSON objects in a reply: whole, then fenced, then anywhere; the last ones first."""
    for text in (reply, *reversed(_FENCE.findall(reply))):
        found = _load(text)
        if found is not None:
            yield found
    decoder = json.JSONDecoder()
    position = reply.rfind("{")
    for _ in range(_MAX_TRIES):
        if position < 0:
            return
        try:
            value, _end = cast(tuple[object, int], decoder.raw_decode(reply, position))
        except (json.JSONDecodeError, RecursionError):
            end = reply.find("}", position)
            value = _load(reply[position : end + 1]) if end > 0 else None
        if isinstance(value, dict):
            yield cast(dict[str, object], value)
        position = reply.rfind("{", 0, position)


def _load(text: str) -> dict[str, object] | None:
    """An object from JSON that may have comments, trailing commas or single quotes."""
    text = text.strip()
    if not text.startswith("{"):
        return None
    tidied = _TRAILING.sub("", _COMMENT.sub("", text))
    for attempt in (text, tidied, tidied.replace("'", '"')):
        try:
            value: object = json.loads(attempt)
        except (json.JSONDecodeError, RecursionError):
            continue
        if isinstance(value, dict):
            return cast(dict[str, object], value)
    return None


def _numbers(found: dict[str, object]) -> dict[int, int]:
    numbers: dict[int, int] = {}
    for key, value in found.items():
        if isinstance(value, dict):
            nested = cast(dict[str, object], value)
            value = nested.get("score", nested.get("verdict", "?"))
        digits = re.search(r"\d{1,6}$", key.strip())
        number = _number(value)
        if digits and number is not None:
            numbers[int(digits.group())] = number
    return numbers


def _number(value: object) -> int | None:
    """A JSON value as a whole number; words for yes and no count, fractions don't."""
    if value is None:
        return 0
    if isinstance(value, bool | int):
        return int(value)
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    if isinstance(value, str):
        word = value.strip().lower()
        return int(word) if word.isdecimal() and len(word) < 7 else _WORDS.get(word)
    return None
