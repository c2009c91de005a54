import base64
import json
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wideseek_core.redaction import REDACTED, Redactor, secrets_in_url

KEY = "sk-9f/3+a b&c\"d'é-long"


@pytest.mark.parametrize(
    "shown",
    [
        KEY,
        f"Bearer {KEY}",
        quote(KEY),
        quote(KEY, safe=""),
        json.dumps({"error": KEY}),
        base64.b64encode(KEY.encode()).decode(),
        KEY[:12],
        KEY[5:],
        f"{KEY[:15]}...",
    ],
)
def test_every_form_of_a_key_is_removed(shown: str) -> None:
    text = Redactor([KEY])(f"the key {shown} is wrong")
    assert REDACTED in text
    assert "9f" not in text
    assert text.startswith("the key ")
    assert text.endswith(" is wrong")


def test_short_words_are_no_secrets() -> None:
    assert Redactor(["", "a", "abc"])("a b abc") == "a b abc"


def test_the_secrets_of_an_address() -> None:
    found = secrets_in_url("https://us%40er:p%20w@a.example/x?api_key=K1234&q=open")
    assert {"us@er", "p w", "us@er:p w", "K1234"} <= found
    assert "open" not in found


@given(
    st.text(st.characters(codec="ascii", exclude_characters="[redacted]"), min_size=8),
    st.text(),
    st.text(),
)
def test_no_text_around_a_key_keeps_it(key: str, before: str, after: str) -> None:
    assert key not in Redactor([key])(before + key + after)
