"""Which responses hold text, by their content type or, without one, by their body."""

import re

HTML = frozenset({"text/html", "application/xhtml+xml"})
PLAIN = frozenset({"text/plain", "text/markdown", "application/json", "text/csv", "text/x-rst"})
_TYPE = re.compile(r"[\w!#$&^.+-]+/[\w!#$&^.+-]+")
_MARKUP = re.compile(
    rb"\s*(?:\xef\xbb\xbf)?\s*<(?:!doctype|!--|html|head|body|title|meta|div|p|h1|table|a|\?xml)",
    re.IGNORECASE,
)
_BINARY = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
_SNIFFED_BYTES = 1500


def media_type(header: str) -> str:
    """The type that a `Content-Type` names, without parameters; empty if it names none.

    Several headers arrive joined by commas: the last one that names a type counts, as in browsers.
    """
    found = [part.partition(";")[0].strip().lower() for part in header.split(",")]
    return next((name for name in reversed(found) if _TYPE.fullmatch(name)), "")


def is_readable(kind: str) -> bool:
    """Whether a type is text; the body decides where there is no type."""
    return not kind or kind in HTML | PLAIN


def is_html(kind: str, body: bytes) -> bool:
    """Whether a body is HTML; without a type, by how it begins."""
    return kind in HTML or (not kind and _MARKUP.match(body) is not None)


def is_binary(body: bytes) -> bool:
    """Whether a body without a type is no text at all."""
    return _BINARY.search(body[:_SNIFFED_BYTES]) is not None
