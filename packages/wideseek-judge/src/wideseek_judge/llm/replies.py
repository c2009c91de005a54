"""Reads the verdict out of a judge's reply, and nothing that is not surely one.

A verdict is one JSON object behind the thinking: the whole reply, or its end on a line of its own,
in a fence, or behind a label. A reply that is cut off, contradicts itself, or merely quotes an
object has no verdict; then the judge is asked again. Words can say no; they say yes only where the
whole reply does.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import cast

from wideseek_core.text import after_thinking
from wideseek_judge.llm.words import WORDS, is_plain_yes, stated_verdict, verdict_words

MAX_CHARACTERS = 400_000
"""A longer reply is not read."""
_MAX_DIGITS = 9
_NAMES = ("correct", "is_correct", "score", "verdict", "judgement", "judgment")
_OPPOSITES = ("incorrect", "is_incorrect", "wrong")
_WRAPPERS = ("verdicts", "results", "scores", "answer", "output")

_NUMBERED = re.compile(r"(?:idx|item|value|number|no\.?|#)?[ _-]?([0-9]{1,6})", re.IGNORECASE)
_LINE = re.compile(
    r"[-*+\s]*[*_`\"']*(?:idx_|item |#)?([0-9]{1,6})[*_`\"']*\s*[:：=]\s*[*_`\"']*"
    rf"([0-9]{{1,6}}|{'|'.join(WORDS)})[*_`\"']*[.,;，。]?\s*",
    re.IGNORECASE,
)
_LABELED = re.compile(
    r"[*_`\"']*(?:final )?(?:verdict|score|grade|judge?ment|result|(?:is_)?correct|结论|判断|评分)"
    rf"[*_`\"']*\s*[:：=]\s*[*_`\"']*(0|1|{'|'.join(WORDS)})[*_`\"']*[.。]?",
    re.IGNORECASE,
)
_BEFORE = re.compile(
    r"(?:^|\n)[ \t>*_`]*(?:(?:so|thus|therefore|hence|final|my|the|overall|json)[ ,]*)*"
    r"(?:(?:verdicts?|scores?|grades?|judge?ments?|results?|answer|reply|output|json|"
    r"结论|判断|评分|结果|最终)[ \t*_`]*(?:is|are)?[ \t]*[:：=]?[ \t*_]*)?(?:```\w*\s*)?$",
    re.IGNORECASE,
)
_SHAPED = re.compile(
    r"[{｛]|\d[\"'”*_`]*\s*[:：=]\s*[\"'“]?(?:[01](?!\d)|true|yes|correct)"
    r"|(?:correct|verdict|score|judge?ment)[\"'”*_`]*\s*[:：=]",
    re.IGNORECASE,
)
_TOKEN = re.compile(r'[{}]|"(?:\\.|[^"\\\n])*"', re.DOTALL)
_DECORATION = " \t\r\n`*_.。"
_COMMENT = re.compile(r"(?m)^[ \t]*(?://|#).*$|(?<=[\d\"\s,])//[^\"\n]*$")
_TRAILING = re.compile(r",(?=\s*[}\]])")
_BARE_KEY = re.compile(r"(?<=[{,\s])(\d{1,6}|[A-Za-z_]{1,20})(?=\s*:)")
_PYTHON = {"True": "true", "False": "false", "None": "null"}
_FULL_WIDTH = str.maketrans("｛｝：，“”＂", '{}:,"""')


class _Conflict:
    """The value of a key that comes with two values."""


def read_numbers(reply: str, *, alone: bool = False) -> dict[int, int] | None:
    """A mapping of numbers to numbers, `{"1": 1, "idx_2": true}`; None without a readable one.

    Values that are no whole number, and keys with several values, are left out. With `alone`
    nothing but the object may be there: for prompts that show text shaped like a verdict.
    """
    text = _answer(reply)
    if "{" not in text:
        return _read_lines(text)
    if text.strip() == "{}":
        return {}
    found = _anchored(text, _unwrapped, alone=alone)
    return None if found is None else _numbers(found)


def read_correct(reply: str, *, alone: bool = False) -> bool | None:
    """The verdict in a reply, `{"correct": 1}` or words for no; None without a readable one."""
    text = _answer(reply)
    if "{" in text:
        found = _anchored(text, _named, alone=alone)
        return None if found is None else _agreed(text, found)
    return _read_words(text)


def looks_like_verdict(text: str) -> bool:
    """Whether a text shown to the judge could be quoted by it and be taken for a verdict."""
    return _SHAPED.search(text) is not None


def _answer(reply: str) -> str:
    """The reply behind the thinking; empty if it is too long."""
    text = after_thinking(reply) if len(reply) <= MAX_CHARACTERS else ""
    return text.translate(_FULL_WIDTH) if "｛" in text and "{" not in text else text


def _anchored(
    text: str, verdict_in: Callable[[dict[str, object]], dict[str, object]], *, alone: bool
) -> dict[str, object] | None:
    """The one verdict object that ends the text; None if it is missing, cut off or contradicted."""
    spans = _objects(text)
    if not spans:
        return None
    verdicts = [(span, verdict_in(_load(text[slice(*span)]) or {})) for span in spans]
    verdicts = [(span, verdict) for span, verdict in verdicts if verdict]
    if not verdicts or any(verdict != verdicts[-1][1] for _, verdict in verdicts):
        return None
    start, end = verdicts[-1][0]
    before = text[:start].strip(_DECORATION)
    is_anchored = before.lower() in ("", "json") if alone else _BEFORE.search(text[:start])
    return verdicts[-1][1] if is_anchored and not text[end:].strip(_DECORATION) else None


