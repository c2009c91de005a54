from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wideseek_core import ConfigError
from wideseek_core.headers import decoded_text, header_value, python_charset, retry_after_s


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("2", 2.0),
        (" 2.5 ", 2.5),
        ("0", 0.0),
        ("Wed, 01 Jan 2020 00:00:00 GMT", 0.0),
        ("Wed, 01 Jan 2020 00:00:00", 0.0),
        ("", None),
        ("soon", None),
        ("-1", None),
        ("nan", None),
        ("inf", None),
        ("1e9", None),
        ("1_000", None),
        ("１２", None),
        ("9" * 5000, None),
        ("Wed, 99 Foo 2020 99:00:00 GMT", None),
    ],
)
def test_retry_after(value: str, seconds: float | None) -> None:
    assert retry_after_s({"retry-after": value}) == seconds


def test_retry_after_a_date_to_come() -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    assert 25 < (retry_after_s({"retry-after": date}) or 0) <= 30


@given(st.text())
def test_any_retry_after_is_a_pause_or_none(value: str) -> None:
    seconds = retry_after_s({"retry-after": value})
    assert seconds is None or seconds >= 0


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("UTF-8", "utf-8"),
        ("ISO-8859-1", "cp1252"),
        ("iso-8859-2", "iso8859-2"),
        ("gb2312", "gb18030"),
        ("tis-620", "cp874"),
        ("x-sjis", "cp932"),
        ("undefined", None),
        ("idna", None),
        ("punycode", None),
        ("hex", None),
        ("rot13", None),
        ("unicode_escape", None),
        ("utf-7", None),
        ("", None),
        ("\0", None),
        ("x" * 10_000, None),
    ],
)
def test_charsets_as_the_web_labels_them(label: str, name: str | None) -> None:
    assert python_charset(label) == name


@pytest.mark.parametrize(
    ("content", "content_type", "text"),
    [
        ("Łódź".encode("iso-8859-2"), "text/plain; charset=ISO-8859-2", "Łódź"),
        (b"caf\xe9 \x93x\x94", 'text/plain; Charset="ISO-8859-1"', "café “x”"),
        ("é".encode(), "text/plain", "é"),
        ("é".encode(), "text/plain; charset=undefined", "é"),
        (b"\xef\xbb\xbf\xc3\xa9", "text/plain; charset=iso-8859-1", "é"),
        (b"\xff\xfeA\x00", "text/plain; charset=utf-8", "A"),
        (b"\xff", "", "\ufffd"),
    ],
)
def test_text_of_a_body(content: bytes, content_type: str, text: str) -> None:
    assert decoded_text(content, content_type) == text


@given(st.binary(), st.text())
def test_any_body_is_text(content: bytes, label: str) -> None:
    decoded_text(content, f"text/plain; charset={label}").encode("utf-8", "strict")


@pytest.mark.parametrize("value", ["a\nb", "a\rb", "a\0b", "a\x7fb", "‘a’", "a\u200bb"])
def test_a_header_that_cannot_be_sent_names_its_source(value: str) -> None:
    with pytest.raises(ConfigError, match="MY_KEY holds") as caught:
        header_value(value, "MY_KEY")
    assert value not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_header_in_latin_1_is_sent() -> None:
    assert header_value("clé", "MY_KEY") == b"cl\xe9"
