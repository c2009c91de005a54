"""When two URLs name the same page: the key that page stores and caches look pages up by."""

import re
from dataclasses import dataclass
from urllib.parse import quote_from_bytes, unquote_to_bytes

import idna

from wideseek_core.errors import ToolRefused
from wideseek_core.text import clean

MAX_URL_CHARS = 4096
DEFAULT_PORTS = {"http": 80, "https": 443}
WIKI_SCRIPTS = frozenset({"/index.php", "/w/index.php"})
"""Paths of MediaWiki's script whose pages have the short form `/wiki/Title`."""
_URL = re.compile(
    r"(?:(?P<scheme>[a-zA-Z][a-zA-Z0-9+.-]*):)?(?://(?P<authority>[^/?#]*))?"
    r"(?P<path>[^?#]*)(?:\?(?P<query>[^#]*))?(?:#(?P<fragment>.*))?",
    re.DOTALL,
)
_NAME = re.compile(r"[a-zA-Z][a-zA-Z0-9+-]*:(?!//|[0-9]+(?:[/?#]|$))")
"""The beginning of an address without `//`, such as `atlas:Title`; not of `host:8080`."""
_ESCAPE = re.compile(r"%([0-9a-fA-F]{2})")
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_PATH_SAFE = "/:@!$&'()*+,;="
_QUERY_SAFE = _PATH_SAFE + "?"


@dataclass(frozen=True, slots=True)
class _Parts:
    scheme: str
    authority: str
    path: str
    query: str | None
    fragment: str | None


def page_key(url: str, *, fragment: bool = True) -> str:
    """A normal form: equal for URLs that RFC 3986 (6.2.2 and 6.2.3) calls equivalent.

    The case of scheme and host, default ports, dot segments and the spelling of escapes don't
    matter; nor does how an address is written that is no URL yet: blanks and other characters that
    have to be escaped, a missing `https://`, a host in Unicode. Everything else does, the scheme
    and a slash at the end too. MediaWiki's `index.php/Title`, `index.php?title=Title` and
    `/wiki/Title` are one page of one host. An address without `//` (`atlas:Title`) is a name, of
    which a `#` is part. Raises `ToolRefused` for what is no URL.
    """
    text = clean(url.strip())
    if not text or len(text) > MAX_URL_CHARS:
        raise ToolRefused(f"not a usable URL: {text[:100]!r}")
    if _NAME.match(text):
        scheme, _, name = text.partition(":")
        return f"{scheme.lower()}:{_normal(name.replace(' ', '_'), _QUERY_SAFE + '#')}"
    parts = _split(text)
    path = _without_dots(_normal(parts.path, _PATH_SAFE)) or "/"
    query = None if parts.query is None else _normal(parts.query, _QUERY_SAFE)
    path, query = _wiki_form(path, query)
    key = f"{parts.scheme}://{parts.authority}{path}"
    if query is not None:
        key += f"?{query}"
    if fragment and parts.fragment:
        key += f"#{_normal(parts.fragment, _QUERY_SAFE)}"
    return key


def page_keys(url: str, *, fragment: bool = True) -> list[str]:
    """The keys of the pages that an address may mean: two for one that names no scheme."""
    text = url.strip()
    key = page_key(text, fragment=fragment)
    if "://" in text[:40] or _NAME.match(text) or not key.startswith("https://"):
        return [key]
    return [key, page_key(f"http://{text.lstrip('/')}", fragment=fragment)]


def _split(text: str) -> _Parts:
    found = _URL.fullmatch(text if "://" in text[:40] else f"https://{text.lstrip('/')}")
    if found is None or not found["authority"]:
        raise ToolRefused(f"not a URL: {text[:100]!r}")
    scheme = (found["scheme"] or "https").lower()
    authority = _authority(found["authority"], scheme, text)
    return _Parts(scheme, authority, found["path"], found["query"], found["fragment"])


def _authority(authority: str, scheme: str, text: str) -> str:
    """User, host and port, in normal form."""
    user, at, address = authority.rpartition("@")
    found = re.fullmatch(r"(\[[0-9a-fA-F:.%]+\]|[^:\[\]]+)(?::([0-9]{0,5}))?", address)
    if found is None:
        raise ToolRefused(f"not a URL: {text[:100]!r}")
    port = int(found[2]) if found[2] else None
    if port is not None and port > 65535:
        raise ToolRefused(f"not a URL: {text[:100]!r}")
    host = _host(_normal(found[1], "[:]!$&'()*+,;=") if found[1].isascii() else found[1])
    shown = "" if port in (None, DEFAULT_PORTS.get(scheme)) else f":{port}"
    return _normal(user, "!$&'()*+,;=:") + at + host + shown


def _host(host: str) -> str:
    """In small letters; a name in Unicode as the DNS knows it."""
    if host.isascii():
        parts = re.split("(%[0-9A-F]{2})", host)
        return "".join(part if part.startswith("%") else part.lower() for part in parts)
    try:
        return idna.encode(host, uts46=True).decode("ascii")
    except idna.IDNAError:
        return quote_from_bytes(host.lower().encode(), safe="")


def _normal(text: str, safe: str) -> str:
    """The text with escapes in one spelling: only where they are needed, in capitals."""
    pieces: list[str] = []
    for place, piece in enumerate(_ESCAPE.split(text)):
        if place % 2 == 0:
            pieces.append(quote_from_bytes(piece.encode(), safe=safe))
            continue
        byte = int(piece, 16)
        pieces.append(chr(byte) if byte in _UNRESERVED else f"%{byte:02X}")
    return "".join(pieces)


def _without_dots(path: str) -> str:
    """The path without `.` and `..` (RFC 3986, 5.2.4)."""
    kept: list[str] = []
    segments = path.split("/")
    for place, segment in enumerate(segments):
        if segment in (".", ".."):
            if segment == ".." and len(kept) > 1:
                kept.pop()
            if place == len(segments) - 1:
                kept.append("")
        else:
            kept.append(segment)
    return "/".join(kept)


def _wiki_form(path: str, query: str | None) -> tuple[str, str | None]:
    """Path and query with a MediaWiki page in its shortest form."""
    script, slash, title = path.partition("/index.php/")
    if slash:
        script += "/index.php"
    elif path.endswith("/index.php") and query is not None:
        script, fields = path, query.split("&")
        titles = [field.removeprefix("title=") for field in fields if field.startswith("title=")]
        if len(titles) != 1:
            return path, query
        raw = unquote_to_bytes(titles[0].replace("+", " "))
        title = quote_from_bytes(raw, safe=_PATH_SAFE)
        query = "&".join(field for field in fields if not field.startswith("title=")) or None
    elif path.startswith("/wiki/"):
        script, title = "/index.php", path.removeprefix("/wiki/")
    else:
        return path, query
    title = re.sub("(?:%20|_)+", "_", title).strip("_")
    if not title:
        return path, query
    return (f"/wiki/{title}" if script in WIKI_SCRIPTS else f"{script}/{title}"), query