def _objects(text: str) -> list[tuple[int, int]]:
    """Where the outermost `{...}` are; none at all if the last one is not closed."""
    spans: list[tuple[int, int]] = []
    depth = start = 0
    for token in _TOKEN.finditer(text):
        if token[0] == "{":
            start = start if depth else token.start()
            depth += 1
        elif token[0] == "}" and depth:
            depth -= 1
            if not depth:
                spans.append((start, token.end()))
    return [] if depth else spans


def _load(text: str) -> dict[str, object] | None:
    """An object from JSON that may have comments, trailing commas, bare keys or single quotes."""
    for attempt in _repairs(text):
        try:
            value: object = json.loads(
                attempt, object_pairs_hook=_without_conflicts, parse_int=_small
            )
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            return cast(dict[str, object], value)
    return None


def _repairs(text: str) -> Iterator[str]:
    yield text
    if len(text) > MAX_CHARACTERS // 10:
        return
    tidied = _TRAILING.sub("", _COMMENT.sub("", text))
    yield tidied
    for word, json_word in _PYTHON.items():
        tidied = re.sub(rf"\b{word}\b", json_word, tidied)
    tidied = tidied.replace("'", '"').translate(_FULL_WIDTH)
    yield tidied
    yield _BARE_KEY.sub(r'"\1"', tidied)


def _without_conflicts(pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
    found: dict[str, object] = {}
    for key, value in pairs:
        found[key] = value if found.get(key, value) == value else _Conflict()
    return found


def _small(digits: str) -> int:
    """A whole number of few digits; -1 for more, which no verdict has."""
    return int(digits) if len(digits) <= _MAX_DIGITS else -1


def _unwrapped(found: dict[str, object]) -> dict[str, object]:
    """An object with numbered keys, or the one it holds; empty for any other."""
    if len(found) == 1:
        name, value = next(iter(found.items()))
        if name.lower() in _WRAPPERS and isinstance(value, dict):
            found = cast(dict[str, object], value)
    return found if any(_NUMBERED.fullmatch(key.strip()) for key in found) else {}


def _named(found: dict[str, object]) -> dict[str, object]:
    names = {name.strip().lower(): value for name, value in found.items()}
    return names if any(name in names for name in _NAMES) else {}


def _numbers(found: dict[str, object]) -> dict[int, int]:
    pairs: list[tuple[int, int | None]] = []
    for key, value in found.items():
        numbered = _NUMBERED.fullmatch(key.strip())
        if numbered:
            pairs.append((int(numbered[1]), _number(value)))
    return _consistent(pairs)


def _consistent(pairs: Iterable[tuple[int, int | None]]) -> dict[int, int]:
    """The numbers whose values are known and agree."""
    numbers: dict[int, int] = {}
    spoilt: set[int] = set()
    for at, value in pairs:
        if value is None or numbers.get(at, value) != value:
            spoilt.add(at)
        else:
            numbers[at] = value
    return {at: value for at, value in numbers.items() if at not in spoilt}


def _number(value: object) -> int | None:
    """A JSON value as a whole number; words for yes and no count, fractions and null don't."""
    if isinstance(value, dict):
        nested = cast(dict[str, object], value)
        numbers = {_number(nested[name]) for name in _NAMES if name in nested}
        return numbers.pop() if len(numbers) == 1 else None
    if isinstance(value, float) and value.is_integer() and value < 1e6:
        value = int(value)
    if isinstance(value, bool | int):
        return int(value) if value >= 0 else None
    if isinstance(value, str):
        word = value.strip().lower()
        return (
            int(word) if word.isascii() and word.isdecimal() and len(word) < 7 else WORDS.get(word)
        )
    return None


def _agreed(text: str, found: dict[str, object]) -> bool | None:
    """The verdict of an object, unless its values or the words around it contradict it."""
    numbers = {_number(found[name]) for name in _NAMES if name in found}
    opposites = {_number(found[name]) for name in _OPPOSITES if name in found}
    if numbers not in ({0}, {1}) or (opposites and opposites != {0, 1} - numbers):
        return None
    right = numbers == {1}
    return right if stated_verdict(text) in (None, right) else None


def _read_lines(text: str) -> dict[int, int] | None:
    """Lines `1: 1`, if the reply has nothing else."""
    lines = [line for line in text.splitlines() if line.strip()]
    matches = [_LINE.fullmatch(line) for line in lines]
    if not lines or len(lines) > MAX_CHARACTERS // 100 or not all(matches):
        return None
    return _consistent((int(match[1]), _number(match[2])) for match in matches if match)


def _read_words(text: str) -> bool | None:
    """A verdict in words: a plain yes, or anything whose last word on it is no."""
    if len(text) > MAX_CHARACTERS // 100:
        return None
    text = text.strip()
    words = verdict_words(text)
    labeled = _LABELED.fullmatch(text.rpartition("\n")[2].strip())
    if labeled and _number(labeled[1]) is not None:
        right = _number(labeled[1]) == 1
        return right if all(word is right for word in words) else None
    if is_plain_yes(text):
        return True
    return False if words and words[-1] is False and None not in words else None
