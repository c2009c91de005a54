"""How a team works, as configuration."""

from typing import Literal

from pydantic import Field, JsonValue

from wideseek_agents.budget import BudgetConfig
from wideseek_core import Config


class AgentConfig(Config):
    """Tools and limits of one role; the class defaults are those of a subagent."""

    tools: tuple[str, ...] = ("search", "access")
    """Names of the tools the agent may call: built-in ones, or those of installed plug-ins."""
    batched: bool = True
    """Whether one call holds a list of requests (several queries, several URLs), or one request."""
    max_turns: int = Field(default=20, ge=1)
    """Maximum number of turns; the last one must be the answer."""
    requests_per_call: int = Field(default=5, ge=1)
    """Maximum number of queries, URLs or subtasks of one call; the first are kept."""
    requests_per_turn: int = Field(default=10, ge=1)
    """Maximum number of queries, URLs or subtasks of one turn, over all its calls."""
    context_tokens: int = Field(default=32_000, ge=1)
    """Context window: an agent whose conversation has grown to it ends."""
    max_question_tokens: int | None = Field(default=4096, ge=1)
    """Maximum length of the first messages, system prompt included; null for no limit of its own.
    Only policies that see token ids can check it."""
    deadline_s: float | None = Field(default=None, gt=0)
    """Time of one agent from its beginning, that of its subagents included. One that takes longer
    ends as `aborted`: a subagent gives no report, and the rollout of an answering agent fails. Its
    turns are not trained. Null for none."""
    repetition_tokens: int = Field(default=8000, ge=1)
    """Length from which a response that was cut off counts as repetition."""
    prompts: str = ""
    """Prompt set of this role; empty for the team's."""
    tool_call_format: str = "hermes"
    """Format in which the model writes tool calls: `hermes`, `qwen3_coder`, `llama`, or the name of
    an installed plug-in. Native calls of a chat endpoint need none."""


class LeadConfig(AgentConfig):
    """Tools and limits of the lead."""

    tools: tuple[str, ...] = ("create_sub_agents",)
    """Names of the tools the lead may call."""
    max_turns: int = Field(default=10, ge=1)
    """Maximum number of turns; the last one must be the answer."""
    requests_per_call: int = Field(default=10, ge=1)
    """Maximum number of subagents of one call; the first are kept."""


class SingleConfig(AgentConfig):
    """Tools and limits of the single agent."""

    batched: bool = False
    """Whether one call holds a list of requests (several queries, several URLs), or one request."""
    max_turns: int = Field(default=50, ge=1)
    """Maximum number of turns; the last one must be the answer."""
    requests_per_call: int = Field(default=1, ge=1)
    """Maximum number of queries or URLs of one call."""
    requests_per_turn: int = Field(default=1, ge=1)
    """Maximum number of queries or URLs of one turn, over all its calls."""


class TeamConfig(Config):
    """How a team works."""

    workflow: Literal["multi_agent", "single_agent"] = "multi_agent"
    """`multi_agent`: a lead with parallel subagents; `single_agent`: one agent does everything."""
    prompts: str = "default"
    """A prompt set: `default`, `compact`, an installed plug-in, or a folder that holds one."""
    lead: LeadConfig = LeadConfig()
    subagent: AgentConfig = AgentConfig()
    single: SingleConfig = SingleConfig()
    calls: Literal["report", "reference"] = "report"
    """What becomes of calls that can't be made. `report`: each is answered by an error that the
    model can act on, and what can be read without guessing is accepted. `reference`: they are
    dropped silently, a turn without any valid call is the answer, and the calls of an agent's last
    turn are made, as in WideSeek-R1."""
    coverage_audit: bool = False
    """Whether the answering agent gets its draft table back once, with the cells that are empty,
    repeated or in nothing that it has seen, to look them up within its turns and the budget. Its
    revision replaces the draft if it has the same columns, no fewer rows and fewer gaps."""
    budget: BudgetConfig = BudgetConfig()
    """What one rollout may spend, over all its agents."""
    top_k: int = Field(default=3, ge=1, le=9)
    """Documents of a search whose `count` the model leaves out."""
    max_document_chars: int = Field(default=5000, ge=1)
    """Length at which the text of a document is cut."""
    max_page_chars: int = Field(default=25_000, ge=1)
    """Length at which the text of a page is cut, before it is summarized."""
    use_access_summary: bool = False
    """Whether pages are summarized for what the agent wants to know; needs a summarizer."""
    tool_timeout_s: float = Field(default=900.0, gt=0)
    """Time after which a search or a page read has failed, its wait for a slot included. Backends
    have stricter limits of their own, which begin with the request."""
    tool_settings: dict[str, dict[str, JsonValue]] = Field(
        default_factory=dict[str, dict[str, JsonValue]]
    )
    """Settings of plug-in tools, by the tool's name."""
