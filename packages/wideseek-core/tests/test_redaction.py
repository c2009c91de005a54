import base64
import json
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wideseek_core.redaction import REDACTED, Redactor, hide_credentials, secrets_in_url
from wideseek_core.secret_names import is_secret_name
from wideseek_core.shown_settings import (
    hidden_key,
    hide_in_override,
    hide_in_value,
    hide_options,
    hide_secrets,
)

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


SECRET = """
    key keys api_key apikey api-key apiKey APIKey API_KEY x-api-key X-Goog-Api-Key api_key_1
    api_key2 access_key accessKeyId AWS_ACCESS_KEY_ID secret_key private_key master_key account_key
    subscription-key Ocp-Apim-Subscription-Key license_key signing_key encryption_key ssh_key
    shared_key admin_key write_key query_key search_key order_key join_key json_key session_key
    client_key user_key data_key hash_key function_key host_key SERPER_KEY bingKey my_service_key
    key_id key_value key_data key_b64 key_part public_api_key cache_api_key COSMOS_PRIMARY_KEY
    question_key_token api_key_cache passkey
    token tokens token1 access_token accessToken ACCESS_TOKENS accesstoken id_token refresh_token
    auth_token authtoken bearer_token session_token csrf-token xsrfToken HF_TOKEN GITHUB_TOKEN
    bot_token user_token fb_page_token page_access_token new_token document_token token_id
    X-Subscription-Token X-Amz-Security-Token max_access_token next_api_token
    auth auths oauth oauth2 basic_auth xauth auth_header Authorization Proxy-Authorization
    authentication authorisation_code
    password passwd pass_word userPassword password_file passphrase passcode PWD MYSQL_PWD dbpwd
    pass DB_PASS smtp_pass userpass secret client_secret clientSecret secrets credential credentials
    X-Amz-Credential X-Amz-Signature signature Signature sig sigs cookie Set-Cookie JWT jwt hmac
""".split()
OPEN = """
    question_key questionKey question-key questionkey key_column key_columns keyColumn keyfields
    key_name key_type key_length key_file API_KEY_FILE api_key_env api_key_name token_file token_env
    sort_key sortkey partition_key foreign_key primary_key primaryKey unique_key cache_key row_key
    group_key index_key public_key publishable_key idempotency_key Idempotency-Key answer_key
    start_key last_key my_question_key key_rows key_cells key_steps key_words has_key no_key
    keyword keywords keyboard monkey turkey donkey whiskey hotkey keynote keystone
    max_tokens maxTokens maxtokens max_token MAX_TOKENS min_tokens OPENAI_MAX_TOKENS n_tokens
    num_tokens max_new_tokens max_completion_tokens max_num_batched_tokens prompt_tokens
    response_tokens completion_tokens input_tokens output_tokens total_tokens cached_tokens
    turn_tokens context_tokens stop_tokens special_tokens token_count tokenCount token_counts
    token_limit token_type token_ids token_index token_level token_weights tokens_per_s
    price_per_token eos_token pad_token page_token pageToken next_page_token nextPageToken
    continuation_token token_url token_endpoint expires_in token_expires tokenizer tokenizers
    TOKENIZERS_PARALLELISM tokenize
    auth_type auth_method auth_mode auth_url oauth_url no_auth author authors authority authored
    pass_rate first_pass forward_pass passage passenger compass bypass passes
    secretary secretariat secretion design sigma signal cwd path q query page limit id name lang
    session seed user sp sv se sr st
""".split()


@pytest.mark.parametrize("name", SECRET)
def test_names_of_secrets(name: str) -> None:
    assert is_secret_name(name)
    address = f"https://a.example/x?q=1&{name}=hunter2&n=2"
    assert hide_credentials(address) == f"https://a.example/x?q=1&{name}={REDACTED}&n=2"
    assert secrets_in_url(address) == {"hunter2"}
    assert hide_secrets({"environment": {name: "hunter2"}}) == {"environment": {name: REDACTED}}


