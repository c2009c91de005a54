"""Text from outside made safe to carry: cut to a length, without broken characters."""

import re


def clean(text: str) -> str:
    """`text` without lone surrogates, which neither tokenizers nor JSON files can hold."""
    if text.isascii():
        return text
    return text.encode("utf-8", "replace").decode("utf-8")


def cut(text: str, characters: int) -> str:
    """The first `characters` of `text`, cleaned and stripped."""
    return clean(text[:characters]).strip()


def one_line(text: str) -> str:
    """`text` with every run of white space as one blank."""
    return " ".join(clean(text).split())


def after_thinking(text: str) -> str:
    """What follows the last `</think>`, stripped."""
    return text.rpartition("</think>")[2].strip()


_MARK = re.compile(r"<(?=\|[^|<>]{1,40}\|>|/?(?:think|tool_call|tool_response|tools)>)")


def defused(text: str) -> str:
    """`text` that no chat server can read control tokens from: a blank parts their letters."""
    return _MARK.sub("< ", clean(text))
