"""Reads the head of a plain request: what nearly all clients of the hot routes send."""

import re
from functools import lru_cache
from typing import NamedTuple

REMEMBERED = 1024
"""Heads kept: a client's differ in little but the length of the body."""
_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
_LENGTH = re.compile(rb"[0-9]{1,9}")
_UNUSUAL = (b"transfer-encoding", b"expect", b"upgrade")


class Head(NamedTuple):
    """A `POST` whose body has a stated length, on a connection that stays open."""

    path: str
    size: int


@lru_cache(REMEMBERED)
def read_head(head: bytes) -> Head | None:
    """The head without its last, empty line; None for every form that is not quite plain.

    Strict, so that this reading of a request and any proxy's can't differ: one `Content-Length`,
    no other framing, only lines that are surely fields.
    """
    line, *fields = head.split(b"\r\n")
    verb, _, rest = line.partition(b" ")
    path, _, version = rest.partition(b" ")
    if verb != b"POST" or version != b"HTTP/1.1" or not path.isascii():
        return None
    size = -1
    for field in fields:
        name, colon, value = field.partition(b":")
        if not colon or not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
            return None
        name, value = name.lower(), value.strip(b" \t")
        if name == b"content-length":
            if size >= 0 or not _LENGTH.fullmatch(value):
                return None
            size = int(value)
        elif name in _UNUSUAL or (name == b"connection" and value.lower() != b"keep-alive"):
            return None
    return Head(path.decode(), size) if size >= 0 else None
