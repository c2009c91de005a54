"""Where a response ends that repeats itself: with the first of what it repeats, as a whole."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import accumulate

from wideseek_core import Finish, Generated
from wideseek_core.repetition import Repeats, repeats_at_end
from wideseek_core.versions import first_tokens

_ENDS = tuple(
    re.compile(pattern)
    for pattern in (
        r"\n[ \t]*",
        r"[;；][ \t]*",
        r"(?<=[。！？])|(?<=[.!?])[ \t\r]+",
        r"[,，、][ \t]*",
        r"(?<=[|)\]}])[ \t]*",
        r"(?<=[^\s\ufffd])\s+",
        r"(?<=[^\ufffd])",
    )
)
"""What stands between the items of a list, from lines to characters: the surest sign first."""
_LOOKED_BACK = 64
"""Characters before the end of the first repeat in which the blanks behind an item may begin."""


def trimmed(
    generated: Generated,
    max_repeats: int | None,
    token_texts: Callable[[Sequence[int]], Sequence[str]],
) -> Generated:
    """A response without the repeats at its end, if it reached its limit by them."""
    if max_repeats is None or generated.finish is not Finish.LENGTH:
        return generated
    repeats = repeats_at_end(generated.ids, max_repeats)
    if repeats is None:
        return generated
    end = _end(token_texts(generated.ids[: repeats.end_of_first + repeats.period]), repeats)
    return replace(
        generated,
        ids=generated.ids[:end],
        logprobs=generated.logprobs[:end],
        finish=Finish.TRIMMED,
        versions=first_tokens(generated.versions, end),
    )


def _end(texts: Sequence[str], repeats: Repeats) -> int:
    """The first end of an item at which all that is repeated has been said once.

    `Ann Lee, Bob Lee, Bob Lee, ...` repeats ` Lee, Bob`: the item that these tokens end with is
    said to its end. `texts` are those of two rounds, and of what comes before them.
    """
    text = "".join(texts)
    ends = list(accumulate(map(len, texts)))  # of each token, in characters
    whole = [(token, end) for token, end in enumerate(ends, 1) if texts[token - 1]]
    said = _end_of_first(text, ends, repeats)
    for pattern in _ENDS:
        for found in pattern.finditer(text, max(0, said - _LOOKED_BACK)):
            if found.end() >= said:
                return _cut(whole, max(found.start(), said), max(found.end(), said))
    return repeats.end_of_first


def _end_of_first(text: str, ends: Sequence[int], repeats: Repeats) -> int:
    """Where what is repeated has been said once, in characters, without blanks behind it.

    The first round may be written in other tokens than the next: the first word of a response has
    no blank before it.
    """
    end = ends[repeats.end_of_first - 1]
    size = ends[-1] - end
    start = end - size
    while start > 0 and text[start - 1] == text[start - 1 + size]:
        start -= 1
    return len(text[: start + size].rstrip())


def _cut(ends: Sequence[tuple[int, int]], first: int, last: int) -> int:
    """The most tokens that end between two places of a text, or the fewest that end later.

    `ends` has the tokens that end a character, and their ends in the text.
    """
    within = [token for token, end in ends if first <= end <= last]
    return within[-1] if within else next(token for token, end in ends if end > last)
