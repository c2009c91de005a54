"""Configuration of the builtin engine."""

from typing import Literal

from pydantic import Field

from wideseek_core.config import Config


class BuiltinEngineConfig(Config):
    """The engine of this package: small models on the CPU or on one GPU."""

    kind: Literal["builtin"] = "builtin"
    processes: int | None = Field(default=None, ge=0)
    """Processes that sample side by side, each on one core of the CPU; 0 samples in this process.
    Null for one a core, at most 8, for small models on CPUs of several cores, else 0."""
    max_batch: int = Field(default=64, ge=1)
    """Requests that are decoded at the same time; others wait."""
    max_step_tokens: int = Field(default=1024, ge=1)
    """Prompt tokens that are computed between two sampled tokens of the running requests."""
    context_tokens: int = Field(default=32_000, ge=2)
    """Longest prompt and response together."""
    max_cache_tokens: int = Field(default=131_072, ge=64)
    """Tokens whose keys and values are kept, of running requests and of idle sessions."""
    share_prefixes: bool = True
    """Use the cached prefix of another session's prompt instead of computing it again."""
    dtype: Literal["model", "auto", "float32", "bfloat16"] = "model"
    """Dtype of the sampling weights. `model` takes that of the model's parameters; so does `auto`,
    except on CPUs that multiply bfloat16 natively, where it is bfloat16."""
    seed: int = 0
    """Decides every random draw, with the seed of the request (or its session) and the length of
    the prompt."""
