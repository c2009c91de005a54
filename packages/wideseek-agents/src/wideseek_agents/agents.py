"""The kinds of agents: what each is told, which tools it has, how far it may go."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from wideseek_agents.calls import Shape
from wideseek_agents.config import Limits, TeamConfig
from wideseek_agents.prompting import Messages, PromptSet, RolePrompt, Wording
from wideseek_agents.template import Template
from wideseek_agents.tools import Delegate, Search, Spawn, Tool, Visit
from wideseek_core import PageSource, Policy, SearchBackend, Task, TextGold


@runtime_checkable
class TellsTools(Protocol):
    """A policy that may tell its model about tools by itself, beside the system prompt."""

    @property
    def native_tools(self) -> bool:
        """Whether it does."""
        ...


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
    tools: Sequence[Tool]
    limits: Limits
    messages: Messages


@dataclass(frozen=True, slots=True, kw_only=True)
class Roster:
    """Everything agents are made of."""

    config: TeamConfig
    prompts: PromptSet
    policy: Policy
    subagent_policy: Policy
    search: SearchBackend
    pages: PageSource
    summarizer: Policy | None

    def lead(self, task: Task, spawn: Spawn) -> Agent:
        """The agent that answers by delegating."""
        wording = self.prompts.wording(task.language)
        delegate = Delegate(
            spec=wording.lead.tools["create_sub_agents"],
            shape=Shape(subject="prompt", many="sub_agents"),
            messages=wording.messages,
            spawn=spawn,
        )
        limits = self.config.lead
        return Agent(
            policy=self.policy,
            system=_system(task, wording.lead, wording, self.policy, limits),
            opening=wording.messages.question,
            question=task.question,
            tools=(delegate,),
            limits=limits,
            messages=wording.messages,
        )

    def subagent(self, task: Task) -> Agent:
        """An agent for one subtask of `task`."""
        wording = self.prompts.wording(task.language)
        limits = self.config.subagent
        return Agent(
            policy=self.subagent_policy,
            system=_system(task, wording.subagent, wording, self.subagent_policy, limits),
            opening=wording.messages.subtask,
            question=task.question,
            tools=(
                self._search(wording.subagent, wording, Shape(subject="query", many="queries")),
                self._visit(wording.subagent, wording, Shape(subject="url", many="urls")),
            ),
            limits=limits,
            messages=wording.messages,
        )

    def single(self, task: Task) -> Agent:
        """The agent that does everything itself."""
        wording = self.prompts.wording(task.language)
        limits = self.config.single
        return Agent(
            policy=self.policy,
            system=_system(task, wording.single, wording, self.policy, limits),
            opening=wording.messages.question,
            question=task.question,
            tools=(
                self._search(wording.single, wording, Shape(subject="query")),
                self._visit(wording.single, wording, Shape(subject="url")),
            ),
            limits=limits,
            messages=wording.messages,
        )

    def _search(self, prompt: RolePrompt, wording: Wording, shape: Shape) -> Search:
        return Search(
            spec=prompt.tools["search"],
            shape=shape,
            messages=wording.messages,
            backend=self.search,
            top_k=self.config.top_k,
            max_document_chars=self.config.max_document_chars,
            timeout_s=self.config.tool_timeout_s,
        )

    def _visit(self, prompt: RolePrompt, wording: Wording, shape: Shape) -> Visit:
        return Visit(
            spec=prompt.tools["access"],
            shape=shape,
            messages=wording.messages,
            pages=self.pages,
            max_page_chars=self.config.max_page_chars,
            timeout_s=self.config.tool_timeout_s,
            summarizer=self.summarizer,
        )


def _system(
    task: Task, prompt: RolePrompt, wording: Wording, policy: Policy, limits: Limits
) -> str:
    """The system prompt; without the tools where the policy tells of them by itself."""
    native = isinstance(policy, TellsTools) and policy.native_tools
    messages = wording.messages
    answer = messages.text_format if isinstance(task.gold, TextGold) else messages.table_format
    return prompt.system.fill(
        tools="" if native else prompt.block,
        format=answer.fill(),
        turns=limits.turns,
        requests=limits.requests_per_call,
    ).strip()
