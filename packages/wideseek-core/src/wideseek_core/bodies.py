"""Undoes the compression of an HTTP body within a size limit, whatever the other side sends.

A body is complete or an error: a compressed stream that ends early is never taken for the whole.
"""

import zlib
from collections.abc import AsyncIterator

from wideseek_core.counting import counted
from wideseek_core.errors import ServiceError, ServiceFault

ACCEPT_ENCODING = "gzip, deflate"
"""What a client may ask for."""
MAX_LAYERS = 3
MAX_MEMBERS = 10_000
"""Members of one gzip body; more of them cost time and hold nothing."""
_GZIP_MAGIC = b"\x1f\x8b"
_SLICE = 4096
"""Bytes that are fed at once: what follows the end of a gzip member is copied at every end."""
_UNSUPPORTED = frozenset({"br", "zstd", "compress", "x-compress", "dcb", "dcz", "exi"})


async def read_body(chunks: AsyncIterator[bytes], encoding: str, max_bytes: int) -> bytes:
    """The whole body, decompressed as its `Content-Encoding` says. Raises `ServiceError`.

    `max_bytes` bounds what is received as well as what comes out.
    """
    parts: list[bytes] = []
    size = 0
    async for chunk in chunks:
        size += len(chunk)
        if size > max_bytes:
            raise _too_large(max_bytes)
        parts.append(chunk)
    return decoded(b"".join(parts), encoding, max_bytes)


def decoded(body: bytes, encoding: str, max_bytes: int) -> bytes:
    """A received body without its compression. Raises `ServiceError`.

    Labels that name no compression (`identity`, `none`, a charset, nothing) are ignored.
    """
    labels = [label for part in encoding.split(",") if (label := part.strip().lower())]
    labels = [label for label in labels if label in _DECODERS or label in _UNSUPPORTED]
    if len(labels) > MAX_LAYERS:
        raise _broken("it is compressed too many times")
    if not body:
        return body  # an answer without content may carry any label
    previous = ""
    for label in reversed(labels):
        if label in _UNSUPPORTED:
            line = f"the answer is compressed in a way that was not asked for: {label}"
            raise ServiceError(line, kind=ServiceFault.REFUSED)
        if label == previous and not body.startswith(_GZIP_MAGIC):
            continue  # the header was sent twice
        body, previous = _DECODERS[label](body, max_bytes), label
    return body


def _gunzip(body: bytes, max_bytes: int) -> bytes:
    """All members of a gzip stream (RFC 1952, 2.2); what follows that is no member is ignored."""
    parts: list[bytes] = []
    size = place = 0
    for _ in range(MAX_MEMBERS):
        part, place = _inflate(body, zlib.MAX_WBITS | 16, max_bytes, place, size)
        parts.append(part)
        size += len(part)
        if not body.startswith(_GZIP_MAGIC, place):
            return b"".join(parts)
    raise _broken("it has too many parts")


def _undeflate(body: bytes, max_bytes: int) -> bytes:
    """A zlib stream (RFC 1950), or the bare one (RFC 1951) that some servers send instead."""
    is_zlib = len(body) > 1 and body[0] & 0x0F == 8 and int.from_bytes(body[:2], "big") % 31 == 0
    if is_zlib:
        try:
            return _inflate(body, zlib.MAX_WBITS, max_bytes)[0]
        except ServiceError as error:
            if error.kind is ServiceFault.TOO_LARGE:
                raise
            try:
                return _inflate(body, -zlib.MAX_WBITS, max_bytes)[0]
            except ServiceError:
                raise error from None
    return _inflate(body, -zlib.MAX_WBITS, max_bytes)[0]


def _inflate(
    body: bytes, wbits: int, max_bytes: int, place: int = 0, size: int = 0
) -> tuple[bytes, int]:
    """One stream that begins at `place`, after `size` bytes of others, and where it ends."""
    stream = zlib.decompressobj(wbits)
    parts: list[bytes] = []
    try:
        while not stream.eof:
            packed = stream.unconsumed_tail
            if not packed:
                packed = body[place : place + _SLICE]
                place += len(packed)
                if not packed:
                    raise _broken("it ends too early")
            part = stream.decompress(packed, max_bytes - size + 1)
            size += len(part)
            parts.append(part)
            if size > max_bytes:
                raise _too_large(max_bytes)
    except zlib.error:
        raise _broken("it is not what it is labeled") from None
    return b"".join(parts), place - len(stream.unused_data)


_DECODERS = {"gzip": _gunzip, "x-gzip": _gunzip, "deflate": _undeflate}


def _broken(why: str) -> ServiceError:
    line = f"the answer's compression is broken: {why}"
    return ServiceError(line, kind=ServiceFault.CONNECT, can_pass=True)


def _too_large(max_bytes: int) -> ServiceError:
    return ServiceError(
        f"the answer is larger than {counted(max_bytes, 'byte')}", kind=ServiceFault.TOO_LARGE
    )
