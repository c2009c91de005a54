"""Configuration of LoRA adapters; no torch is needed to read it."""

from pathlib import Path

from pydantic import Field, field_validator

from wideseek_core import Config, ConfigError

ADAPTER_CONFIG = "adapter_config.json"

LINEAR_LAYERS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
"""The linear layers of a dense decoder."""

HEADS = frozenset({"lm_head", "embed_tokens"})


class LoraConfig(Config):
    """Low-rank matrices that are trained in float32 beside frozen weights (LoRA, by PEFT)."""

    rank: int = Field(default=16, ge=1)
    """Inner size of the two matrices of each layer."""
    alpha: float = Field(default=32.0, gt=0)
    """Their product is scaled by `alpha / rank`."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Part of the inputs of the matrices that is left out during updates."""
    target_modules: tuple[str, ...] = Field(default=LINEAR_LAYERS, min_length=1)
    """Last names of the linear layers that get an adapter."""

    @field_validator("target_modules")
    @classmethod
    def _no_heads(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if heads := HEADS & set(names):
            raise ValueError(
                f"{min(heads)!r} can't have an adapter, only layers of the decoder can"
            )
        return names


def adapter_folder(path: Path, key: str = "policy.adapter") -> Path:
    """The folder of an adapter, which a checkpoint holds as `adapter/`. Raises `ConfigError`."""
    for folder in (path, path / "adapter"):
        if (folder / ADAPTER_CONFIG).is_file():
            return folder
    raise ConfigError(f"{key}: no {ADAPTER_CONFIG} in {path}")
