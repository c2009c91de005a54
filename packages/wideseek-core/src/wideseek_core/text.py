r"""Text written by models and services: what follows the thinking, `\boxed{}`, safe characters."""

import bisect
import re

_TAG = re.compile(r"</?think>")
_QUOTED = re.compile(
    r"""(?:(?<=[\[{,:(\s])|^)"(?:\\.|[^"\\\n])*"(?=[\]},:).;!?\s]|$)"""  # a string of JSON
    r"|`[^`\n]+`"  # inline code
    r"|\\boxed\s*\{[^{}\n]*\}",
    re.MULTILINE,
)
_FENCE = re.compile(r"^[ \t]*(?:>[ \t]?)*(```+|~~~+)([^\n]*)$", re.MULTILINE)
_BOXED = re.compile(r"\\boxed\s*\{")
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
_MAX_INDENT = 80
_MAX_ROW = 20_000
"""How far around a tag its line is looked at, so that the time stays linear."""
_CONTROL = re.compile(
    r"<(?=[|｜][^|｜<>\n]{1,40}[|｜]>|/?(?:think|tool_call|tool_response|tools|s|bos|eos)>"
    r"|(?:start|end)_of_turn>)"
)


def after_thinking(text: str) -> str:
    r"""The answer of a response: what follows the `</think>` that ends the thinking, stripped.

    Empty if the text opens with `<think>` and never ends it. A tag inside a JSON string, inline
    code, `\boxed{}` or a table cell ends nothing. Thinking may come in several blocks, the first
    without its opening tag (chat templates write that one).
    """
    text = text.strip()
    if "think>" not in text:
        return text
    opened = text.startswith("<think>")
    end = _thinking_end(text, rows_quote=not opened)
    if end < 0:
        return "" if opened else _after_blocks(text)
    return _after_blocks(text[end:])


def _thinking_end(text: str, *, rows_quote: bool) -> int:
    """Where the first `</think>` ends that is not quoted; -1 without one."""
    quoted = _spans(_QUOTED, text)
    for tag in _TAG.finditer(text):
        if tag[0] == "<think>" and rows_quote and not _inside(quoted, tag.start()):
            return -1  # The thinking starts later: an answer comes before it.
        if tag[0] == "</think>" and not _inside(quoted, tag.start()):
            if rows_quote and _in_table_row(text, tag):
                continue
            return tag.end()
    return -1


def _after_blocks(text: str) -> str:
    """What follows further blocks of thinking, and closing tags that stand alone on a line."""
    quoted = sorted([*_spans(_QUOTED, text), *_fenced_spans(text)])
    start, opened = 0, False
    for tag in _TAG.finditer(text):
        if _inside(quoted, tag.start()) or (not opened and _in_table_row(text, tag)):
            continue
        if tag[0] == "<think>":
            opened = True
        elif opened or (_starts_line(text, tag) and _ends_line(text, tag)):
            start, opened = tag.end(), False
    rest = text[start:].strip()
    return "" if rest.startswith("<think>") else rest


def _starts_line(text: str, tag: re.Match[str]) -> bool:
    before = text[max(0, tag.start() - _MAX_INDENT) : tag.start()].rstrip(" \t")
    return before.endswith("\n") or (not before and tag.start() <= _MAX_INDENT)


def _ends_line(text: str, tag: re.Match[str]) -> bool:
    behind = text[tag.end() : tag.end() + _MAX_INDENT].lstrip(" \t\r")
    return not behind or behind.startswith("\n")


def _in_table_row(text: str, tag: re.Match[str]) -> bool:
    start = text.rfind("\n", max(0, tag.start() - _MAX_ROW), tag.start()) + 1
    end = text.find("\n", tag.end(), tag.end() + _MAX_ROW)
    behind = text.find("|", tag.end(), end if end >= 0 else tag.end() + _MAX_ROW)
    return behind >= 0 and text.startswith("|", start)


def _spans(pattern: re.Pattern[str], text: str) -> list[tuple[int, int]]:
    return [match.span() for match in pattern.finditer(text)]


def _fenced_spans(text: str) -> list[tuple[int, int]]:
    """Fenced blocks that are closed."""
    spans: list[tuple[int, int]] = []
    mark, start = "", 0
    for fence in _FENCE.finditer(text):
        if not mark:
            mark, start = fence[1], fence.start()
        elif fence[1].startswith(mark) and not fence[2].strip():
            spans.append((start, fence.end()))
            mark = ""
    return spans


def _inside(spans: list[tuple[int, int]], position: int) -> bool:
    """Whether one of the sorted spans holds a position; of nested spans the outer one counts."""
    at = bisect.bisect_right(spans, (position, len(spans) + (1 << 62))) - 1
    return any(start <= position < end for start, end in spans[max(0, at - 1) : at + 1])


def boxed_answer(text: str) -> str:
    r"""What the last balanced `\boxed{...}` of a text holds, stripped; empty without one.

    Does not look for the end of the thinking: see `after_thinking`.
    """
    inside = {match.end() for match in _BOXED.finditer(text)}
    opened: list[int] = []
    last = (-1, -1)
    for match in _BRACE.finditer(text) if inside else ():
        if match[0] == "{":
            opened.append(match.end())
        elif match[0] == "}" and opened:
            start = opened.pop()
            if start in inside and start > last[0]:
                last = (start, match.start())
    return text[slice(*last)].strip() if last[0] >= 0 else ""


def clean(text: str) -> str:
    """`text` as UTF-8 can hold it: halves of surrogate pairs are joined, lone ones are U+FFFD."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def one_line(text: str) -> str:
    """`text` with every run of white space as one blank, cleaned."""
    return " ".join(clean(text).split())


def cut(text: str, characters: int) -> str:
    """The first `characters` of `text`, cleaned and stripped."""
    return clean(text[:characters]).strip()


def without_control_tokens(text: str) -> str:
    """`text` that no chat server can read control tokens from: a blank parts their characters."""
    return _CONTROL.sub("< ", clean(text))
