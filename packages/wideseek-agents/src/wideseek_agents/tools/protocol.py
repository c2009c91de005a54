"""What a tool is: how it is defined, what it is made of, and how it is called."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from wideseek_agents.arguments import ArgumentSchema, Request
from wideseek_agents.config import TeamConfig
from wideseek_agents.tools.words import ToolWords
from wideseek_core import (
    Config,
    PageSource,
    Policy,
    Reply,
    SearchBackend,
    ToolError,
    ToolResult,
    ToolSpec,
    ToolUnavailable,
    Trajectory,
    WideSeekError,
)
from wideseek_core.templates import Placeholders, Template
from wideseek_core.text import one_line

logger = logging.getLogger(__name__)

_ERROR_CHARS = 300
T = TypeVar("T")

Answer = Callable[[Request], Awaitable[ToolResult]]
"""Does what is asked. A failure is raised, and becomes a text for the model."""
Spawn = Callable[[str], Awaitable[Trajectory]]
"""Runs a subagent on a subtask to its end."""
Spend = Callable[[str, Reply], float]
"""Counts a model's reply to a role, and returns what it cost."""


class NoSettings(Config):
    """Settings of a tool that has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolContext:
    """What a tool may use."""

    config: TeamConfig
    settings: Config
    """The tool's own settings, of the class in its definition."""
    words: ToolWords
    """The tool's texts in the language of the task."""
    separator: str
    """Stands between the parts of a long result."""
    search: SearchBackend
    pages: PageSource
    spawn: Spawn
    spend: Spend
    """To be called for each reply of a model that the tool asks."""
    summarizer: Policy | None = None
    """A model that summarizes pages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolDefinition:
    """A tool that configurations can name."""

    name: str
    schema: ArgumentSchema
    words: Path
    """The folder of its texts: one `LANGUAGE.yaml` for each language, `en.yaml` at least."""
    messages: Mapping[str, Placeholders]
    """The messages that each language has, with their places. `result` lays out a result and has
    places for its number `n`, its `request` and its `text`."""
    open: Callable[[ToolContext], Answer]
    settings: type[Config] = NoSettings
    """The class that `team.tool_settings` of this tool are read into."""
    failures: type[Exception] | tuple[type[Exception], ...] = Exception
    """Exceptions that are failures of the tool and become a text for the model. Others end the
    rollout: they are those of agents or bugs of our own below the tool."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentTool:
    """A tool that an agent can call."""

    spec: ToolSpec
    """The tool as the model sees it."""
    usage: str
    """The tool in one line: as the prompt set words it, or its JSON schema."""
    schema: ArgumentSchema
    layout: Template
    """How one result is shown, with the request it answers."""
    answer: Answer
    failures: type[Exception] | tuple[type[Exception], ...] = field(default=Exception)


async def call_tool(tool: AgentTool, request: Request, error_text: Template) -> ToolResult:
    """The tool's answer; its failure becomes a text that the model can read.

    The caller fills in the name of the tool and the times.
    """
    name = tool.spec.name
    try:
        return await tool.answer(request)
    except tool.failures as error:
        problem = str(error) if isinstance(error, ToolError) else ""
        if not isinstance(error, WideSeekError):
            # Backends, page sources and plug-ins may be anybody's code, and raise anything.
            logger.warning("tool %s failed on %r", name, request.subject, exc_info=True)
        problem = one_line(problem or type(error).__name__)[:_ERROR_CHARS]
    text = error_text.fill(request=request.subject, error=problem)
    return ToolResult(request=request.subject, text=text, ok=False)


async def within(seconds: float, job: Awaitable[T]) -> T:
    """What `job` gives. Raises `ToolUnavailable` if it takes longer."""
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            return await job
    except TimeoutError:
        raise ToolUnavailable(f"no answer within {seconds:g} s") from None
