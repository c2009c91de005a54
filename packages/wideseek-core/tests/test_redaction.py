import base64
import json
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wideseek_core.redaction import REDACTED, Redactor, hide_credentials, secrets_in_url
from wideseek_core.shown_settings import hide_options, hide_secrets

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


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            "at http://me:hunter2@a.example:80/x, twice",
            "at http://[redacted]@a.example:80/x, twice",
        ),
        ("redis://:pw@a.example", "redis://[redacted]@a.example"),
        ("https://me@a.example", "https://[redacted]@a.example"),
        ("http://me:p@ss@a.example", "http://[redacted]@a.example"),
        ("http://me:pa/ss?w@a.example:80/x", "http://[redacted]@a.example:80/x"),
        ("http://me:12@a.example", "http://[redacted]@a.example"),
        ("http://me:pw@[::1]:80", "http://[redacted]@[::1]:80"),
        (
            '["http://a:b@c.example","http://d:e@f.example"]',
            '["http://[redacted]@c.example","http://[redacted]@f.example"]',
        ),
        (
            "http://a:b@c.example,http://d:e@f.example",
            "http://[redacted]@c.example,http://[redacted]@f.example",
        ),
        (
            "http://a.example/x?api_key=K&q=1&access_token=T",
            "http://a.example/x?api_key=[redacted]&q=1&access_token=[redacted]",
        ),
        (
            "http://a.example/x;sig=S#access_token=T",
            "http://a.example/x;sig=[redacted]#access_token=[redacted]",
        ),
    ],
)
def test_addresses_are_shown_without_what_is_secret(text: str, shown: str) -> None:
    assert hide_credentials(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "https://a.example/@me/page?keyword=x",
        "http://a.example:8000/@me and me@a.example",
        "http://[::1]:80/@me",
        "http://a.example:port/x",
        "http://a.example/?author=Mozart&keyboard=2&tokenizer=x&max_tokens=5&design=1",
        "git@a.example:me/it",
        "a token=b, at 12:30@home",
    ],
)
def test_addresses_without_secrets_are_shown_as_they_are(text: str) -> None:
    assert hide_credentials(text) == text


def test_settings_are_shown_without_what_is_secret() -> None:
    launch = {
        "environment": {"HF_TOKEN": "hf_abc", "LANG": "C", "MY_API_KEY": ""},
        "extra_args": [
            "--api-key",
            "sk-1",
            "--max-num-batched-tokens",
            "8192",
            "--hf-token=hf_abc",
        ],
        "program": ["env", "HF_TOKEN=hf_abc", "N=1", "serve", "--api-key", "--tokenizer", "x"],
        "max_tokens": 3,
        "api_key_env": "MY_KEY",
    }
    assert hide_secrets({"launch": launch}) == {
        "launch": {
            "environment": {"HF_TOKEN": REDACTED, "LANG": "C", "MY_API_KEY": ""},
            "extra_args": [
                *("--api-key", REDACTED, "--max-num-batched-tokens", "8192"),
                f"--hf-token={REDACTED}",
            ],
            "program": [
                "env",
                f"HF_TOKEN={REDACTED}",
                "N=1",
                "serve",
                "--api-key",
                "--tokenizer",
                "x",
            ],
            "max_tokens": 3,
            "api_key_env": "MY_KEY",
        }
    }


def test_names_of_servers_own_settings_say_which_are_secret() -> None:
    environment = {"TOKENIZERS_PARALLELISM": "false", "AWS_ACCESS_KEY_ID": "A", "MYSQL_PWD": "p"}
    tools = {"weather": {"apiKey": "k", "keys": ["k"], "keyword": "x", "retry": {"token": "t"}}}
    assert hide_secrets({"environment": environment, "tool_settings": tools}) == {
        "environment": {
            "TOKENIZERS_PARALLELISM": "false",
            "AWS_ACCESS_KEY_ID": REDACTED,
            "MYSQL_PWD": REDACTED,
        },
        "tool_settings": {
            "weather": {
                "apiKey": REDACTED,
                "keys": REDACTED,
                "keyword": "x",
                "retry": {"token": REDACTED},
            }
        },
    }


def test_all_values_of_a_secret_option_and_all_secret_variables_are_hidden() -> None:
    words = ["env", "AWS_ACCESS_KEY_ID=A", "--api-key", "k1", "k2", "--port", "80", "key_columns=a"]
    assert hide_options(words) == [
        *("env", f"AWS_ACCESS_KEY_ID={REDACTED}", "--api-key", REDACTED, REDACTED),
        *("--port", "80", "key_columns=a"),
    ]


def test_a_quotation_mark_in_a_password_does_not_show_it() -> None:
    found = hide_secrets(
        {"url": 'db://me:pa"ss@a.example/x', "list": ['a=db://me:pa"ss@b.example']}
    )
    assert found == {
        "url": f"db://{REDACTED}@a.example/x",
        "list": [f"a=db://{REDACTED}@b.example"],
    }


@pytest.mark.parametrize("part", [";&?", "a", "a.b", "://a:b"])
def test_a_long_text_with_an_address_is_read_once(part: str) -> None:
    """Whatever is tried anew at each place would take hours here."""
    text = "://" + part * 300_000
    assert hide_secrets([text]) == [text]


def test_a_quotation_mark_ends_an_address_in_a_longer_text() -> None:
    text = 'not "http://a.example:b" but "me@a.example"'
    assert hide_secrets({"system": text}) == {"system": text}
