"""Keeps what must not be shown (keys, passwords, control characters) out of a client's texts."""

import base64
import html
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import cast
from urllib.parse import parse_qsl, quote, quote_plus, unquote, urlsplit

REDACTED = "[redacted]"
MIN_CHARS = 4
"""Shorter secrets protect nothing, and their removal would make messages unreadable."""
MIN_PART_CHARS = 8
"""Parts of a secret of this length are removed too, for servers that show half of a key."""
_SECRET_NAME = re.compile(
    r"""password|passwd|passphrase|secret|signature|cookie|credential|authori[sz]ation|authenticat
    |(?:key|(?<!max_)token|auth|_pwd|_sig)s?(?![a-z])  # not in author, keyword, tokenizers
    """,
    re.VERBOSE,
)
_USER = r"""(?=[^\s/?#"]*@ | [^\s/?#"@:\[]*:(?!\d*(?:[/?#\s"]|$)))"""
"""What follows the :// of an address with a user, or with a : that no port stands behind."""
_IN_ADDRESS = re.compile(
    rf"(?<=://) {_USER} (?:(?!://)[^\s\"])*@  # to the last @, since passwords hold @ and /, too",
    re.VERBOSE,
)
_ADDRESS_ALONE = re.compile(
    rf"\A((?:[\w.]+=)?[a-z][a-z\d+.-]*://) {_USER} (?:(?!://)\S)*@ (\S*)\Z",
    re.VERBOSE | re.IGNORECASE,
)
"""A value that is an address as a whole: a quotation mark does not end it."""
_IN_QUERY = re.compile(r"""(?<=[?&;#])([^\s=?&;#"]+)=([^\s&#"]+)""")
_SECRET_OPTION = re.compile(r"--?[\w-]*(?:key|token|secret|password)", re.IGNORECASE)
_ASSIGNMENT = re.compile(r"([A-Za-z]\w*|--?[\w-]+)=.+", re.DOTALL)
_WITH_NAMED_SECRETS = ("environment", "tool_settings")
"""Settings whose keys are anybody's: the name of one says whether it is secret."""


