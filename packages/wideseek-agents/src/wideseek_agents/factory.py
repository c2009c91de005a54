"""Makes the agents of a team: what each is asked, which tools it has, how far it may go."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from wideseek_agents.config import AgentConfig, TeamConfig
from wideseek_agents.parsers import ToolCallParser, parser_named
from wideseek_agents.prompts import LocalizedPrompts, Messages, PromptSet
from wideseek_agents.tools import (
    AgentTool,
    NoSettings,
    Spawn,
    Spend,
    ToolContext,
    ToolDefinition,
    tool_named,
)
from wideseek_core import (
    AgentRole,
    Config,
    ConfigError,
    PageSource,
    Policy,
    SearchBackend,
    Task,
    TextGold,
)
from wideseek_core.config import validate
from wideseek_core.templates import Template


@runtime_checkable
class SendsTools(Protocol):
    """A policy that may describe the tools to its model itself, beside the system prompt."""

    @property
    def native_tools(self) -> bool:
        """Whether it does."""
        ...


def sends_tools(policy: Policy) -> bool:
    """Whether a policy describes the tools to its model itself."""
    return isinstance(policy, SendsTools) and policy.native_tools


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """An agent ready to run."""

    policy: Policy
    system: str
    """The system prompt; none if empty."""
    opening: Template
    """Lays out the first message from `question`, its own prompt (`subtask`) and `hint`."""
    question: str
    """The user's question."""
    tools: Sequence[AgentTool]
    limits: AgentConfig
    messages: Messages
    parser: ToolCallParser
    lenient: bool
    """Whether calls that can't be made are reported to the model, and read leniently."""
    audits: bool
    """Whether its first draft of a table is sent back once with what it lacks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What a rollout does for the tools of an agent."""

    spawn: Spawn
    spend: Spend


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentFactory:
    """Everything agents are made of."""

    config: TeamConfig
    policy: Policy
    subagent_policy: Policy
    search: SearchBackend
    pages: PageSource
    summarizer: Policy | None
    prompts: Mapping[AgentRole, PromptSet]
    native: tuple[Policy, ...] = ()
    """The policies that describe the tools themselves; see `sends_tools`."""

    def __post_init__(self) -> None:
        """Raises `ConfigError` for a tool or a format of calls that is not there."""
        for role in ("lead", "subagent", "single"):
            limits: AgentConfig = getattr(self.config, role)
            for name in limits.tools:
                definition = tool_named(name, f"team.{role}.tools")
                self._settings(definition)
            parser_named(self._format(limits))

    def lead(self, task: Task, services: Services) -> Agent:
        """The agent that answers by delegating."""
        return self._agent("lead", task, self.policy, self.config.lead, services)

    def subagent(self, task: Task, services: Services) -> Agent:
        """An agent for one subtask of `task`."""
        return self._agent("subagent", task, self.subagent_policy, self.config.subagent, services)

    def single(self, task: Task, services: Services) -> Agent:
        """The agent that does everything itself."""
        return self._agent("single", task, self.policy, self.config.single, services)

    def _agent(
        self, role: AgentRole, task: Task, policy: Policy, limits: AgentConfig, services: Services
    ) -> Agent:
        prompts = self.prompts[role].localized(task.language)
        messages = prompts.messages
        parser = parser_named(self._format(limits))
        tools = tuple(
            self._tool(tool_named(name, f"team.{role}.tools"), prompts, limits, services)
            for name in limits.tools
        )
        native = policy in self.native
        block = "" if native else _tools_block(tools, prompts, parser)
        return Agent(
            policy=policy,
            system=_system(prompts.systems[role], task, block, messages, limits),
            opening=messages.subtask if role == "subagent" else messages.question,
            question=task.question,
            tools=tools,
            limits=limits,
            messages=messages,
            parser=parser,
            lenient=self.config.calls == "report",
            audits=self.config.coverage_audit and role != "subagent",
        )

    def _format(self, limits: AgentConfig) -> str:
        """The name of the parser; the reference's rule needs the strict one."""
        strict = self.config.calls == "reference" and limits.tool_call_format == "hermes"
        return "hermes_strict" if strict else limits.tool_call_format

    def _tool(
        self,
        definition: ToolDefinition,
        prompts: LocalizedPrompts,
        limits: AgentConfig,
        services: Services,
    ) -> AgentTool:
        tool = prompts.tool(definition, batched=limits.batched)
        context = ToolContext(
            config=self.config,
            settings=self._settings(definition),
            words=tool.words,
            separator=prompts.messages.separator,
            search=self.search,
            pages=self.pages,
            spawn=services.spawn,
            spend=services.spend,
            summarizer=self.summarizer,
        )
        return AgentTool(
            spec=tool.spec,
            usage=tool.usage,
            schema=tool.schema,
            layout=tool.words["result"],
            answer=definition.open(context),
            failures=definition.failures,
        )

    def _settings(self, definition: ToolDefinition) -> Config:
        if definition.settings is NoSettings and definition.name not in self.config.tool_settings:
            return NoSettings()  # every agent has tools, few of them have settings
        try:
            return validate(
                definition.settings, dict(self.config.tool_settings.get(definition.name, {}))
            )
        except ConfigError as error:
            raise ConfigError(f"team.tool_settings.{definition.name}: {error}") from None


def _tools_block(
    tools: Sequence[AgentTool], prompts: LocalizedPrompts, parser: ToolCallParser
) -> str:
    """The part of a system prompt that names the tools and says how to call them."""
    block = Template(parser.instructions) if parser.instructions else prompts.tools_block
    return block.fill(tools="\n".join(tool.usage for tool in tools)) if tools else ""


def _system(
    template: Template, task: Task, block: str, messages: Messages, limits: AgentConfig
) -> str:
    answer = messages.text_format if isinstance(task.gold, TextGold) else messages.table_format
    return template.fill(
        tools=block,
        format=answer.fill(),
        turns=limits.max_turns,
        requests_per_call=min(limits.requests_per_call, limits.requests_per_turn),
        requests_per_turn=limits.requests_per_turn,
    ).strip()
