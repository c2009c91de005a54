"""When two URLs name the same page: the key that page stores and caches look pages up by."""

import re
import unicodedata
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from wideseek_core.errors import ToolRefused

LONGEST_URL = 4096
_PLAIN_SCHEME = re.compile(r"[a-z][a-z0-9+-]*:(?!//|\d+(?:/|$))")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def page_key(url: str, *, fragment: bool = True) -> str:
    """A normal form: equal for URLs that name the same page.

    Scheme, `www.`, a mobile `m.`, default ports, percent-encoding, trailing slashes and the order
    of query parameters don't matter. An address without `//` (`atlas:Title`) is taken as it is.
    The MediaWiki forms `index.php/Title`, `index.php?title=Title` and `wiki/Title` are one, spaces
    and underscores in them too. Raises `ToolRefused` for what is no URL.
    """
    text = url.strip()
    if not text or len(text) > LONGEST_URL:
        raise ToolRefused(f"not a usable URL: {text[:100]!r}")
    if _PLAIN_SCHEME.match(text):
        # `atlas:Title` has no host or path: all of it is a name, a `#` in it too.
        return unicodedata.normalize("NFC", unquote(text).replace(" ", "_"))
    try:
        parts = urlsplit(text if "//" in text else f"//{text}")
        host, port = (parts.hostname or ""), parts.port
    except ValueError:
        raise ToolRefused(f"not a URL: {text[:100]!r}") from None
    host = _host(host) + (f":{port}" if port not in (None, 80, 443) else "")
    path, query = _decoded(parts.path), parse_qsl(parts.query, keep_blank_values=True)
    title = _wiki_title(path, query)
    if title is not None:
        query = [pair for pair in query if pair[0] != "title"]
        path = f"/wiki/{title}"
    key = host + _without_blank_end(path)
    if query:
        key += "?" + "&".join(f"{quote(name)}={quote(value)}" for name, value in sorted(query))
    if fragment and (place := _decoded(parts.fragment).strip()):
        key += "#" + place.replace(" ", "_")
    return unicodedata.normalize("NFC", key).strip()


def _decoded(text: str) -> str:
    """Without escapes, and without the control characters that they may hide."""
    return _CONTROL.sub("", unquote(text))


def _without_blank_end(path: str) -> str:
    """Without the slashes and blanks at its end."""
    before = None
    while before != path:
        before, path = path, path.rstrip().rstrip("/")
    return path


def _host(host: str) -> str:
    labels = host.lower().rstrip(".").split(".")
    if len(labels) > 2:
        labels = labels[1:] if labels[0] == "www" else labels
        labels = [label for place, label in enumerate(labels) if label != "m" or place > 1]
    return ".".join(labels)


def _wiki_title(path: str, query: list[tuple[str, str]]) -> str | None:
    """The page title if the URL has one of MediaWiki's three forms."""
    _, found, title = path.partition("/index.php/")
    if not found and path.endswith("/index.php"):
        title = dict(query).get("title", "")
    elif not found and path.startswith("/wiki/"):
        title = path.removeprefix("/wiki/")
    title = "_".join(title.replace("_", " ").split()).rstrip("/")
    return title[:1].upper() + title[1:] if title else None
