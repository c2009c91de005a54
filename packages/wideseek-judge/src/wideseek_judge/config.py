"""What a judge is made of: who decides, by which rules, and how an endpoint is asked."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from wideseek_core.config import Config, cache_folder


class EndpointConfig(Config):
    """An OpenAI-compatible chat endpoint."""

    base_url: str = "http://127.0.0.1:30000/v1"
    """Everything before `/chat/completions`."""
    model: str = "Qwen3-30B-A3B-Instruct-2507"
    api_key_env: str = "WIDESEEK_JUDGE_API_KEY"
    """Environment variable that holds the key; unset or empty means no key."""
    max_tokens: int = Field(default=4096, ge=16)
    """Most tokens of one reply."""
    timeout_s: float = Field(default=120.0, gt=0)
    max_attempts: int = Field(default=4, ge=1)
    """Tries of one request when it times out, is refused for now (429) or fails (5xx)."""
    backoff_s: float = Field(default=1.0, ge=0)
    """Wait before the second try; doubles with each further one."""
    max_concurrent: int = Field(default=32, ge=1)
    """Most requests in flight."""
    requests_per_minute: float | None = Field(default=None, gt=0)
    """Pace of requests; null for none."""


class JudgeConfig(Config):
    """Who judges, and by which rules."""

    kind: Literal["normalized", "exact", "llm"] = "normalized"
    """`normalized`: offline, equal after tidying text, numbers and dates. `exact`: offline, equal
    strings. `llm`: a language model decides what those can't."""
    mode: Literal["official", "strict", "reward"] = "strict"
    """`official`: WideSearch's evaluator, quirks included (needs the extra `official`).
    `strict`: the same metrics with the quirks repaired. `reward`: the training rule."""
    extract: tuple[Literal["boxed", "tag", "whole"], ...] = ("boxed",)
    """Where a short answer is looked for, in this order: the last `\\boxed{}`, the last
    `<answer>` tag, the whole text."""
    endpoint: EndpointConfig = EndpointConfig()
    """Only for `llm`."""
    max_parse_attempts: int = Field(default=3, ge=1)
    """Questions put to the model until a reply can be read."""
    skip_certain: bool = True
    """Ask the model only where tidied values neither surely agree nor surely differ."""
    batching: Literal["shared", "table", "column"] = "shared"
    """What shares a request: open cells of all answers judged at the same time, of one table, or
    of one column (as the official evaluator does)."""
    max_batch_items: int = Field(default=100, ge=1)
    """Most cells in one request."""
    batch_window_s: float = Field(default=0.05, ge=0)
    """How long cells wait for those of other answers, with shared requests."""
    cache: Path | None = Field(default_factory=lambda: cache_folder() / "judge")
    """Folder of the verdicts of language models, shared by runs; null for none."""
    transcripts: Path | None = None
    """A jsonl file to which every exchange with the model is appended; null for none."""
