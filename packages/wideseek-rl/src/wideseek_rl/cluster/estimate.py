"""How much memory and time a placement takes, from the shapes of models and what was measured.

The constants are figures of docs/results: rates of one H100 with 80 GB, scaled by the number of
parameters. They are good for a plan, within some tens of percent for time, and within a tenth for
the trainer's memory.
"""

from dataclasses import dataclass
from typing import Literal

from wideseek_rl.cluster.shapes import ModelShape

GIB = 2**30
GPU_GIB = 79.1
"""Memory of a GPU that programs can use."""
PEAK_FLOPS = 989e12
"""Of a GPU, in 16 bits."""

OVERHEAD_GIB = 2.0
"""Kernels, buffers of logits and of communication."""
STATE_BYTES = 16
"""Of a trained parameter: weight and gradient, float32 master, two moments."""
MOMENT_BYTES = 8
"""Of these, the moments."""
GATHERED_BYTES = 2
"""Of a parameter whose gathered weight is kept."""
UNREDUCED_BYTES = 4
"""Of a parameter whose gradient each rank adds up before it is reduced."""
HOST_BYTES = 12
"""Of `STATE_BYTES`, master and moments, which may be kept in the memory of the host. Weights in
float32 are their own masters, and stay."""

MFU = {"torch": 0.47, "torch_sharded": 0.42, "nemo_aligner": 0.38}
"""Share of the peak that training reaches."""
SAMPLED_PER_S = 15_000.0
"""Tokens that 256 agents sample in a second on one GPU, at 1.72 billion parameters."""
SAMPLED_PARAMETERS = 1.72e9
SYNC_BYTES_PER_S = 15e9
"""Weights that reach the engines in a second, loading and verifying included."""

Recompute = Literal["none", "cheap", "mlp", "layer", "mixed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainerLoad:
    """What the memory of a rank depends on."""

    kind: Literal["torch", "nemo_aligner"]
    ranks: int
    tensor_parallel: int
    pipeline_parallel: int = 1
    distributed_optimizer: bool = False
    """Whether data-parallel ranks of NeMo-Aligner divide the moments."""
    batch_tokens: int
    """Tokens of a micro-batch."""
    recompute: Recompute
    recompute_every: float = 1.0
    """Layers of which one is recomputed, or with `mixed` computed again as a whole."""
    recompute_layers: int | None = None
    """Layers of each pipeline stage that are recomputed, where they are counted instead."""
    offload: bool = False
    float32: bool = False
    """Whether the weights are their own masters, as they always are over several ranks."""
    reference: bool = False
    """Whether a reference model is held for the KL term."""
    keep_gathered: bool = False
    """Whether ranks of the torch trainer hold all weights through an update."""
    reduce_once: bool = False
    """Whether they hold gradients of all weights, which are reduced once an update."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """GiB of one GPU."""

    weights: float
    """Weights, gradients, masters, moments, reference model."""
    rest: float
    """Activations of the trainer, or the cache of an engine."""
    host: float = 0.0
    """GiB of the host's memory for each GPU."""

    @property
    def total(self) -> float:
        """What is taken of the GPU."""
        return self.weights + self.rest + OVERHEAD_GIB


def trainer_memory(shape: ModelShape, load: TrainerLoad) -> Memory:
    """Memory of one rank of the trainer."""
    holders = load.tensor_parallel * load.pipeline_parallel
    if load.kind == "torch":
        holders = load.ranks
    state = STATE_BYTES * shape.parameters / holders
    if load.distributed_optimizer:
        state -= MOMENT_BYTES * shape.parameters * (1 / holders - 1 / load.ranks)
    host = 0.0
    if load.offload:
        moved = MOMENT_BYTES if load.float32 or load.ranks > 1 else HOST_BYTES
        host = moved * shape.parameters / holders
        state -= host
    if load.reference:
        sharded = load.kind == "nemo_aligner" or load.ranks > 1
        state += (4 if sharded else 2) * shape.parameters / holders
    if load.kind == "torch" and load.ranks > 1:
        held = GATHERED_BYTES * load.keep_gathered + UNREDUCED_BYTES * load.reduce_once
        state += held * shape.parameters
    activations = load.batch_tokens * _activation_bytes(shape, load) / load.tensor_parallel
    return Memory(weights=state / GIB, rest=activations / GIB, host=host / GIB)


def _activation_bytes(shape: ModelShape, load: TrainerLoad) -> float:
    """Of one token, kept for the backward pass, over all layers."""
    queries, keys = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    layer = 2.0 * shape.hidden
    if load.kind == "torch":  # compiled, with cheap results computed again
        mlp = 2.0 * (2 * shape.hidden + 3 * queries + 3 * keys)
        cheap = mlp + 2.0 * 2 * shape.ffn
        everything = cheap + 2.0 * (shape.ffn + 2 * shape.hidden)
    else:
        mlp = 2.0 * (4 * shape.hidden + 2 * queries + 4 * keys)
        cheap = everything = mlp + 2.0 * 3.33 * shape.ffn
    kept = {"none": everything, "cheap": cheap, "mlp": mlp, "layer": layer, "mixed": layer}
    mixed = load.recompute == "mixed"
    others = {"none": everything, "mixed": mlp}.get(load.recompute, cheap)
    part = 1 / (max(load.recompute_every, 2) if mixed else load.recompute_every)
    if load.recompute_layers is not None:
        part = min(load.recompute_layers * load.pipeline_parallel / shape.layers, 1.0)
    return shape.layers * (part * kept[load.recompute] + (1 - part) * others)


def engine_memory(shape: ModelShape, gpus: int, memory_share: float) -> Memory:
    """Memory of one GPU of a replica: the cache is what its share leaves."""
    weights = 2 * shape.parameters / max(gpus, 1) / GIB
    return Memory(weights=weights, rest=GPU_GIB * memory_share - weights - OVERHEAD_GIB)


def cached_tokens(shape: ModelShape, memory: Memory, gpus: int) -> int:
    """Tokens whose keys and values a replica holds."""
    return max(0, int(memory.rest * GIB * max(gpus, 1) / shape.cache_bytes))


@dataclass(frozen=True, slots=True, kw_only=True)
class StepLoad:
    """What one training step works through."""

    rollouts: int
    sampled: float
    """Tokens that are sampled."""
    trained: float
    """Tokens that pass through the trainer."""
    length: float
    """Mean length of the trained sequences."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTime:
    """Seconds of one step by part."""

    sample: float
    train: float
    sync: float
    overlapped: bool
    """Whether rollouts are sampled while the trainer trains."""

    @property
    def seconds(self) -> float:
        """The whole step."""
        work = max(self.sample, self.train) if self.overlapped else self.sample + self.train
        return work + self.sync


def step_time(
    shape: ModelShape,
    step: StepLoad,
    *,
    trainer: TrainerLoad,
    engine_gpus: int,
    overlapped: bool,
) -> StepTime:
    """Time of one step where trainer and engines run on GPUs."""
    kind = "torch_sharded" if trainer.kind == "torch" and trainer.ranks > 1 else trainer.kind
    rate = trainer.ranks * MFU[kind] * PEAK_FLOPS / shape.training_flops(step.length)
    sampled = engine_gpus * SAMPLED_PER_S * SAMPLED_PARAMETERS / shape.parameters
    return StepTime(
        sample=step.sampled / sampled,
        train=step.trained / rate,
        sync=2 * shape.parameters / SYNC_BYTES_PER_S,
        overlapped=overlapped,
    )
