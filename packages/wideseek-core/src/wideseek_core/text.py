r"""Text written by models and services: what follows the thinking, `\boxed{}`, safe characters."""

import bisect
import re

_TAG = re.compile(r"</?think>")
_TAG_SPELLING = re.compile(r"<\s*(/?)\s*think\s*>", re.IGNORECASE)
_FINAL_CHANNEL = r"<\|channel\|>final<\|message\|>"
_OTHER_THINKING = tuple(
    (re.compile(opening, re.IGNORECASE), re.compile(closing, re.IGNORECASE), closes_alone)
    for opening, closing, closes_alone in (
        (r"\[THINK\]", r"\[/THINK\]", True),
        (r"<seed:think>", r"</seed:think>", True),
        (r"◁think▷", r"◁/think▷", True),
        (r"<\|begin_of_thought\|>", r"<\|end_of_thought\|>", True),
        (r"<\|START_THINKING\|>", r"<\|END_THINKING\|>", True),
        (r"(?:<\|start\|>assistant)?<\|channel\|>analysis", _FINAL_CHANNEL, True),
        (r"<(?:thinking|thought|reasoning)>", r"</(?:thinking|thought|reasoning)>", False),
    )
)
"""How models other than those of the `<think>` tags open and close their thinking, and whether the
closing mark ends it without the opening one, which some chat templates write."""
_OTHER_MARK = re.compile(
    r"\[/?THINK\]|</?seed:think>|◁/?think▷|<\|(?:begin|end)_of_thought\|>"
    r"|<\|(?:START|END)_THINKING\|>|<\|channel\|>|</?(?:thinking|thought|reasoning)>",
    re.IGNORECASE,
)
_ANSWER_MARK = re.compile(
    r"\A(?:<\|begin_of_solution\|>|<\|START_RESPONSE\|>)"
    r"|(?:<\|end_of_solution\|>|<\|END_RESPONSE\|>|<\|return\|>|<\|end\|>)\Z"
)
"""Marks of such models around the answer."""
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
    without its opening tag (chat templates write that one). The marks of other models count as
    these tags do: `[THINK]`, `<thinking>`, the channels of gpt-oss, ...
    """
    text = text.strip().removeprefix("\ufeff")
    if _OTHER_MARK.search(text) is not None:
        text = _after_other_thinking(text)
    if "think" not in text.lower():
        return text
    if _TAG_SPELLING.match(text):  # Some models write `<Think>`, or blanks in the tag.
        text = _TAG_SPELLING.sub(lambda tag: f"<{tag[1]}think>", text)
    if "think>" not in text:
        return text
    opened = text.startswith("<think>")
    end = _thinking_end(text, rows_quote=not opened)
    if end < 0:
        return "" if opened else _after_blocks(text)
    rest = text[end:]
    while opened and rest.lstrip().startswith("</think>"):
        rest = rest.lstrip().removeprefix("</think>")
    return _after_blocks(rest)


def ends_in_thinking(text: str) -> bool:
    """Whether a response opens its thinking and never ends it."""
    text = text.strip()
    if (tag := _TAG_SPELLING.match(text)) is not None:
        return not tag[1] and not any(tag[1] for tag in _TAG_SPELLING.finditer(text))
    return any(
        opening.match(text) and not closing.search(text) for opening, closing, _ in _OTHER_THINKING
    )


def _after_other_thinking(text: str) -> str:
    """What follows thinking between marks other than the `<think>` tags."""
    quoted = _spans(_QUOTED, text)
    for opening, closing, closes_alone in _OTHER_THINKING:
        opened = opening.match(text)
        if opened is None and not closes_alone:
            continue
        ends = (mark for mark in closing.finditer(text) if not _inside(quoted, mark.start()))
        end = next((mark for mark in ends if opened or not _in_table_row(text, mark)), None)
        if end is not None:
            return _ANSWER_MARK.sub("", text[end.end() :].strip()).strip()
        if opened is not None:
            return ""
    return text


def _thinking_end(text: str, *, rows_quote: bool) -> int:
    """Where the thinking ends: behind a `</think>` that is not quoted; -1 without one.

    That is the first one, or the one that closes as many tags as were opened before it.
    """
    quoted = _spans(_QUOTED, text)
    first, depth = -1, 0
    for tag in _TAG.finditer(text):
        if _inside(quoted, tag.start()):
            continue
        if tag[0] == "<think>":
            if rows_quote:
                return -1  # The thinking starts later: an answer comes before it.
            depth += first < 0
            continue
        if (rows_quote or first >= 0) and _in_table_row(text, tag):
            continue
        first = tag.end() if first < 0 else first
        depth -= 1
        if depth <= 0:
            return tag.end()
    return first


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
