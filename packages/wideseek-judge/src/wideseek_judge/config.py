"""What a judge is made of: who decides, by which rules, and how an endpoint is asked."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from wideseek_core.config import Config, cache_folder
from wideseek_core.endpoint import EndpointConfig
from wideseek_core.usage import Price


class JudgeEndpointConfig(EndpointConfig):
    """An OpenAI-compatible chat endpoint."""

    base_url: str = "http://127.0.0.1:30000/v1"
    """Everything before `/chat/completions`."""
    model: str = "Qwen3-30B-A3B-Instruct-2507"
    """Name of the model, as the endpoint knows it."""
    api_key_env: str = "WIDESEEK_JUDGE_API_KEY"
    """Environment variable that holds the key; unset or empty means no key."""
    max_concurrent: int = Field(default=32, ge=1)
    """Requests in flight at once."""
    max_attempts: int = Field(default=4, ge=1)
    """Attempts of one request that times out, is refused for now (429) or fails (5xx)."""
    timeout_s: float = Field(default=120.0, gt=0)
    """Timeout of one attempt."""
    deadline_s: float = Field(default=600.0, gt=0)
    """Timeout of one request with all its attempts and pauses, from when it starts."""
    max_tokens: int = Field(default=4096, ge=16)
    """Token limit of one reply, what the model thinks included."""
    structured_output: bool = True
    """Ask for replies by a JSON schema (`response_format`); a server that refuses schemas is asked
    without."""


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
    endpoint: JudgeEndpointConfig = JudgeEndpointConfig()
    """Only for `llm`."""
    price: Price = Price()
    """What the judging model costs; see `team.budget.prices` for those of the agents."""
    max_parse_attempts: int = Field(default=3, ge=1)
    """Replies asked for until one can be read."""
    skip_certain: bool = True
    """Ask the model only where tidied values neither surely agree nor surely differ."""
    batching: Literal["table", "column", "shared"] = "table"
    """What shares a request: the open cells of one table, of one column (as the official evaluator
    does), or of all answers judged at the same time. `shared` costs the fewest requests, but the
    text of one answer may then influence the verdict on another."""
    max_batch_items: int = Field(default=100, ge=1)
    """Maximum number of cells in one request."""
    batch_window_s: float = Field(default=0.05, ge=0)
    """How long cells wait for those of other answers, with `batching: shared`."""
    cache: Path | None = Field(default_factory=lambda: cache_folder() / "judge")
    """Folder of the verdicts of language models, shared by runs; null for none."""
    transcripts: Path | None = None
    """A JSONL file to which every exchange with the model is appended; null for none."""