@pytest.mark.parametrize("name", OPEN)
def test_names_of_what_is_no_secret(name: str) -> None:
    assert not is_secret_name(name)
    address = f"https://a.example/x?{name}=open"
    assert hide_credentials(address) == address
    assert secrets_in_url(address) == set()
    settings = {"environment": {name: "open"}, "tool_settings": {"mine": {name: "open"}}}
    settings |= {"program": ["serve", f"--{name}", "open", f"{name}=open", f"--{name}=open"]}
    assert hide_secrets(settings) == settings


@pytest.mark.parametrize(
    "name",
    [
        *("api-key", "api_key", "hf-token", "client-secret", "password", "ssh-passphrase", "auth"),
        *("basic-auth", "proxy-authorization", "bearer", "jwt", "cookie", "credential"),
    ],
)
def test_options_whose_values_are_secret(name: str) -> None:
    words = ["serve", f"--{name}", "hunter2", "--port", "80", f"--{name}=hunter2", f"{name}s"]
    shown = ["serve", f"--{name}", REDACTED, "--port", "80", f"--{name}={REDACTED}", f"{name}s"]
    assert hide_options(words) == shown


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("q=1;sig=S", "q=1;sig=[redacted]"),
        ("sig=a;b=c&q=1", "sig=[redacted]&q=1"),  # it may be all of the secret
        (
            "question_key=Moon;api_key=K&key_column=b",
            "question_key=Moon;api_key=[redacted]&key_column=b",
        ),
        ("k%65y=K&api%5Fkey=L", "k%65y=[redacted]&api%5Fkey=[redacted]"),
        ("q=1#access_token=T", "q=1#access_token=[redacted]"),
        ("token=&q=1", "token=&q=1"),
    ],
)
def test_parameters_of_an_address_are_read_one_by_one(query: str, shown: str) -> None:
    assert hide_credentials(f"http://a.example/x?{query} (404)") == (
        f"http://a.example/x?{shown} (404)"
    )


def test_a_secret_of_an_address_is_known_in_each_form() -> None:
    found = secrets_in_url("http://a.example/x?q=1;sig=a%2Bb+c#token=t1234")
    assert {"a%2Bb+c", "a+b+c", "a+b c", "t1234"} <= found


@pytest.mark.parametrize("part", ["question_key_", "key=", "?key=a", "max_tokens", "keyauth", "9"])
def test_a_long_name_is_read_once(part: str) -> None:
    hide_credentials("http://a.example/?" + part * 100_000 + "=x")


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


@pytest.mark.parametrize("option", ["--header", "-H"])
def test_headers_of_a_command_line_lose_their_secrets(option: str) -> None:
    words = ["serve", option, "Authorization: Bearer hunter2", "X-Api-Key: hunter2", "Accept: a/b"]
    shown = ["serve", option, f"Authorization: {REDACTED}", f"X-Api-Key: {REDACTED}", "Accept: a/b"]
    assert hide_options(["Key: a column", *words, f"{option}=Cookie: a=hunter2"]) == [
        "Key: a column",
        *shown,
        f"{option}=Cookie: {REDACTED}",
    ]
    assert hide_in_value(f"serve {option} 'Authorization: Bearer hunter2' --port 80") == (
        f"serve {option} Authorization: {REDACTED} --port 80"
    )
    assert hidden_key({"launch": {"program": shown}}) == "launch.program.2"


def test_secrets_of_tools_are_found_at_any_depth() -> None:
    tools = {
        "mine": {
            "api_key": {"value": "hunter2"},
            "servers": [{"token": "hunter2", "max_tokens": 5}],
            "max_tokens": {"value": 5},
        }
    }
    assert hide_secrets({"tool_settings": tools}) == {
        "tool_settings": {
            "mine": {
                "api_key": REDACTED,
                "servers": [{"token": REDACTED, "max_tokens": 5}],
                "max_tokens": {"value": 5},
            }
        }
    }
    for override in (
        'team.tool_settings.mine={"api_key": "hunter2"}',
        "team.tool_settings={mine: {token: hunter2}}",
        "environment={hf_token: hunter2}",
    ):
        assert "hunter2" not in hide_in_override(override)
    assert hide_in_override("team.tool_settings.mine.top=5") == "team.tool_settings.mine.top=5"
