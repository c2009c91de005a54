"""Short answers: where they stand in a text, and how right they are without a judge."""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Literal

from wideseek_core.text import boxed_answer
from wideseek_judge.text.canonical import canonical, plain, same

Place = Literal["boxed", "tag", "whole"]

_TAG = re.compile(r"<answer>((?:(?!<answer>).)*?)</answer>", re.DOTALL | re.IGNORECASE)
_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_NOT_WORD = re.compile(r"[^\w\s]|_")
_WRAPPED = re.compile(r"\\(?:text|mathrm|textbf)\s*\{([^{}]*)\}")


def find_answer(text: str, places: Sequence[Place]) -> str | None:
    """The short answer in a text, from the first of the places that has one."""
    found = {"boxed": _boxed, "tag": _last_tag, "whole": _whole}
    for place in places:
        answer = found[place](text)
        if answer is not None:
            return answer
    return None


def _boxed(text: str) -> str | None:
    r"""What the last `\boxed{...}` holds, without LaTeX's escapes; None if nothing."""
    answer = _WRAPPED.sub(r"\1", boxed_answer(text))
    return answer.replace("\\%", "%").replace("\\$", "$").replace("\\&", "&").strip() or None


def _last_tag(text: str) -> str | None:
    start = text.lower().rfind("<answer>")
    match = _TAG.match(text, start) if start >= 0 else None
    return (match[1].strip() or None) if match else None


def _whole(text: str) -> str | None:
    return text.strip() or None


def normalized(text: str) -> str:
    """Lower case without punctuation and articles, one space between words."""
    text = _NOT_WORD.sub("", plain(text).casefold())
    return " ".join(_ARTICLES.sub(" ", text).split())


def exact_match(answer: str, references: Sequence[str]) -> float:
    """1 if the normalized answer equals a normalized reference."""
    return float(normalized(answer) in {normalized(reference) for reference in references})


def token_f1(answer: str, references: Sequence[str]) -> float:
    """Best F1 over the words shared with a reference."""
    words = normalized(answer).split()
    return max(
        (_word_f1(words, normalized(reference).split()) for reference in references), default=0.0
    )


def _word_f1(words: Sequence[str], target: Sequence[str]) -> float:
    if not words or not target:
        return float(words == target)
    shared = sum((Counter(words) & Counter(target)).values())
    return 2 * shared / (len(words) + len(target))


def contains(answer: str, references: Sequence[str]) -> float:
    """1 if the words of a reference stand in the answer, in a row."""
    padded = f" {normalized(answer)} "
    wanted = (normalized(reference) for reference in references)
    return float(any(words and f" {words} " in padded for words in wanted))


def agrees(answer: str, references: Sequence[str]) -> bool:
    """Whether an answer surely means the same as one of the references."""
    return any(
        same(answer, reference) or _bare(answer) == _bare(reference) for reference in references
    )


def _bare(text: str) -> str:
    """The canonical spelling, without a leading article."""
    tidy = plain(text)
    first, _, rest = tidy.partition(" ")
    return canonical(rest if rest and first.casefold() in ("a", "an", "the") else tidy)
