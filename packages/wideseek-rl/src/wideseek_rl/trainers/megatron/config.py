"""How NeMo-Aligner trains, as configuration; importing it needs none of NeMo."""

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from wideseek_core import Config, ConfigError
from wideseek_core.counting import counted
from wideseek_rl.models.config import DecoderConfig
from wideseek_rl.trainers.config import LossConfig, OptimizerConfig, RatioStop
from wideseek_rl.trainers.objectives.config import check_correction

AttentionKernel = Literal["auto", "varlen", "documents"]
"""All documents in one call of FlashAttention, or one call of cuDNN's kernel each; `auto` takes the
latter on Hopper GPUs and later for heads of 64 or 128 numbers. Heads that cuDNN's kernel does not
know (more than 128 numbers, or no multiple of 8) are left to FlashAttention."""


class NemoAlignerConfig(Config):
    """Training by NeMo-Aligner on megatron-core, in one process a rank."""

    RESUMABLE_KEYS: ClassVar[frozenset[str]] = frozenset(
        {"python", "tensor_parallel", "pipeline_parallel", "data_parallel", "sequence_parallel"}
        | {"distributed_optimizer", "attention", "recompute", "recompute_layers", "logs"}
        | {"max_batch_tokens", "start_timeout_s", "update_timeout_s"}
    )
    """Keys that a resumed run may change."""

    kind: Literal["nemo_aligner"] = "nemo_aligner"
    python: Path | None = None
    """Interpreter of the environment with the extra `nemo-aligner`; null for the running one."""
    tensor_parallel: int = Field(default=1, ge=1)
    """Ranks that share each layer. Divides the heads and the key-value heads of the model."""
    pipeline_parallel: int = Field(default=1, ge=1)
    """Stages with equally many layers each; micro-batches pass through them one after another."""
    data_parallel: int = Field(default=1, ge=1)
    """Groups of such ranks, each with its share of the samples."""
    distributed_optimizer: bool = False
    """Divide Adam's moments among data-parallel ranks instead of keeping copies."""
    sequence_parallel: bool = False
    """Divide the activations between layers among tensor-parallel ranks, too."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Arithmetic of the passes; parameters and optimizer are in float32 in either case."""
    attention: AttentionKernel = "auto"
    """The kernel of core attention in half precision."""
    recompute: Literal["none", "core_attn", "mlp", "full"] = "none"
    """What the backward pass computes again to save memory: nothing, attention, the feed-forward
    block, or the whole layer."""
    recompute_layers: int | None = Field(default=None, ge=0)
    """In how many layers of each stage; null for all. The fewer, the faster and the more memory."""
    optimizer: OptimizerConfig = OptimizerConfig()
    updates_per_step: int = Field(default=1, ge=1)
    """Optimizer steps per training step; prompts are dealt among them."""
    max_batch_tokens: int = Field(default=32_000, gt=0)
    """Tokens per micro-batch; a longer sample makes one of its own."""
    recompute_logprobs: bool = False
    """Take the old log-probs from this trainer's own arithmetic instead of the sampler's."""
    max_mean_ratio: float = Field(default=5.0, gt=1)
    """Limit of the mean ratio of an update, or of a micro-batch of one data-parallel rank."""
    ratio_stop: RatioStop = "step"
    """What passing `max_mean_ratio` gives up: the update and those that follow in the step, or the
    micro-batch alone, as in the public code."""
    max_tokens: int = Field(default=32_768, ge=1)
    """Tokens of the longest sample."""
    logs: Path | None = None
    """Folder of the ranks' logs where the run has no `placement`; null for a temporary one."""
    start_timeout_s: float = Field(default=600.0, gt=0)
    """Time that the ranks may take to load the model."""
    update_timeout_s: float = Field(default=3600.0, gt=0)
    """Time that one update, or saving, may take."""

    @property
    def ranks(self) -> int:
        """Processes that train."""
        return self.tensor_parallel * self.pipeline_parallel * self.data_parallel


def check_model(shape: DecoderConfig, config: NemoAlignerConfig, loss: LossConfig) -> None:
    """Raises `ConfigError` for a model or a loss that can't be trained, or not divided so."""
    check_correction(loss, recompute_logprobs=config.recompute_logprobs)
    unsupported = {
        "a sliding window": shape.sliding_window is not None,
        "biases behind attention": shape.output_bias,
        "biases in the MLP": shape.mlp_bias,
        "YaRN": shape.rope.kind == "yarn",
        "an entropy bonus": loss.entropy > 0,
    }
    for name, present in unsupported.items():
        if present:
            raise ConfigError(f"trainer.kind=nemo_aligner can't train a model with {name}")
    ranks = config.tensor_parallel
    sizes = {
        "heads": shape.heads,
        "key-value heads": shape.kv_heads,
        "feed-forward units": shape.ffn_size,
    }
    for name, size in sizes.items():
        if size % ranks:
            raise ConfigError(f"trainer.tensor_parallel={ranks} does not divide {size} {name}")
    if shape.layers % config.pipeline_parallel:
        raise ConfigError(
            f"trainer.pipeline_parallel={config.pipeline_parallel} does not divide "
            f"{counted(shape.layers, 'layer')}"
        )
    if config.sequence_parallel and ranks == 1:
        raise ConfigError("trainer.sequence_parallel needs trainer.tensor_parallel above 1")
