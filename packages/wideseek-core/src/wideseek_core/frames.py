"""Messages between a process and its helpers: a fixed head, then bytes in one of two codings."""

import json
import pickle
import struct
from enum import IntEnum
from typing import Any, NamedTuple, Protocol

HEAD = struct.Struct("!BQQ")
"""Kind, number of the request, bytes that follow."""


class Kind(IntEnum):
    """What a message is."""

    ASK = 0
    """A request that wants an answer of the same number."""
    TELL = 1
    """A request that wants none."""
    CANCEL = 2
    """Nobody waits for this request any more."""
    ANSWER = 3
    ERROR = 4
    """A failed request: the name of an error class, and its message."""


class Head(NamedTuple):
    """The beginning of a message."""

    kind: int
    number: int
    size: int


class Coding(Protocol):
    """Turns values into bytes and back."""

    def dumps(self, value: Any) -> bytes:
        """The bytes of a value."""
        ...

    def loads(self, data: bytes) -> Any:
        """The value of bytes."""
        ...


class PickleCoding:
    """Any Python object. Only for helpers that handle nobody else's data: it can run code."""

    def dumps(self, value: Any) -> bytes:
        """The bytes of a value."""
        return pickle.dumps(value, pickle.HIGHEST_PROTOCOL)

    def loads(self, data: bytes) -> Any:
        """The value of bytes."""
        return pickle.loads(data)


class JsonCoding:
    """Plain values only, for helpers that handle hostile data."""

    def dumps(self, value: Any) -> bytes:
        """The bytes of a value."""
        return json.dumps(value).encode()

    def loads(self, data: bytes) -> Any:
        """The value of bytes."""
        return json.loads(data)


PICKLE: Coding = PickleCoding()
JSON: Coding = JsonCoding()


def frame(kind: Kind, number: int, data: bytes) -> bytes:
    """One message as it is sent."""
    return HEAD.pack(kind, number, len(data)) + data


def read_head(data: bytes) -> Head:
    """The head of a message."""
    return Head(*HEAD.unpack(data))
