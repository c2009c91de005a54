"""What the ranks of NeMo-Aligner are started with."""

from pathlib import Path

from pydantic import BaseModel

from wideseek_rl.trainers.config import LossConfig
from wideseek_rl.trainers.megatron.config import NemoAlignerConfig


class Setup(BaseModel):
    """The only argument of a rank, as JSON."""

    model: Path
    """A model folder in Hugging Face format."""
    config: NemoAlignerConfig
    loss: LossConfig