class Redactor:
    """Removes a fixed set of secrets from texts, in the forms in which servers repeat them."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        known = {secret for secret in secrets if len(secret) >= MIN_CHARS}
        forms = {form for secret in known for form in _forms(secret)}
        self._forms = sorted(forms, key=len, reverse=True)
        self._parts = {
            form[start : start + MIN_PART_CHARS]
            for form in forms
            for start in range(len(form) - MIN_PART_CHARS + 1)
        }

    def __call__(self, text: str) -> str:
        """The text with every whole secret, and every long part of one, replaced."""
        for form in self._forms:
            text = text.replace(form, REDACTED)
        return self._without_parts(text) if self._parts else text

    def _without_parts(self, text: str) -> str:
        pieces: list[str] = []
        kept, place = 0, 0
        while place <= len(text) - MIN_PART_CHARS:
            if text[place : place + MIN_PART_CHARS] not in self._parts:
                place += 1
                continue
            end = place + MIN_PART_CHARS
            while text[end - MIN_PART_CHARS + 1 : end + 1] in self._parts and end < len(text):
                end += 1
            pieces += [text[kept:place], REDACTED]
            kept = place = end
        return "".join([*pieces, text[kept:]])


def _forms(secret: str) -> set[str]:
    """The secret as it is, and as URLs, JSON, HTML and basic authentication write it."""
    raw = secret.encode("utf-8", "replace")
    return {
        secret,
        quote(raw, safe=""),
        quote(raw),
        quote_plus(raw),
        json.dumps(secret)[1:-1],
        html.escape(secret),
        base64.b64encode(raw).decode(),
    }


def is_secret_name(name: str) -> bool:
    """Whether a header or a query parameter of this name usually holds a secret."""
    words = re.sub(r"(?<=[a-z\d])(?=[A-Z])|[^A-Za-z\d]+", "_", name)
    return bool(_SECRET_NAME.search(f"_{words.lower()}"))


def secrets_in_url(url: str) -> set[str]:
    """User names, passwords and secret query parameters of an address."""
    try:
        parts = urlsplit(url)
        user, password = parts.username or "", parts.password or ""
        given = [value for name, value in parse_qsl(parts.query) if is_secret_name(name)]
    except ValueError:
        return set()
    pair = f"{unquote(user)}:{unquote(password)}" if user or password else ""
    found = {user, unquote(user), password, unquote(password), pair, *given}
    return {value for value in found if value}


def hide_credentials(text: str) -> str:
    """The text without users, passwords and secret parameters of the addresses in it."""
    if "://" not in text:
        return text
    text = _IN_ADDRESS.sub(f"{REDACTED}@", text)
    return _IN_QUERY.sub(
        lambda found: f"{found[1]}={REDACTED}" if is_secret_name(found[1]) else found[0], text
    )


def hide_secrets(value: object, within: str = "") -> object:
    """Settings, as JSON holds them, without the secrets in them; `within` is their key.

    Besides those of addresses, they are values of an `environment` and of `tool_settings`, and
    options of command lines, that have the name of a secret.
    """
    if isinstance(value, str):
        return hide_credentials(_ADDRESS_ALONE.sub(rf"\1{REDACTED}@\2", value))
    if isinstance(value, Mapping):
        items = cast(Mapping[str, object], value).items()
        if within not in _WITH_NAMED_SECRETS:
            return {key: hide_secrets(below, key) for key, below in items}
        return {
            key: REDACTED if _is_secret(key, below) else hide_secrets(below, within)
            for key, below in items
        }
    if isinstance(value, list | tuple):
        return hide_options(cast(Sequence[object], value))
    return value


def hide_options(words: Sequence[object]) -> list[object]:
    """A list, such as a command line, without the values of secret options and variables."""
    items, secret = [hide_secrets(word) for word in words], False
    for number, item in enumerate(items):
        if not isinstance(item, str):
            continue
        if secret and not item.startswith("-"):
            items[number] = REDACTED  # an option may take several
            continue
        if (found := _ASSIGNMENT.fullmatch(item)) and _names_secret(found[1]):
            items[number] = f"{found[1]}={REDACTED}"
        secret = bool(_SECRET_OPTION.fullmatch(item))
    return items


def hidden_key(value: object, key: str = "") -> str:
    """Where settings, as they are shown or stored, have lost a secret; empty if nowhere."""
    if isinstance(value, str):
        lost = value == REDACTED or f"={REDACTED}" in value or f"{REDACTED}@" in value
        return key if lost else ""
    if isinstance(value, Mapping):
        items = cast(Mapping[str, object], value).items()
    elif isinstance(value, list | tuple):
        items = ((str(at), below) for at, below in enumerate(cast(Sequence[object], value)))
    else:
        return ""
    found = (hidden_key(below, f"{key}.{name}" if key else name) for name, below in items)
    return next(filter(None, found), "")


def hide_in_value(text: str) -> str:
    """What was given for a setting, which may be a command line as one text or a bare variable."""
    words = text.split()
    hidden = [str(word) for word in hide_options(words)]
    return text if hidden == words else " ".join(hidden)


def hide_in_override(override: str) -> str:
    """An `a.b=value` as it was written, for errors about it."""
    dotted, _, value = override.partition("=")
    *parents, leaf = dotted.split(".")
    secret = is_secret_name(leaf) and not set(_WITH_NAMED_SECRETS).isdisjoint(parents)
    words = re.findall(r"[\w-]+", value)
    if secret or any(_SECRET_OPTION.fullmatch(word) or _is_variable(word) for word in words):
        return f"{dotted}={REDACTED}"
    return override


def _is_variable(word: str) -> bool:
    """Whether a word is the name of a secret variable."""
    return word.isupper() and is_secret_name(word)


def _is_secret(key: str, value: object) -> bool:
    """Of a setting; one that is empty or a number is none."""
    return (
        isinstance(value, str | list | tuple) and value not in ("", [], ()) and is_secret_name(key)
    )


def _names_secret(name: str) -> bool:
    """Whether an option or a variable is secret; `--max-tokens` and `--tokenizer` are not."""
    return _is_variable(name) or bool(
        _SECRET_OPTION.fullmatch(f"--{name.lstrip('-').replace('_', '-')}")
    )


def printable(text: str) -> str:
    """The text without control characters, which could rewrite a terminal."""
    return "".join(char if char.isprintable() or char.isspace() else "\ufffd" for char in text)
