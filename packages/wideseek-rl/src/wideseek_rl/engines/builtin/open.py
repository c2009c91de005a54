"""Opens the builtin engine: in this process, or as replicas on the cores of the CPU."""

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial

from wideseek_core import ConfigError
from wideseek_rl.engines.builtin.config import BuiltinEngineConfig
from wideseek_rl.engines.builtin.engine import TorchEngine
from wideseek_rl.engines.builtin.replicas import ReplicatedEngine, started_worker
from wideseek_rl.engines.hosts import EngineHosts
from wideseek_rl.models.decoder import Decoder
from wideseek_rl.models.policy import PolicyModel

MAX_REPLICATED_PARAMETERS = 50_000_000
"""Parameters up to which a model is replicated by default: its products are too small to share
among cores."""

MAX_REPLICAS = 8


@asynccontextmanager
async def open_builtin(
    config: BuiltinEngineConfig, model: PolicyModel, hosts: EngineHosts | None = None
) -> AsyncGenerator[TorchEngine | ReplicatedEngine]:
    """The engine over the module of a model. Raises `ConfigError`."""
    module = model.module
    if not isinstance(module, Decoder):
        raise ConfigError(
            f"engine.kind: the builtin engine can't sample the model in {model.folder}, which only "
            "transformers computes; take another engine"
        )
    if processes := replica_count(config, module):
        start = None if hosts is None else partial(started_worker, hosts.launcher)
        async with ReplicatedEngine(module, config, processes=processes, start=start) as engine:
            yield engine
    else:
        yield TorchEngine(module, config)


def replica_count(
    config: BuiltinEngineConfig,
    module: Decoder,
    *,
    max_parameters: int = MAX_REPLICATED_PARAMETERS,
) -> int:
    """How many processes sample beside this one. Raises `ConfigError`."""
    on_cpu = module.output_weight.device.type == "cpu"
    if config.processes is not None:
        if config.processes and not on_cpu:
            raise ConfigError("engine.processes: a model on a GPU is sampled in this process: 0")
        return config.processes
    # Only Linux tells which cores this process may use.
    usable = getattr(os, "sched_getaffinity", None)
    cores = len(usable(0)) if usable else os.cpu_count() or 1
    parameters = sum(parameter.numel() for parameter in module.parameters())
    small = parameters <= max_parameters
    return min(cores, MAX_REPLICAS) if on_cpu and small and cores > 1 else 0
