"""What servers really send: compression, types and charsets that are odd, wrong or missing."""

import gzip
import zlib

import pytest
from loopback import Reply, Stub
from test_fetch import config

from wideseek_core.errors import ToolRefused, ToolUnavailable
from wideseek_core.search import Page
from wideseek_tools.cache import Cache, CachedPages
from wideseek_tools.config import CacheConfig
from wideseek_tools.fetch.fetcher import Fetcher
from wideseek_tools.fetch.media_type import is_html, media_type
from wideseek_tools.fetch.worker import decoded_page


def gzipped(body: bytes) -> bytes:
    """A gzip member without the time, which would make the tests' names differ."""
    return gzip.compress(body, mtime=0)


TEXT = "One of many lines of a page. " * 200
BODY = TEXT.encode()


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


def sent(body: bytes, content_type: str | None = "text/plain", encoding: str = "") -> Reply:
    headers = {} if content_type is None else {"content-type": content_type}
    return Reply(200, body, headers | ({"content-encoding": encoding} if encoding else {}))


async def read(stub: Stub, reply: Reply, **update: object) -> Page:
    stub.answers([reply])
    async with Fetcher(config(stub, **update)) as fetcher:
        return await fetcher.read(f"{stub.url}/page")


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        (gzipped(BODY[:256]) + gzipped(BODY[256:]), "gzip"),
        (gzipped(BODY) + b"\0" * 100, "gzip"),
        (gzipped(BODY) + b"trailing garbage", "gzip"),
        (zlib.compress(BODY), "deflate"),
        (raw_deflate(BODY), "deflate"),
        (BODY, "UTF-8"),
        (BODY, "none"),
        (BODY, "identity"),
        (gzipped(BODY), ", gzip"),
        (gzipped(BODY), "identity, gzip"),
        (gzipped(BODY), "GZIP"),
    ],
)
async def test_a_whole_body_is_read_whole(stub: Stub, body: bytes, encoding: str) -> None:
    assert (await read(stub, sent(body, encoding=encoding))).text == TEXT


