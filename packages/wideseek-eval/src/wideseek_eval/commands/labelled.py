"""Command lines with labelled runs: `LABEL=RUN` looks like a setting, and is none."""

import json
from collections.abc import Mapping, Sequence

from wideseek_core import Config
from wideseek_core.arguments import is_yaml


def as_settings(
    arguments: Sequence[str], config: type[Config], first: str, others: str
) -> list[str]:
    """The arguments with their words as settings: `first` takes one word, `others` the rest.

    Only the keys that `config` has make a setting, so that `0.5=runs/a` is a word.
    """
    if any(word in ("-h", "--help") or word.startswith("--help=") for word in arguments):
        return list(arguments)
    settings = [word for word in arguments if _is_setting(word, config.model_fields)]
    words = [word for word in arguments if not _is_setting(word, config.model_fields)]
    if words:
        settings.append(f"{first}={json.dumps(words[0])}")
    if words[1:]:
        settings.append(f"{others}={json.dumps(words[1:])}")
    return settings


def _is_setting(word: str, fields: Mapping[str, object]) -> bool:
    key, equals, _ = word.partition("=")
    known = key.partition(".")[0] in fields
    return word.startswith("-") or is_yaml(word) or (bool(equals) and known)
