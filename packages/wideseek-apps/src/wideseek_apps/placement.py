"""What a placement makes of a training configuration, before anything is started."""

from typing import Any

from wideseek_apps.policy import LocalPolicy
from wideseek_apps.training_config import TrainConfig
from wideseek_apps.world import ToolsWorld
from wideseek_core import Config, ConfigError
from wideseek_core.counting import counted
from wideseek_rl import BuiltinEngineConfig, TorchTrainerConfig
from wideseek_rl.cluster.config import (
    EnginePlacement,
    PlacementConfig,
    RayPlacement,
    TrainerPlacement,
)
from wideseek_rl.engines.control.config import LaunchConfig
from wideseek_rl.engines.served_config import ServedEngineConfig
from wideseek_rl.trainers.megatron.config import NemoAlignerConfig
from wideseek_rl.trainers.remote.client import check_dtype

SHARE_OF_OWN_GPUS = 0.85
SHARE_OF_TRAINERS_GPUS = 0.4
"""Memory of a GPU that an engine takes."""


def resolved(config: TrainConfig) -> TrainConfig:
    """The configuration with engines and trainer as the placement divides them.

    Raises `ConfigError` for what can't be placed so.
    """
    placement = config.placement
    if placement is None:
        return config
    _check_world(config, placement)
    if placement.judge is not None and config.judge.kind != "llm":
        raise ConfigError(f"placement.judge: judge.kind={config.judge.kind} asks no model; set llm")
    if (judge := placement.judge) is not None:
        tensor_parallel(judge.launch, judge.gpus, "placement.judge", "placement.judge")
    engine = _engine(config.policy, placement)
    return config.model_copy(
        update={
            "policy": config.policy.model_copy(update={"engine": engine}),
            "trainer": _trainer(config.trainer, placement.trainer, config.policy.dtype),
        }
    )


def _check_world(config: TrainConfig, placement: PlacementConfig) -> None:
    if placement.retrieval is None:
        return
    world = config.world
    parts = (world.tools.search, world.tools.pages) if isinstance(world, ToolsWorld) else ()
    if [getattr(part, "kind", "") for part in parts] != ["server", "server"]:
        raise ConfigError(
            "placement.retrieval: set world.kind=tools world.tools.search.kind=server "
            "world.tools.pages.kind=server, so that the server is asked"
        )


def _trainer(config: Any, placement: TrainerPlacement, dtype: str) -> Config:
    ranks, parallel = placement.ranks, placement.tensor_parallel
    if isinstance(config, NemoAlignerConfig):
        if not ranks:
            raise ConfigError("placement.trainer.processes: NeMo-Aligner needs at least one")
        share = parallel * config.pipeline_parallel
        if ranks % share:
            raise ConfigError(
                f"placement.trainer: {counted(ranks, 'rank')} "
                f"can't be divided by tensor_parallel={parallel} "
                f"times trainer.pipeline_parallel={config.pipeline_parallel}"
            )
        update: dict[str, object] = {
            "tensor_parallel": parallel,
            "data_parallel": ranks // share,
        }
        if placement.python is not None:
            update["python"] = placement.python
        return config.model_copy(update=update)
    if isinstance(config, TorchTrainerConfig):
        if parallel > 1:
            raise ConfigError(
                f"placement.trainer.tensor_parallel={parallel}: the torch trainer shards weights "
                "over all its ranks (FSDP2) instead; set 1, or trainer.kind=nemo_aligner"
            )
        check_dtype(dtype, ranks)
        return config
    if ranks > 1:
        kind = getattr(config, "kind", "")
        raise ConfigError(f"placement.trainer: trainer.kind={kind} trains in one process")
    return config


def _engine(policy: LocalPolicy, placement: PlacementConfig) -> Config:
    engine, engines = policy.engine, placement.engines
    if isinstance(engine, BuiltinEngineConfig):
        return _builtin(engine, engines)
    if not isinstance(engine, ServedEngineConfig):  # pyright: ignore[reportUnnecessaryIsInstance]
        kind = getattr(engine, "kind", "")  # of an installed distribution
        raise ConfigError(f"placement.engines: policy.engine.kind={kind} places itself")
    if engines.colocated and not placement.trainer.gpus:
        raise ConfigError("placement.engines.colocated: the trainer has no GPUs")
    if engines.colocated and engines.gpus > placement.trainer.gpus:
        raise ConfigError(
            f"placement.engines: {counted(engines.gpus, 'GPU')} "
            "of each replica, but the trainer, whose GPUs "
            f"they are, has {placement.trainer.gpus}"
        )
    if engines.colocated and isinstance(placement, RayPlacement):
        raise ConfigError(
            "placement.engines.colocated: Ray gives each GPU to one process; set "
            "placement.kind=local, or give the engines GPUs of their own"
        )
    shared = engines.colocated or not engines.gpus
    share = engines.memory_share or (
        SHARE_OF_TRAINERS_GPUS if engines.colocated else SHARE_OF_OWN_GPUS
    )
    parallel = tensor_parallel(engine.launch, engines.gpus, "placement.engines", "policy.engine")
    launch: dict[str, object] = {"memory_share": share, "tensor_parallel": parallel}
    if engines.python is not None:
        launch["python"] = engines.python
    return engine.model_copy(
        update={
            "replicas": engines.replicas,
            "launch": engine.launch.model_copy(update=launch),
            "sync": engine.sync.model_copy(update={"transfer": "ipc" if shared else "nccl"}),
        }
    )


def tensor_parallel(launch: LaunchConfig, gpus: int, place: str, key: str) -> int:
    """GPUs that share every layer of a server, of all that it has.

    Raises `ConfigError` where the settings under `key` want others.
    """
    gpus, stages = max(gpus, 1), launch.pipeline_parallel
    if gpus % stages:
        raise ConfigError(
            f"{place}.gpus={gpus}: not divided by {key}.launch.pipeline_parallel={stages}"
        )
    given = launch.tensor_parallel if "tensor_parallel" in launch.model_fields_set else None
    if given not in (None, gpus // stages):
        raise ConfigError(
            f"{key}.launch.tensor_parallel={given}: with {place}.gpus={gpus} it is "
            f"{gpus // stages}; leave it out"
        )
    return gpus // stages


def _builtin(engine: BuiltinEngineConfig, engines: EnginePlacement) -> BuiltinEngineConfig:
    if engines.gpus or engines.base_urls:
        raise ConfigError(
            "placement.engines: the builtin engine samples in processes on the CPU; set "
            "policy.engine.kind=vllm or sglang for GPUs and for servers that run already"
        )
    return engine.model_copy(update={"processes": engines.replicas})
