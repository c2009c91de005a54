"""Reads a response's body within limits, whatever the other side sends."""

import zlib
from collections.abc import AsyncIterator

from wideseek_core.errors import ToolRefused, ToolUnavailable

_WINDOW = {"gzip": 31, "x-gzip": 31, "deflate": 15}


async def bounded_body(raw: AsyncIterator[bytes], encoding: str, max_bytes: int) -> bytes:
    """The body, unpacked piece by piece. Raises `ToolRefused` past `max_bytes`.

    Unpacking is bounded too: a bomb is stopped at the limit, not after it went off.
    """
    kind = encoding.strip().lower()
    if kind in ("", "identity"):
        return await _plain(raw, max_bytes)
    if kind not in _WINDOW:
        raise ToolRefused(f"a page in an encoding that was not asked for: {kind[:40]!r}")
    unpack = zlib.decompressobj(_WINDOW[kind])
    parts: list[bytes] = []
    size = 0
    try:
        async for packed in raw:
            piece = unpack.decompress(packed, max_bytes - size + 1)
            size += len(piece)
            parts.append(piece)
            _check(size, max_bytes)
    except zlib.error:
        raise ToolUnavailable("the page's compression is broken") from None
    return b"".join(parts)


async def _plain(raw: AsyncIterator[bytes], max_bytes: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in raw:
        size += len(part)
        _check(size, max_bytes)
        parts.append(part)
    return b"".join(parts)


def _check(size: int, max_bytes: int) -> None:
    if size > max_bytes:
        raise ToolRefused(f"the page is larger than {max_bytes} bytes")
