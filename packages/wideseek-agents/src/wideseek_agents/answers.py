r"""Answers in an agent's final text: a fenced Markdown table, or `\boxed{...}`."""

import re

from wideseek_core.text import after_thinking

_FENCED = re.compile(r"```[ \t]*markdown[ \t]*\r?\n(.*?)```", re.DOTALL | re.IGNORECASE)
_RULE = re.compile(r"^\s*\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)*\|?\s*$")
_BOXED = "\\boxed{"


def table_answer(text: str, *, unfenced: bool = False) -> str:
    """The last fenced `markdown` block after the last `</think>`; empty if there is none.

    With `unfenced`, a text without such a block gives its last pipe table.
    """
    answer = after_thinking(text)
    fenced = _FENCED.findall(answer)
    if fenced:
        return str(fenced[-1]).strip()
    return _last_pipe_table(answer) if unfenced else ""


def boxed_answer(text: str) -> str:
    r"""What the last balanced `\boxed{...}` after the last `</think>` holds; empty if none does."""
    answer = after_thinking(text)
    start = answer.rfind(_BOXED)
    while start >= 0:
        inside = start + len(_BOXED)
        end = _closing_brace(answer, inside)
        if end >= 0:
            return answer[inside:end].strip()
        start = answer.rfind(_BOXED, 0, start)
    return ""


def _closing_brace(text: str, start: int) -> int:
    """Where the group that is open at `start` closes; -1 if it never does."""
    depth, place = 1, start
    while place < len(text):
        letter = text[place]
        if letter == "\\":
            place += 1
        elif letter in "{}":
            depth += 1 if letter == "{" else -1
            if depth == 0:
                return place
        place += 1
    return -1


def _last_pipe_table(text: str) -> str:
    """The last header, rule and rows that stand together."""
    lines = text.splitlines()
    for rule in range(len(lines) - 1, 0, -1):
        if "|" in lines[rule] and _RULE.match(lines[rule]) and "|" in lines[rule - 1]:
            end = rule + 1
            while end < len(lines) and "|" in lines[end]:
                end += 1
            return "\n".join(line.strip() for line in lines[rule - 1 : end])
    return ""
