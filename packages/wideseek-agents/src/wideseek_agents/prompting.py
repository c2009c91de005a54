"""Prompt sets: folders of texts that a user can replace as a whole.

A set holds a folder per language (`en`, `zh`), and each of these `lead.md`, `subagent.md`,
`single.md` (system prompts), `tools.md` (the block that names the tools), `tools.yaml` (the tools)
and `messages.yaml` (everything said later). All are checked on loading.
"""

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import cast, get_args

from pydantic import JsonValue

from wideseek_agents.template import Template
from wideseek_core import Config, ConfigError, Language, ToolSpec
from wideseek_core.config import read_yaml, validate

BUILT_IN = Path(__file__).parent / "prompts"
TURN = frozenset({"turn", "turns", "left"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Messages:
    """What is said after the system prompt."""

    question: Template
    """First message of the agent that answers the user."""
    subtask: Template
    """First message of a subagent."""
    first_turn: Template
    next_turn: Template
    last_turn: Template
    tool_message: Template
    """All results of a turn, and the hint on turns."""
    search_result: Template
    access_result: Template
    subagent_result: Template
    document: Template
    separator: str
    """Between results, and between documents."""
    no_documents: Template
    no_content: Template
    tool_error: Template
    subagent_failed: Template
    summary: Template
    """Asks the summariser about a page."""
    table_format: Template
    """How to answer with a table; fills `{{format}}` of a system prompt."""
    text_format: Template
    """How to answer with a short text."""

    def hint(self, turn: int, turns: int) -> str:
        """Which turn comes next (from 1) and how many there are."""
        template = self.next_turn
        if turn == turns:
            template = self.last_turn
        elif turn == 1:
            template = self.first_turn
        return template.fill(turn=turn, turns=turns, left=turns - turn + 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Places:
    required: frozenset[str] = frozenset()
    allowed: frozenset[str] = frozenset()


def _places(required: str = "", allowed: str = "") -> _Places:
    return _Places(required=frozenset(required.split()), allowed=frozenset(allowed.split()))


_MESSAGE_PLACES = {
    "question": _places("question", "hint"),
    "subtask": _places("subtask", "question hint"),
    "first_turn": _Places(allowed=TURN),
    "next_turn": _Places(allowed=TURN),
    "last_turn": _Places(allowed=TURN),
    "tool_message": _places("results", "hint"),
    "search_result": _places("text", "n request"),
    "access_result": _places("text", "n request"),
    "subagent_result": _places("text", "n request"),
    "document": _places("url text", "n title"),
    "separator": _places(),
    "no_documents": _places("", "query"),
    "no_content": _places("", "url"),
    "tool_error": _places("error", "request"),
    "subagent_failed": _places("", "subtask"),
    "summary": _places("text", "url info"),
    "table_format": _places(),
    "text_format": _places(),
}
_SYSTEM_PLACES = _places("", "tools format turns requests")


class _ToolText(Config):
    name: str
    description: str
    parameters: dict[str, JsonValue]
    line: str = ""
    """Stands in the prompt instead of the JSON schema."""


class _ToolTexts(Config):
    lead: tuple[_ToolText, ...]
    subagent: tuple[_ToolText, ...]
    single: tuple[_ToolText, ...]


_TOOL_NAMES = {
    "lead": {"create_sub_agents"},
    "subagent": {"search", "access"},
    "single": {"search", "access"},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RolePrompt:
    """System prompt and tools of one role."""

    system: Template
    tools: dict[str, ToolSpec]
    block: str
    """The tools as text for the system prompt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wording:
    """A prompt set in one language."""

    lead: RolePrompt
    subagent: RolePrompt
    single: RolePrompt
    messages: Messages


class PromptSet:
    """A prompt set in every language it has.

    Example: `PromptSet.load("compact").wording("en").messages.hint(2, 4)`
    """

    def __init__(self, wordings: dict[Language, Wording]) -> None:
        self._wordings = wordings

    @classmethod
    def load(cls, name: str) -> "PromptSet":
        """A built-in set (`default`, `compact`) or the set in a folder. Raises `ConfigError`."""
        folder = BUILT_IN / name
        if not (name.isidentifier() and folder.is_dir()):
            folder = Path(name)
        if not folder.is_dir():
            known = ", ".join(sorted(path.name for path in BUILT_IN.iterdir() if path.is_dir()))
            raise ConfigError(f"no prompt set {name!r}: neither a folder nor one of {known}")
        languages = cast(tuple[Language, ...], get_args(Language))
        found: dict[Language, Wording] = {
            lang: read_wording(folder / lang) for lang in languages if (folder / lang).is_dir()
        }
        if not found:
            raise ConfigError(f"{folder}: a prompt set needs a folder {' or '.join(languages)}")
        return cls(found)

    def wording(self, language: Language) -> Wording:
        """The set in `language`; in English, else in any, where it lacks that language."""
        for choice in (language, "en"):
            if choice in self._wordings:
                return self._wordings[choice]
        return next(iter(self._wordings.values()))


def read_wording(folder: Path) -> Wording:
    """The texts of one language. Raises `ConfigError` naming file, key and placeholder."""
    block_file = folder / "tools.md"
    block = Template(_read(block_file))
    block.check(str(block_file), frozenset({"tools"}), frozenset())
    tools_file = folder / "tools.yaml"
    texts = _checked(_ToolTexts, tools_file, dict(read_yaml(tools_file)))
    prompts: dict[str, RolePrompt] = {}
    for role, names in _TOOL_NAMES.items():
        tools: tuple[_ToolText, ...] = getattr(texts, role)
        if {tool.name for tool in tools} != names:
            raise ConfigError(
                f"{tools_file}: {role}: expected the tools {', '.join(sorted(names))}"
            )
        prompts[role] = _role_prompt(folder / f"{role}.md", tools, block)
    return Wording(**prompts, messages=_messages(folder / "messages.yaml"))


def _role_prompt(file: Path, tools: tuple[_ToolText, ...], block: Template) -> RolePrompt:
    system = Template(_read(file))
    system.check(str(file), _SYSTEM_PLACES.required, _SYSTEM_PLACES.allowed)
    specs = {
        tool.name: ToolSpec(
            name=tool.name, description=tool.description, parameters=tool.parameters
        )
        for tool in tools
    }
    lines = [
        tool.line or json.dumps(specs[tool.name].schema(), ensure_ascii=False) for tool in tools
    ]
    return RolePrompt(system=system, tools=specs, block=block.fill(tools="\n".join(lines)))


def _messages(file: Path) -> Messages:
    raw = read_yaml(file)
    names = [field.name for field in fields(Messages)]
    for name in raw:
        if name not in names:
            raise ConfigError(f"{file}: unknown message {name!r}")
    values: dict[str, Template | str] = {}
    for name in names:
        text: object = raw.get(name)
        if not isinstance(text, str):
            raise ConfigError(f"{file}: the message {name!r} is missing or no text")
        template = Template(text)
        places = _MESSAGE_PLACES[name]
        template.check(f"{file}: {name}", places.required, places.allowed)
        values[name] = text if name == "separator" else template
    return Messages(**values)  # pyright: ignore[reportArgumentType]


def _checked(cls: type[_ToolTexts], file: Path, raw: dict[str, object]) -> _ToolTexts:
    try:
        return validate(cls, raw)
    except ConfigError as error:
        raise ConfigError(f"{file}: {error}") from None


def _read(file: Path) -> str:
    try:
        return file.read_text("utf-8").strip()
    except FileNotFoundError:
        raise ConfigError(f"no such file: {file}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: can't be read: {error}") from None
