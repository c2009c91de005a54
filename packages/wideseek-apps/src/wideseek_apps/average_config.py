"""Configuration of `wideseek average`."""

from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from wideseek_core import Config
from wideseek_core.counting import counted


class AverageConfig(Config):
    """Adapters that were trained for one model, and where their average goes.

    What each of them changes in the weights of the model is averaged.
    """

    adapters: tuple[Path, ...] = Field(min_length=2)
    """Folders of LoRA adapters, or of checkpoints that hold one."""
    folder: Path
    """Where the average is written, replacing an adapter that is there."""
    weights: tuple[float, ...] | None = None
    """Weight of each adapter; null for the mean of them all."""
    rank: int | None = Field(default=None, ge=1)
    """Rank of the average, whose best approximation of that rank is taken; null for the largest
    rank of the adapters."""

    @model_validator(mode="after")
    def _has_a_weight_for_each(self) -> Self:
        if self.weights is not None and len(self.weights) != len(self.adapters):
            raise ValueError(
                f"{counted(len(self.weights), 'weight')} for "
                f"{counted(len(self.adapters), 'adapter')}: one is for each"
            )
        return self
