"""Command-line arguments of the one style that all commands share.

`[WORD ...] [CONFIG.yaml ...] [KEY=VALUE ...] [--help [KEY]] [--dry-run] [-- WORD ...]`
"""

import difflib
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from wideseek_core.errors import ConfigError

_KEY = re.compile(r"\w+(?:\.\w+)*")
_ADDRESS = re.compile(r"[/?#:]")
"""What a key never holds, but an address with parameters does in front of its first `=`."""
_HELP = ("-h", "--help")


@dataclass(slots=True, kw_only=True)
class Arguments:
    """Arguments of a command, sorted by what they are."""

    settings: list[str] = field(default_factory=list[str])
    """YAML files and `KEY=VALUE`, in their order: later ones win."""
    words: list[str] = field(default_factory=list[str])
    """Everything else: a question, or the names of files and folders."""
    help: str | None = None
    """The key that help is wanted on; empty for the whole command, None for no help."""
    dry_run: bool = False


def split_arguments(
    arguments: Sequence[str], keys: Collection[str], *, words: bool = False
) -> Arguments:
    """Sorts arguments; `keys` are the configuration's top-level keys.

    With `words`, a question is never taken for a setting: neither "E=mc2 discoverers" nor "What is
    in settings.yaml". Everything behind `--` is a word. Raises `ConfigError`.
    """
    found = Arguments()
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        if not argument and not words:
            raise ConfigError("an empty argument: give CONFIG.yaml or key=value")
        if argument == "--":
            if not words and rest:
                raise ConfigError(f"unexpected argument {rest[0]!r} behind --")
            found.words += rest
            break
        if argument in _HELP or argument.startswith("--help="):
            found.help = argument.partition("=")[2] or _help_key(rest)
        elif argument == "--dry-run":
            found.dry_run = True
        elif words and not _is_setting(argument, keys):
            if argument.startswith("-") and len(argument) > 1:
                meant = _meant(argument, keys) or "words with a dash go behind --"
                raise ConfigError(f"unknown option {argument!r}: {meant}")
            found.words.append(argument)
        elif argument.startswith("-"):
            meant = _meant(argument, keys) or "give CONFIG.yaml or key=value"
            raise ConfigError(f"unknown option {argument!r}: {meant}")
        else:
            found.settings.append(argument)
    return found


def _meant(option: str, keys: Collection[str]) -> str:
    """How the setting is written that an option seems to be meant for; empty for none."""
    name, equals, value = option.lstrip("-").partition("=")
    if name.replace("-", "_").partition(".")[0] not in keys:
        return ""
    return f"write {name.replace('-', '_')}={value if equals else 'VALUE'}"


def _help_key(rest: list[str]) -> str:
    """The key behind `--help`, taken away from `rest`; empty if there is none."""
    if rest and _KEY.fullmatch(rest[0]):
        return rest.pop(0)
    return ""


def is_file(argument: str) -> bool:
    """Whether a file of this name exists. A name may be too long to ask for."""
    try:
        return Path(argument).is_file()
    except (OSError, ValueError):
        return False


def is_yaml(argument: str) -> bool:
    """Whether an argument names a YAML file, which an override never does."""
    return argument.endswith((".yaml", ".yml")) and ("=" not in argument or is_file(argument))


def _is_setting(argument: str, keys: Collection[str]) -> bool:
    """Whether an argument beside words is a YAML file or an override, misspelled ones included."""
    sentence = any(character.isspace() for character in argument)
    if is_yaml(argument):
        return not sentence or is_file(argument)
    key, equals, _ = argument.partition("=")
    root = key.partition(".")[0]
    if not equals or argument.startswith("-") or _ADDRESS.search(key):
        return False
    if sentence:
        return bool(_KEY.fullmatch(key)) and root in keys
    meant = not key or "." in key or difflib.get_close_matches(root, keys, n=1)
    return root in keys or bool(meant)
