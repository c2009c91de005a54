"""What loggers of experiment services share: their package, and the id of a run that is resumed."""

import importlib
import json
from collections.abc import Callable, Mapping
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from wideseek_core import ConfigError
from wideseek_core.files import write_atomically
from wideseek_core.runs import flat


def service_package(name: str, install: str) -> Any:
    """The module of a service. Raises `ConfigError`, which says what to install, without it."""
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        module = None
    # Services keep files in folders of their names; one in the working folder can be imported.
    spec: ModuleSpec | None = getattr(module, "__spec__", None)
    if module is None or (spec is not None and spec.origin is None):
        raise ConfigError(f"rl.loggers: the kind {name!r} needs a package: pip install {install!r}")
    return module


def stored_id(file: Path, step: int, make: Callable[[], str]) -> str:
    """The id that a resumed run was logged under; a new one for a run that starts.

    Run folders of one name are many, so the name can't be the id.
    """
    if step and file.is_file():
        return file.read_text("utf-8").strip()
    made = make()
    write_atomically(file, made)
    return made


def flat_settings(settings: Mapping[str, JsonValue]) -> dict[str, str]:
    """Settings by their dotted keys, as text: what `key=value` would set."""
    return {
        key: json.loads(text) if text.startswith('"') else text
        for key, text in flat(settings).items()
    }