@pytest.mark.parametrize(
    "body",
    [
        gzipped(BODY)[:-12],
        gzipped(BODY)[:-1],
        gzipped(BODY)[:20],
        gzipped(BODY) + gzipped(BODY)[:-5],
        BODY,
    ],
)
async def test_a_cut_or_broken_body_is_unavailable_tried_again_and_never_cached(
    stub: Stub, body: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("cache") / "cache.sqlite"
    stub.answers([sent(body, encoding="gzip")] * 2 + [sent(gzipped(BODY), encoding="gzip")])
    settings = config(stub, max_attempts=2, backoff_s=0.0)
    with Cache(CacheConfig(path=path)) as cache:
        async with Fetcher(settings) as fetcher:
            pages = CachedPages(fetcher, cache, "x")
            with pytest.raises(ToolUnavailable, match="compression is broken"):
                await pages.read(f"{stub.url}/page")
            assert (await pages.read(f"{stub.url}/page")).text == TEXT
    assert len(stub.requests) == 3


@pytest.mark.parametrize(
    "body",
    [
        gzipped(b"a") + b"x" * 200_000,
        gzipped(b"a" * 60_000) * 2,
        gzipped(b"\0" * 50_000_000),
        gzipped(b"") * 6_000,
    ],
)
async def test_no_compression_gets_past_the_limit(stub: Stub, body: bytes) -> None:
    with pytest.raises(ToolRefused, match="larger than 100000 bytes"):
        await read(stub, sent(body, encoding="gzip"))


@pytest.mark.parametrize(
    "header",
    [
        "",
        "html",
        "text/html, text/html",
        "text/html; charset=utf-8, text/html; charset=utf-8",
        "application/octet-stream, text/html",
        "TEXT/HTML;charset=UTF-8",
    ],
)
def test_a_type_that_is_missing_or_sent_twice(header: str) -> None:
    assert is_html(media_type(header), b"<!DOCTYPE html><html>")


async def test_a_page_without_a_type(stub: Stub) -> None:
    body = b"<!DOCTYPE html><html><head><title>Io</title></head><body><p>A moon.</p></body></html>"
    page = await read(stub, sent(body, None))
    assert (page.title, page.text) == ("Io", "A moon.")


async def test_text_without_a_type_is_text(stub: Stub) -> None:
    assert (await read(stub, sent("Łódź".encode(), None))).text == "Łódź"
    with pytest.raises(ToolRefused, match="no text"):
        await read(stub, sent(b"\x89PNG\r\n\x1a\n\0\0\0", None))


WORDS = {
    "iso-8859-2": "Łódź jest miastem w środkowej Polsce.",
    "windows-1252": "The “smart” café costs 5 €.",
    "iso-8859-9": "İstanbul büyük bir şehir.",
    "iso-8859-15": "Cœur d'été à 5 €.",
    "windows-1256": "القاهرة مدينة كبيرة.",
    "tis-620": "กรุงเทพเป็นเมืองหลวง",
    "koi8-r": "Москва большой город.",
    "shift_jis": "東京は日本の首都です。",
    "gbk": "北京是中国的首都。",
    "euc-kr": "서울은 한국의 수도이다.",
    "big5": "臺北是一座城市。",
    "utf-16": "Łódź in two bytes each.",
}


@pytest.mark.parametrize("charset", WORDS)
async def test_the_charset_of_the_header_counts(stub: Stub, charset: str) -> None:
    words = WORDS[charset]
    page = await read(stub, sent(words.encode(charset), f'text/plain; Charset="{charset.upper()}"'))
    assert page.text == words
    html = f"<html><head><title>{words}</title></head></html>"
    assert decoded_page(html.encode(charset), charset) == html


async def test_a_page_in_an_old_charset(stub: Stub) -> None:
    words = WORDS["iso-8859-2"]
    html = f"<html><head><title>{words}</title></head><body><p>{words}</p></body></html>"
    page = await read(stub, sent(html.encode("iso-8859-2"), "text/html; charset=ISO-8859-2"))
    assert (page.title, page.text) == (words, words)


@pytest.mark.parametrize("charset", ["undefined", "idna", "hex", "unicode_escape", ""])
async def test_what_is_no_charset_is_ignored(stub: Stub, charset: str) -> None:
    header = f"text/plain; charset={charset}"
    assert (await read(stub, sent("Łódź".encode(), header))).text == "Łódź"
    body = "<p>Łódź</p>".encode()
    assert decoded_page(body, charset) == body


@pytest.mark.parametrize(
    ("charset", "body"),
    [
        ("iso-8859-1", b"\xef\xbb\xbf" + "<p>Łódź</p>".encode()),
        ("utf-8", b"\xff\xfe" + "<p>Łódź</p>".encode("utf-16-le")),
        ("utf-8", "<meta charset=iso-8859-2><p>Łódź</p>".encode("iso-8859-2")),
        ("iso-8859-2", '<meta charset="utf-8"><p>Łódź</p>'.encode("iso-8859-2")),
        ("utf-8", '<?xml version="1.0" encoding="iso-8859-2"?><p>Łódź</p>'.encode()),
    ],
)
def test_contradicting_charsets(charset: str, body: bytes) -> None:
    page = decoded_page(body, charset)
    assert isinstance(page, str)
    assert page.endswith("<p>Łódź</p>")
    assert "<?xml" not in page


async def test_a_page_that_states_its_charset_itself(stub: Stub) -> None:
    body = '<meta charset="iso-8859-2"><p>Łódź</p>'.encode("iso-8859-2")
    assert (await read(stub, sent(body, "text/html"))).text == "Łódź"


async def test_a_transfer_that_ends_early_is_unavailable(stub: Stub) -> None:
    cut = Reply(200, BODY, {"content-type": "text/plain"}, short=True)
    with pytest.raises(ToolUnavailable, match="broke off"):
        await read(stub, cut)


@pytest.mark.parametrize("path", ["/wiki/Marie Curie", "/wiki/Łódź", "/a?q=b c", "/%B1%B1"])
async def test_addresses_are_encoded_as_they_are_sent(stub: Stub, path: str) -> None:
    stub.answers([sent(b"text")])
    async with Fetcher(config(stub)) as fetcher:
        await fetcher.read(stub.url + path)
    target = stub.requests[0].target
    assert target.isascii()
    assert target == path.replace(" ", "%20").replace("Łódź", "%C5%81%C3%B3d%C5%BA")
