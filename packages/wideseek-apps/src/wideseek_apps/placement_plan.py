"""What `wideseek train --dry-run` shows of a placement: processes, memory, time, what lacks."""

import math
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from wideseek_apps.placement import resolved
from wideseek_apps.profiles import local_folder
from wideseek_apps.served_engine import server_command, server_placement, server_port
from wideseek_apps.services import judge_command, serve_command
from wideseek_apps.training_config import TrainConfig, check_train
from wideseek_core import ConfigError
from wideseek_core.counting import counted
from wideseek_core.shown_settings import hide_options
from wideseek_rl.cluster.config import PlacementConfig, RayPlacement
from wideseek_rl.cluster.estimate import (
    GPU_GIB,
    Memory,
    Recompute,
    StepLoad,
    TrainerLoad,
    cached_tokens,
    engine_memory,
    step_time,
    trainer_memory,
)
from wideseek_rl.cluster.local import visible_gpus
from wideseek_rl.cluster.plan import PlannedProcess, plan
from wideseek_rl.cluster.shapes import ModelShape, shape_of
from wideseek_rl.engines.served_config import ServedEngineConfig
from wideseek_rl.models import smollm2

RECOMPUTE: dict[str, Recompute] = {
    "cheap": "cheap",
    "mlp": "mlp",
    "layer": "layer",
    "mixed": "mixed",
    "full": "layer",
    "core_attn": "mlp",
}
"""What the trainers' settings mean for memory; those of NeMo-Aligner are the last two."""

PORT = 0
"""A free port, which is chosen when the process starts."""


def placement_text(config: TrainConfig) -> str:
    """The plan of a configuration with a placement, as lines of a YAML comment.

    Raises `ConfigError` for what can't be placed so on any hosts.
    """
    placement = config.placement
    assert placement is not None
    config = resolved(config)
    gpus = planned_gpus(placement)
    processes = plan(placement, gpus)
    lines = [
        *_processes(config, placement, processes),
        *_estimates(config, placement),
        *_missing(config, placement),
    ]
    return "\n".join(f"# {line}".rstrip() for line in lines)


def planned_gpus(placement: PlacementConfig) -> tuple[int, ...]:
    """GPUs of a host that the plan assumes: those that are here if they suffice."""
    if isinstance(placement, RayPlacement):
        return tuple(range(placement.gpus_per_node))
    here = visible_gpus()
    return here if len(here) >= placement.gpus else tuple(range(placement.gpus))


def _processes(
    config: TrainConfig, placement: PlacementConfig, processes: Sequence[PlannedProcess]
) -> Iterator[str]:
    nodes = len({process.node for process in processes})
    kind = "Ray" if isinstance(placement, RayPlacement) else "this host"
    counts = (placement.gpus, "GPU"), (len(processes), "process"), (nodes, "node")
    yield f"Placement: {', '.join(counted(*pair) for pair in counts)} ({kind})."
    for process in processes:
        where = f"node {process.node}"
        if process.gpus:
            where += f", GPU {','.join(map(str, process.gpus))}"
        yield f"{process.name} ({where}):"
        yield f"  {_command(config, placement, process)}"
    yield f"Logs: {config.folder}/logs/NAME.log. Port 0 is one that is free when it starts."


def _shown(command: Sequence[str]) -> str:
    """A command line as a shell takes it, without the secrets in it."""
    return shlex.join(map(str, hide_options(command)))


def _command(config: TrainConfig, placement: PlacementConfig, process: PlannedProcess) -> str:
    role, number = process.name.rsplit("-", 1)
    log = config.folder / "logs" / f"{process.name}.log"
    engine = config.policy.engine
    if role == "trainer":
        module = "remote.torch_ranks"
        if getattr(config.trainer, "kind", "") == "nemo_aligner":
            module = "megatron.ranks"
        python = placement.trainer.python or "python"
        ranks = f"RANK={number} WORLD_SIZE={placement.trainer.ranks}"
        return f"{ranks} {python} -m wideseek_rl.trainers.{module} SETUP"
    if role == "judge":
        assert placement.judge is not None
        devices = process.gpus or None
        return _shown(judge_command(placement.judge, "", port=PORT, log=log, devices=devices))
    if role == "retrieval":
        assert placement.retrieval is not None
        return _shown(serve_command(placement.retrieval, "127.0.0.1", PORT))
    if isinstance(engine, ServedEngineConfig):
        port = server_port(engine, int(number))
        place = server_placement(engine, _model_folder(config), int(number), port=port, log=log)
        place = place.model_copy(update={"devices": process.gpus or None})
        return _shown(server_command(engine, place, installed=False))
    return "python -m wideseek_rl.engines.builtin.worker"


def _model_folder(config: TrainConfig) -> Path:
    """Where the model is; where there is an adapter, servers get a copy that it is merged into."""
    model = config.policy.model
    return smollm2.base_folder() if model == smollm2.NAME else local_folder(model)


def trainer_load(config: TrainConfig, placement: PlacementConfig) -> TrainerLoad:
    """What the memory of the trainer depends on."""
    trainer = config.trainer
    recompute: str = getattr(trainer, "recompute", "none")
    return TrainerLoad(
        kind="nemo_aligner" if getattr(trainer, "kind", "") == "nemo_aligner" else "torch",
        ranks=placement.trainer.ranks or 1,
        tensor_parallel=placement.trainer.tensor_parallel,
        pipeline_parallel=getattr(trainer, "pipeline_parallel", 1),
        distributed_optimizer=getattr(trainer, "distributed_optimizer", False),
        batch_tokens=getattr(trainer, "max_batch_tokens", 0),
        recompute=RECOMPUTE.get(recompute, "none"),
        recompute_every=getattr(trainer, "recompute_every", 1),
        recompute_layers=getattr(trainer, "recompute_layers", None),
        offload=getattr(trainer, "offload", False),
        float32=config.policy.dtype == "float32",
        reference=config.rl.loss.kl > 0,
        keep_gathered=getattr(trainer, "keep_gathered", False),
        reduce_once=getattr(trainer, "reduce_gradients", "each_pass") == "once",
    )


