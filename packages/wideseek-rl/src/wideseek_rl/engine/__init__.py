"""Sampling from a model in memory: continuous batching, and caches that live across turns."""

from wideseek_rl.engine.config import EngineConfig
from wideseek_rl.engine.replicas import ReplicatedEngine
from wideseek_rl.engine.torch_engine import TorchEngine

__all__ = ["EngineConfig", "ReplicatedEngine", "TorchEngine"]
