"""How a team works, as configuration."""

from typing import Literal

from pydantic import Field

from wideseek_core import Config


class Limits(Config):
    """How far one agent may go; the class defaults are those of a subagent."""

    turns: int = Field(default=20, ge=1)
    """Most turns; the last must be the answer."""
    requests_per_call: int = Field(default=5, ge=1)
    """Most queries, URLs or subtasks of one call; the first are kept."""
    requests_per_turn: int = Field(default=10, ge=1)
    """Most queries, URLs or subtasks of one turn, over all its calls."""
    tokens: int = Field(default=32_000, ge=1)
    """Context window: an agent whose conversation has grown to it ends."""
    repetition_tokens: int = Field(default=8000, ge=1)
    """A response that was cut off at this length or more counts as repetition."""


class LeadLimits(Limits):
    """Limits of the lead."""

    turns: int = Field(default=10, ge=1)
    """Most turns; the last must be the answer."""
    requests_per_call: int = Field(default=10, ge=1)
    """Most subagents of one call; the first are kept."""


class SingleLimits(Limits):
    """Limits of the single agent."""

    turns: int = Field(default=50, ge=1)
    """Most turns; the last must be the answer."""
    requests_per_call: int = Field(default=1, ge=1)
    """Most queries or URLs of one call."""
    requests_per_turn: int = Field(default=1, ge=1)
    """Most queries or URLs of one turn, over all its calls."""


class TeamConfig(Config):
    """How a team works."""

    workflow: Literal["mas", "sa"] = "mas"
    """`mas`: a lead with parallel subagents; `sa`: one agent that does everything itself."""
    prompts: str = "default"
    """A built-in prompt set (`default`, `compact`) or a folder that holds one."""
    lead: LeadLimits = LeadLimits()
    subagent: Limits = Limits()
    single: SingleLimits = SingleLimits()
    top_k: int = Field(default=3, ge=1, le=9)
    """Documents of a search whose `count` the model leaves out."""
    max_document_chars: int = Field(default=5000, ge=1)
    """Where the text of a document is cut."""
    max_page_chars: int = Field(default=25_000, ge=1)
    """Where the text of a page is cut, before it is summarised."""
    use_access_summary: bool = False
    """Whether pages are summarised for what the agent wants to know; needs a summariser."""
    tool_timeout_s: float = Field(default=120.0, gt=0)
    """A search or page read that takes longer has failed."""
