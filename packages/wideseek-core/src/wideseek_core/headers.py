"""Reads and writes the values of single HTTP headers."""

import codecs
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from wideseek_core.errors import ConfigError

_SECONDS = re.compile(r"[0-9]{1,12}(?:\.[0-9]*)?")
_PYTHON_ONLY = frozenset({"idna", "punycode", "raw-unicode-escape", "unicode-escape", "utf-7"})
_WEB_LABELS = {
    "x-sjis": "shift_jis",
    "ks_c_5601-1989": "cp949",
    "x-gbk": "gbk",
    "x-x-big5": "big5",
    "x-euc-jp": "euc_jp",
    "unicode": "utf-16",
    "windows-874": "cp874",
    "windows-949": "cp949",
    "x-cp1251": "cp1251",
    "x-cp1252": "cp1252",
    "windows-31j": "cp932",
    "iso-8859-8-i": "iso-8859-8",
    "x-mac-cyrillic": "mac-cyrillic",
    "x-mac-roman": "mac-roman",
}
_WEB_CHARSETS = {
    "ascii": "cp1252",
    "iso8859-1": "cp1252",
    "iso8859-9": "cp1254",
    "iso8859-11": "cp874",
    "tis-620": "cp874",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "shift_jis": "cp932",
    "euc_kr": "cp949",
    "big5": "big5hkscs",
}
"""What pages of a charset really use: a superset that holds characters the label's own lacks."""
BYTE_ORDER_MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
_CHARSET = re.compile(r"""charset\s*=\s*["']?([^"';,\s]+)""", re.IGNORECASE)


def header_value(value: str, source: str) -> bytes:
    """A header's value as it is sent. Raises `ConfigError` naming `source`, never the value."""
    if any(ord(char) < 32 or ord(char) == 127 for char in value):
        raise ConfigError(f"{source} holds a line break or another control character")
    try:
        return value.encode("latin-1")
    except UnicodeEncodeError as error:
        what = f"U+{ord(value[error.start]):04X}"
        raise ConfigError(f"{source} holds {what}, which no HTTP header can carry") from None


def decoded_text(content: bytes, content_type: str) -> str:
    """The text of a body: its byte order mark decides, then the charset of its type, then UTF-8."""
    for mark, charset in BYTE_ORDER_MARKS.items():
        if content.startswith(mark):
            return content[len(mark) :].decode(charset, "replace")
    return content.decode(python_charset(named_charset(content_type)) or "utf-8", "replace")


def named_charset(content_type: str) -> str:
    """The charset that a content type names, as it is written there; empty if it names none."""
    named = _CHARSET.search(content_type)
    return named[1] if named else ""


def python_charset(label: str) -> str | None:
    """Python's name for a charset as the web labels it; None for what is none."""
    label = label.strip().lower()
    try:
        name = codecs.lookup(_WEB_LABELS.get(label, label)).name
        if name in _PYTHON_ONLY:
            return None
        bytes(range(256)).decode(name, "replace")
    except (LookupError, ValueError):  # a UnicodeError is a ValueError
        return None
    return _WEB_CHARSETS.get(name, name)


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """The pause that a response asks for, in seconds or as a date; None if it names none."""
    text = headers.get("retry-after", "").strip()
    if _SECONDS.fullmatch(text):
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())
