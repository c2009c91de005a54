"""Prompt sets: folders of texts that a user can replace as a whole.

A set holds a folder for each of its languages, named by the language's tag (`en`, `zh`, ...). In it
are `lead.md`, `subagent.md` and `single.md` (system prompts), `tools.md` (the block that names the
tools), `messages.yaml` (what is said later), and, if tools shall be worded otherwise than they do
themselves, `tools.yaml`. All are checked on loading.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wideseek_agents.arguments import ArgumentSchema
from wideseek_agents.prompts.messages import Messages, read_messages
from wideseek_agents.tools import ToolDefinition, ToolWords, read_words, tool_definitions
from wideseek_core import AgentRole, ConfigError, Language, ToolSpec
from wideseek_core.config import read_yaml
from wideseek_core.files import folder_atomically
from wideseek_core.plugins import installed
from wideseek_core.templates import Template, placeholders

BUILT_IN = Path(__file__).parent
GROUP = "wideseek.prompt_sets"
ROLES: tuple[AgentRole, ...] = ("lead", "subagent", "single")
_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{1,8})*")
_SYSTEM = placeholders("", "tools format turns requests_per_call requests_per_turn")


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribedTool:
    """A tool as a prompt set describes it to a model."""

    spec: ToolSpec
    usage: str
    """The tool in one line of a prompt."""
    schema: ArgumentSchema
    words: ToolWords


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalizedPrompts:
    """A prompt set in one language."""

    language: Language
    systems: Mapping[AgentRole, Template]
    """The system prompt of each role."""
    tools_block: Template
    """The part of a system prompt that names the tools."""
    messages: Messages
    tool_texts: Mapping[str, Any]
    """Words of tools that stand in place of the tools' own, by the tool's name."""
    file: str
    """Where `tool_texts` come from, for errors."""
    described: dict[tuple[str, bool], DescribedTool] = field(
        default_factory=dict[tuple[str, bool], DescribedTool], repr=False
    )
    """Tools that were described before, since every agent needs them."""

    def tool(self, definition: ToolDefinition, *, batched: bool) -> DescribedTool:
        """A tool in the words of the set. Raises `ConfigError`."""
        key = (definition.name, batched)
        if key not in self.described:
            override = self.tool_texts.get(definition.name)
            where = f"{self.file}: {definition.name}"
            words = read_words(
                definition.words, self.language, definition.messages, override, where
            )
            schema = definition.schema if batched else definition.schema.unbatched()
            spec = ToolSpec(
                name=definition.name,
                description=words.description if batched else words.single_description,
                parameters=schema.json_schema(words.arguments),
            )
            self.described[key] = DescribedTool(
                spec=spec, usage=words.usage(spec, batched=batched), schema=schema, words=words
            )
        return self.described[key]


class PromptSet:
    """A prompt set in every language it has.

    Example: `PromptSet.load("compact").localized("en").messages.hint(2, 4)`
    """

    def __init__(self, languages: dict[Language, LocalizedPrompts]) -> None:
        self._languages = languages

    @classmethod
    def load(cls, name: str) -> "PromptSet":
        """A built-in set, one of an installed plug-in, or the set in a folder.

        A plug-in of the group `wideseek.prompt_sets` is the `Path` of a folder. Raises
        `ConfigError`.
        """
        folder = _folder(name)
        found = {
            path.name: read_prompts(path)
            for path in sorted(folder.iterdir())
            if path.is_dir() and _LANGUAGE.fullmatch(path.name)
        }
        if not found:
            raise ConfigError(f"{folder}: a prompt set needs a folder for a language, such as en")
        return cls(found)

    @property
    def languages(self) -> tuple[Language, ...]:
        """The languages of the set."""
        return tuple(self._languages)

    def localized(self, language: Language) -> LocalizedPrompts:
        """The set in `language`; in English, else in any, where it lacks that language."""
        for choice in (language, language.partition("-")[0], "en"):
            if choice in self._languages:
                return self._languages[choice]
        return next(iter(self._languages.values()))


def lasting_name(name: str) -> str:
    """The name of a set wherever it is asked for: of one in a folder the whole path.

    Raises `ConfigError` if there is none.
    """
    folder = _folder(name)
    return str(folder.resolve()) if folder == Path(name) else name


def copy_set(source: Path, target: Path) -> None:
    """Copies the texts of a set, and nothing else that is in its folder. Raises `OSError`."""
    with folder_atomically(target) as folder:
        for language in source.iterdir():
            if language.is_dir() and _LANGUAGE.fullmatch(language.name):
                (folder / language.name).mkdir()
                for file in (*language.glob("*.md"), *language.glob("*.yaml")):
                    (folder / language.name / file.name).write_bytes(file.read_bytes())


def _folder(name: str) -> Path:
    built_in = sorted(
        path.name for path in BUILT_IN.iterdir() if (path / "en" / "messages.yaml").is_file()
    )
    if name in built_in:
        return BUILT_IN / name
    plugins = installed(GROUP)
    if name in plugins:
        folder = plugins[name]
        if not isinstance(folder, Path) or not folder.is_dir():
            raise ConfigError(f"plug-in {name!r} of {GROUP} is no Path of a folder")
        return folder
    folder = Path(name)
    if not name or not folder.is_dir():
        known = ", ".join(sorted([*built_in, *plugins]))
        raise ConfigError(f"no prompt set {name!r}: neither a folder nor one of {known}")
    return folder


def read_prompts(folder: Path) -> LocalizedPrompts:
    """The texts of one language. Raises `ConfigError` naming file, key and placeholder."""
    block = _template(folder / "tools.md", "tools", "")
    systems: dict[AgentRole, Template] = {}
    for role in ROLES:
        file = folder / f"{role}.md"
        systems[role] = Template(_read(file))
        systems[role].check(str(file), _SYSTEM)
    file = folder / "tools.yaml"
    prompts = LocalizedPrompts(
        language=folder.name,
        systems=systems,
        tools_block=block,
        messages=read_messages(folder / "messages.yaml"),
        tool_texts=_tool_texts(file) if file.is_file() else {},
        file=str(file),
    )
    for tool in tool_definitions().values():
        prompts.tool(tool, batched=True)
    return prompts


def _tool_texts(file: Path) -> dict[str, Any]:
    raw = read_yaml(file)
    known = tool_definitions()
    for name, texts in raw.items():
        if name not in known:
            listed = ", ".join(sorted(known))
            raise ConfigError(f"{file}: no tool {name!r}: the known ones are {listed}")
        if not isinstance(texts, dict):
            raise ConfigError(f"{file}: {name}: expected a mapping of keys")
    return raw


def _template(file: Path, required: str, allowed: str) -> Template:
    template = Template(_read(file))
    template.check(str(file), placeholders(required, allowed))
    return template


def _read(file: Path) -> str:
    try:
        return file.read_text("utf-8").strip()
    except FileNotFoundError:
        raise ConfigError(f"no such file: {file}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: can't be read: {error}") from None
