"""Settings as they are shown and stored: without the secrets in them."""

import re
import shlex
from collections.abc import Mapping, Sequence
from typing import cast

from wideseek_core.redaction import ADDRESS_USER, REDACTED, hide_credentials
from wideseek_core.secret_names import is_secret_name

_ADDRESS_ALONE = re.compile(
    rf"\A((?:[\w.]+=)?[a-z][a-z\d+.-]*://) {ADDRESS_USER} (?:(?!://)\S)*@ (\S*)\Z",
    re.VERBOSE | re.IGNORECASE,
)
"""A value that is an address as a whole: a quotation mark does not end it."""
_OPTION = re.compile(r"--?[\w-]+")
_LAST_OF_SECRET = re.compile(
    r"(?:keys?|token|secrets?|passwords?|passwd|passphrase|pass|pwd|auth|authori[sz]ation|bearer|jwt"
    r"|cookies?|credentials?|signature)\d*\Z",
    re.IGNORECASE,
)
"""How an option ends whose value, and not something about it, is secret."""
_ASSIGNMENT = re.compile(r"([A-Za-z]\w*|--?[\w-]+)=.+", re.DOTALL)
_HEADER = re.compile(r"(-[\w-]*[= ]|)([A-Za-z][\w-]*):\s*(?!//)\S.*", re.DOTALL)
"""A header as a word of a command line, behind its option or alone."""
_WITH_NAMED_SECRETS = ("environment", "tool_settings")
"""Settings whose keys are anybody's: the name of one says whether it is secret."""


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
        return hide_options(cast(Sequence[object], value), within)
    return value


def hide_options(words: Sequence[object], within: str = "") -> list[object]:
    """A list, such as a command line, without the values of secret options and variables.

    Headers behind an option, such as `--header "Authorization: ..."`, lose theirs too. `within` is
    the key of the list.
    """
    items, secret, option = [hide_secrets(word, within) for word in words], False, False
    for number, item in enumerate(items):
        if not isinstance(item, str):
            continue
        if secret and not item.startswith("-"):
            items[number] = REDACTED  # an option may take several
            continue
        if (found := _ASSIGNMENT.fullmatch(item)) and _names_secret(found[1]):
            items[number] = f"{found[1]}={REDACTED}"
        elif (found := _HEADER.fullmatch(item)) and (option or found[1]):
            items[number] = _without_secret(found)
        else:
            secret, option = _is_secret_option(item), item.startswith("-")
    return items


def _without_secret(header: re.Match[str]) -> str:
    hidden = is_secret_name(header[2])
    return f"{header[1]}{header[2]}: {REDACTED}" if hidden else header[0]


def hidden_key(value: object, key: str = "") -> str:
    """Where settings, as they are shown or stored, have lost a secret; empty if nowhere."""
    if isinstance(value, str):
        marks = (f"={REDACTED}", f"{REDACTED}@", f": {REDACTED}")
        lost = value == REDACTED or any(mark in value for mark in marks)
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
    try:
        words = shlex.split(text)
    except ValueError:  # a quotation mark alone
        words = text.split()
    hidden = [str(word) for word in hide_options(words)]
    return text if hidden == words else " ".join(hidden)


def hide_in_override(override: str) -> str:
    """An `a.b=value` as it was written, for errors about it."""
    dotted, _, value = override.partition("=")
    *parents, leaf = dotted.split(".")
    words = re.findall(r"[\w-]+", value)
    named = not set(_WITH_NAMED_SECRETS).isdisjoint([*parents, leaf])
    secret = named and any(map(is_secret_name, [leaf, *words]))
    if secret or any(_is_secret_option(word) or _is_variable(word) for word in words):
        return f"{dotted}={REDACTED}"
    return override


def _is_variable(word: str) -> bool:
    """Whether a word is the name of a secret variable."""
    return word.isupper() and is_secret_name(word)


def _is_secret(key: str, value: object) -> bool:
    """Of a setting; one that is empty or a number is none."""
    held = isinstance(value, str | list | tuple | Mapping) and value not in ("", [], (), {})
    return held and is_secret_name(key)


def _names_secret(name: str) -> bool:
    """Whether an option or a variable is secret; `--max-tokens` and `--tokenizer` are not."""
    return _is_variable(name) or _is_secret_option(f"--{name.lstrip('-')}")


def _is_secret_option(word: str) -> bool:
    """Whether what follows an option of a command line is secret."""
    ends = _OPTION.fullmatch(word) and _LAST_OF_SECRET.search(word)
    return bool(ends) and is_secret_name(word)
