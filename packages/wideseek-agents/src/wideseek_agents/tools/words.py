"""The texts of a tool in one language: its own, with those of a prompt set in their place."""

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from wideseek_core import Config, ConfigError, Language, ToolSpec
from wideseek_core.config import merge, read_yaml, validate
from wideseek_core.templates import Placeholders, Template


class _Texts(Config):
    description: str
    single_description: str = ""
    arguments: dict[str, str] = Field(default_factory=dict[str, str])
    line: str = ""
    single_line: str = ""
    messages: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolWords:
    """A tool's texts in one language."""

    description: str
    """What the tool does."""
    single_description: str
    """What it does where a call holds one request."""
    arguments: Mapping[str, str]
    """What each argument means."""
    line: str
    """Stands in the prompt instead of the JSON schema; empty for the schema."""
    single_line: str
    messages: Mapping[str, Template]
    """How results are worded, by name; `result` is among them."""

    def __getitem__(self, name: str) -> Template:
        """A message."""
        return self.messages[name]

    def usage(self, spec: ToolSpec, *, batched: bool) -> str:
        """The tool in one line of a prompt."""
        line = self.line if batched else self.single_line
        return line or json.dumps(spec.schema(), ensure_ascii=False)


def read_words(
    folder: Path,
    language: Language,
    expected: Mapping[str, Placeholders],
    override: Mapping[str, Any] | None = None,
    where: str = "",
) -> ToolWords:
    """A tool's texts in `language`, else in English, with those of `override` in their place.

    `where` names the override in errors. Raises `ConfigError`.
    """
    file = folder / f"{language}.yaml"
    if not file.is_file():
        file = folder / "en.yaml"
    raw = read_yaml(file)
    place = str(file)
    if override:
        raw = copy.deepcopy(raw)
        merge(raw, dict(override))
        place = where
    try:
        texts = validate(_Texts, raw)
    except ConfigError as error:
        raise ConfigError(f"{place}: {error}") from None
    return ToolWords(
        description=texts.description,
        single_description=texts.single_description or texts.description,
        arguments=texts.arguments,
        line=texts.line,
        single_line=texts.single_line,
        messages=_templates(texts.messages, expected, place),
    )


def _templates(
    messages: Mapping[str, str], expected: Mapping[str, Placeholders], place: str
) -> dict[str, Template]:
    for name in sorted(messages.keys() - expected.keys()):
        raise ConfigError(f"{place}: unknown message {name!r}")
    templates: dict[str, Template] = {}
    for name, places in expected.items():
        if name not in messages:
            raise ConfigError(f"{place}: the message {name!r} is missing")
        templates[name] = Template(messages[name])
        templates[name].check(f"{place}: {name}", places)
    return templates
