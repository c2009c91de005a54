import gzip
import random
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wideseek_core.bodies import decoded
from wideseek_core.errors import ServiceError, ServiceFault


def gzipped(body: bytes) -> bytes:
    """A gzip member without the time, which would make the tests' names differ."""
    return gzip.compress(body, mtime=0)


TEXT = b"one page of text, " * 300
LIMIT = 1_000_000


def raw_deflate(data: bytes, wbits: int = -15) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, wbits)
    return packer.compress(data) + packer.flush()


@pytest.mark.parametrize(
    ("body", "label"),
    [
        (TEXT, ""),
        (TEXT, "identity"),
        (TEXT, "none"),
        (TEXT, "UTF-8"),
        (TEXT, "binary"),
        (gzipped(TEXT), "gzip"),
        (gzipped(TEXT), " X-GZIP "),
        (gzipped(TEXT), ", gzip"),
        (gzipped(TEXT), "identity, gzip"),
        (gzipped(TEXT), "gzip, gzip"),
        (gzipped(TEXT[:1000]) + gzipped(TEXT[1000:]), "gzip"),
        (gzipped(TEXT) + gzipped(b"") * 500, "gzip"),
        (gzipped(TEXT) + b"\0" * 512, "gzip"),
        (gzipped(TEXT) + b"trailing", "gzip"),
        (zlib.compress(TEXT), "deflate"),
        (raw_deflate(TEXT), "deflate"),
        (raw_deflate(TEXT, 9), "deflate"),
        (gzipped(zlib.compress(TEXT)), "deflate, gzip"),
    ],
)
def test_bodies_that_are_whole(body: bytes, label: str) -> None:
    assert decoded(body, label, LIMIT) == TEXT


def test_an_empty_body_may_carry_any_label() -> None:
    assert decoded(b"", "gzip", LIMIT) == b""


@pytest.mark.parametrize(
    ("body", "label"),
    [
        (gzipped(TEXT)[:-12], "gzip"),
        (gzipped(TEXT)[:-1], "gzip"),
        (gzipped(TEXT)[:1], "gzip"),
        (gzipped(TEXT)[:10], "gzip"),
        (gzipped(TEXT) + gzipped(TEXT)[:-9], "gzip"),
        (zlib.compress(TEXT)[:-1], "deflate"),
        (raw_deflate(TEXT)[:-3], "deflate"),
        (TEXT, "gzip"),
        (TEXT, "gzip, gzip, gzip, gzip"),
        (gzipped(b"") * 20_000, "gzip"),
    ],
)
def test_a_broken_or_cut_body_is_no_body(body: bytes, label: str) -> None:
    with pytest.raises(ServiceError, match="compression is broken") as caught:
        decoded(body, label, LIMIT)
    assert caught.value.can_pass


@pytest.mark.parametrize("label", ["br", "zstd", "compress"])
def test_a_compression_that_was_not_asked_for(label: str) -> None:
    with pytest.raises(ServiceError, match=label):
        decoded(b"x", label, LIMIT)


@pytest.mark.parametrize(
    ("body", "label"),
    [
        (gzipped(b"\0" * 10_000_000), "gzip"),
        (gzipped(b"\0" * 600_000) * 2, "gzip"),
        (gzipped(gzipped(b"\0" * 50_000_000)), "gzip, gzip"),
        (zlib.compress(b"\0" * 10_000_000), "deflate"),
        (raw_deflate(b"\0" * 10_000_000), "deflate"),
    ],
)
def test_a_bomb_ends_at_the_limit(body: bytes, label: str) -> None:
    with pytest.raises(ServiceError, match="larger than 1000000 bytes") as caught:
        decoded(body, label, LIMIT)
    assert caught.value.kind is ServiceFault.TOO_LARGE


def test_a_body_of_exactly_the_limit_is_read() -> None:
    assert decoded(gzipped(TEXT), "gzip", len(TEXT)) == TEXT


@given(st.binary(max_size=2000), st.integers(0, 2**32))
def test_any_mutation_is_the_text_or_an_error(noise: bytes, seed: int) -> None:
    body = bytearray(gzipped(TEXT))
    place = random.Random(seed).randrange(len(body))
    body[place : place + 1 + len(noise) // 100] = noise
    try:
        found = decoded(bytes(body), "gzip", LIMIT)
    except ServiceError:
        return
    assert found == TEXT or found.startswith(TEXT)
