"""Keeps what must not be shown (keys, passwords, control characters) out of texts."""

import base64
import html
import json
import re
from collections.abc import Iterable, Iterator
from urllib.parse import quote, quote_plus, unquote, unquote_plus, urlsplit

from wideseek_core.secret_names import is_secret_name

REDACTED = "[redacted]"
MIN_CHARS = 4
"""Shorter secrets protect nothing, and their removal would make messages unreadable."""
MIN_PART_CHARS = 8
"""Parts of a secret of this length are removed too, for servers that show half of a key."""
ADDRESS_USER = r"""(?=[^\s/?#"]*@ | [^\s/?#"@:\[]*:(?!\d*(?:[/?#\s"]|$)))"""
"""What follows the :// of an address with a user, or with a : that no port stands behind."""
_IN_ADDRESS = re.compile(
    rf"(?<=://) {ADDRESS_USER} (?:(?!://)[^\s\"])*@",  # to the last @: passwords hold @ and /, too
    re.VERBOSE,
)
_PARAMETER = re.compile(r"""(?<=[?&;#])([^\s=?&;#"]+)=""")
_VALUE = re.compile(r"""[^\s&#"]*""")
"""A secret may have a ; in it, behind which others begin."""


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


def secrets_in_url(url: str) -> set[str]:
    """User names, passwords and secret query parameters of an address."""
    try:
        parts = urlsplit(url)
        user, password = parts.username or "", parts.password or ""
        given = [url[start:end] for start, end in _secret_values(url)]
    except ValueError:
        return set()
    pair = f"{unquote(user)}:{unquote(password)}" if user or password else ""
    found = {user, unquote(user), password, unquote(password), pair}
    found |= {form for value in given for form in (value, unquote(value), unquote_plus(value))}
    return {value for value in found if value}


def hide_credentials(text: str) -> str:
    """The text without users, passwords and secret parameters of the addresses in it."""
    if "://" not in text:
        return text
    text = _IN_ADDRESS.sub(f"{REDACTED}@", text)
    pieces, place = list[str](), 0
    for start, end in _secret_values(text):
        pieces += [text[place:start], REDACTED]
        place = end
    return "".join([*pieces, text[place:]])


def _secret_values(text: str) -> Iterator[tuple[int, int]]:
    """Where the values of secret parameters of addresses begin and end."""
    place = 0
    for found in _PARAMETER.finditer(text):
        if found.start() < place or not is_secret_name(unquote(found[1])):
            continue  # of a value that was found, or harmless
        value = _VALUE.match(text, found.end())
        if value is not None and value[0]:
            place = value.end()
            yield value.span()


def printable(text: str) -> str:
    """The text without control characters, which could rewrite a terminal."""
    return "".join(char if char.isprintable() or char.isspace() else "\ufffd" for char in text)
