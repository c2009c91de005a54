"""Sampling from a model in memory: continuous batching, and caches that live across turns."""

from wideseek_rl.engines.builtin.config import EngineConfig
from wideseek_rl.engines.builtin.engine import TorchEngine
from wideseek_rl.engines.builtin.replicas import ReplicatedEngine

__all__ = ["EngineConfig", "ReplicatedEngine", "TorchEngine"]