def step_load(config: TrainConfig, placement: PlacementConfig) -> StepLoad:
    """What one step works through, by the expected workload."""
    rollouts = config.rl.prompts_per_step * config.rl.group_size
    workload = placement.workload
    agents = 1.0 if config.team.workflow == "single_agent" else workload.agents
    return StepLoad(
        rollouts=rollouts,
        sampled=rollouts * agents * workload.sampled_tokens,
        trained=rollouts * agents * workload.trained_tokens,
        length=float(workload.trained_tokens),
    )


def steps_of(config: TrainConfig, placement: PlacementConfig) -> int:
    """Steps of the run."""
    made = config.rl.epochs * placement.workload.prompts // config.rl.prompts_per_step
    return config.rl.steps or max(1, made)


def _estimates(config: TrainConfig, placement: PlacementConfig) -> Iterator[str]:
    step = step_load(config, placement)
    yield (
        f"A step: {counted(step.rollouts, 'rollout', form=',')} "
        f"({counted(config.rl.prompts_per_step, 'prompt')} x "
        f"{config.rl.group_size}), about {step.sampled / 1e6:,.1f} M tokens sampled and "
        f"{step.trained / 1e6:,.1f} M trained (placement.workload)."
    )
    if (limit := config.rl.max_seconds) is not None:
        yield f"The run ends after {limit:g} s of training at the latest (rl.max_seconds)."
    shape = shape_of(_model_folder(config))
    if shape is None:
        yield f"No estimate of memory and time: the shape of {config.policy.model} is not known."
        return
    size, unit = (1e9, "billion") if shape.parameters >= 1e8 else (1e6, "million")
    yield f"Model: {shape.parameters / size:.2f} {unit} parameters."
    if placement.trainer.gpus:
        yield from _memory(config, placement, shape)
        yield from _time(config, placement, shape, step)


def _memory(config: TrainConfig, placement: PlacementConfig, shape: ModelShape) -> Iterator[str]:
    trainer = trainer_memory(shape, trainer_load(config, placement))
    yield f"Memory of a trainer's GPU: {_gib(trainer, 'activations')}"
    if trainer.host:
        yield f"  and {trainer.host:.0f} GiB of the host's memory for each rank"
    engine = config.policy.engine
    taken = trainer.total
    if isinstance(engine, ServedEngineConfig) and not placement.engines.base_urls:
        gpus, share = placement.engines.gpus, engine.launch.memory_share
        memory = engine_memory(shape, gpus, share)
        tokens = cached_tokens(shape, memory, gpus)
        yield f"Memory of an engine's GPU: {_gib(memory, 'cache')}"
        yield f"  A replica holds keys and values of {tokens:,} tokens."
        if placement.engines.colocated:
            # Replicas go round the trainer's GPUs: the first has as many as any other.
            taken += memory.total * math.ceil(_replica_gpus(placement) / placement.trainer.gpus)
    if taken > GPU_GIB:
        yield f"WARNING: {taken:.0f} GiB do not fit a GPU of {GPU_GIB:.0f} GiB."


def _replica_gpus(placement: PlacementConfig) -> int:
    """GPUs of all replicas, each counted once for every replica on it."""
    engines = placement.engines
    return (len(engines.base_urls) or engines.replicas) * max(engines.gpus, 1)


def _gib(memory: Memory, rest: str) -> str:
    parts = f"weights {memory.weights:.1f}, {rest} {memory.rest:.1f}"
    return f"{memory.total:.0f} of {GPU_GIB:.0f} GiB ({parts})"


def _time(
    config: TrainConfig, placement: PlacementConfig, shape: ModelShape, step: StepLoad
) -> Iterator[str]:
    engines, gpus = placement.engines, _replica_gpus(placement)
    time = step_time(
        shape,
        step,
        trainer=trainer_load(config, placement),
        engine_gpus=min(gpus, placement.trainer.gpus) if engines.colocated else gpus,
        overlapped=config.rl.schedule.kind == "async" and not engines.colocated,
    )
    steps = steps_of(config, placement)
    hours = steps * time.seconds / 3600
    yield (
        f"Time of a step, from rates measured on H100: sampling {time.sample:,.0f} s, training "
        f"{time.train:,.0f} s{' at the same time' if time.overlapped else ''}, "
        f"sync {time.sync:.1f} s. Waiting for tools and judge comes on top."
    )
    yield (
        f"The run: {counted(steps, 'step')}, {hours:,.1f} hours, "
        f"{counted(round(hours * placement.gpus), 'GPU hour', form=',')}."
    )


def _missing(config: TrainConfig, placement: PlacementConfig) -> Iterator[str]:
    """What has to be there before the run can start here."""
    problems: list[str] = []
    try:
        check_train(config)
    except ConfigError as error:
        problems.append(str(error))
    judge = placement.judge
    if judge is not None and not judge.model.is_dir():
        problems.append(f"placement.judge.model: no such folder: {judge.model}")
    if not isinstance(placement, RayPlacement) and (here := len(visible_gpus())) < placement.gpus:
        problems.append(f"placement: {counted(placement.gpus, 'GPU')} wanted, this host has {here}")
    if problems:
        yield "Missing here:"
        yield from (f"  {problem}" for problem in problems)
