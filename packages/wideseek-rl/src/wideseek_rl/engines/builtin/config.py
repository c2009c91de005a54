"""What a user can set about the in-process engine."""

from typing import Literal

from pydantic import Field

from wideseek_core.config import Config


class EngineConfig(Config):
    """Batching, memory and randomness of a `TorchEngine`."""

    max_batch: int = Field(default=64, ge=1)
    """Most requests that are decoded at once; others wait."""
    max_step_tokens: int = Field(default=1024, ge=1)
    """Most prompt tokens computed between two sampled tokens of the running requests."""
    max_context: int = Field(default=32_000, ge=2)
    """Longest prompt plus response, in tokens."""
    max_cache_tokens: int = Field(default=131_072, ge=64)
    """Tokens whose keys and values are held at once, for running and for waiting sessions."""
    share_prefixes: bool = True
    """Copy the cache of another session's equal prompt prefix instead of computing it again."""
    dtype: Literal["model", "auto", "float32", "bfloat16"] = "model"
    """Of the sampling weights; `model` takes the dtype of the model's parameters, and so does
    `auto`, but on CPUs that multiply bfloat16 natively."""
    seed: int = 0
    """With the session's name and the prompt's length, it decides every random draw."""
