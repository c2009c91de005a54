"""In-process sampling: continuous batching with key-value caches that live across turns."""

from wideseek_rl.engine.config import EngineConfig
from wideseek_rl.engine.torch_engine import TorchEngine

__all__ = ["EngineConfig", "TorchEngine"]
