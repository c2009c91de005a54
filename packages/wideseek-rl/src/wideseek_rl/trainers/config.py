"""Configuration of both training stages: optimizer, torch trainer, supervised warm-up."""

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field, NonNegativeInt, model_validator

from wideseek_core import Config
from wideseek_rl.models.lora_config import LoraConfig
from wideseek_rl.trainers.objectives.config import LossConfig as LossConfig

RatioStop = Literal["step", "micro_batch"]
"""What a mean ratio that ran away gives up."""


Beta = Annotated[float, Field(ge=0, lt=1)]


class OptimizerConfig(Config):
    """Adam with decoupled weight decay."""

    lr: float = Field(default=1e-6, gt=0)
    """Learning rate after the warm-up."""
    betas: tuple[Beta, Beta] = (0.9, 0.999)
    """Decay of the running mean and of the running square of the gradient."""
    eps: float = Field(default=1e-5, gt=0)
    """Added to the root of the running square."""
    weight_decay: float = Field(default=0.01, ge=0)
    """Weight decay of matrices; vectors (norms, biases) have none."""
    grad_clip: float = Field(default=1.0, gt=0)
    """Norm to which a larger gradient is scaled down."""
    warmup_updates: int = Field(default=0, ge=0)
    """Updates over which the learning rate rises linearly."""
    decay: Literal["constant", "linear", "cosine"] = "constant"
    """How the learning rate falls after the warm-up."""
    decay_updates: int = Field(default=1000, gt=0)
    """The update at which `linear` and `cosine` reach `final_fraction`."""
    final_fraction: float = Field(default=0.0, ge=0, le=1)
    """Share of `lr` that `linear` and `cosine` end with."""


class TorchTrainerConfig(Config):
    """Training in this process with plain torch.

    Weights in bfloat16 or float16 have float32 masters that the optimizer works on.
    """

    RESUMABLE_KEYS: ClassVar[frozenset[str]] = frozenset(
        {"threads", "max_batch_tokens", "recompute", "recompute_every", "offload", "compile"}
        | {"keep_gathered", "reduce_gradients", "attention", "max_logits"}
        | {"profile", "profile_folder"}
    )
    """Keys that a resumed run may change."""

    kind: Literal["torch"] = "torch"
    optimizer: OptimizerConfig = OptimizerConfig()
    lora: LoraConfig | None = None
    """Train low-rank adapters beside frozen weights; null trains the weights themselves."""
    updates_per_step: int = Field(default=1, ge=1)
    """Optimizer steps per training step; prompts are dealt among them."""
    max_batch_tokens: int = Field(default=32_000, gt=0)
    """Positions per micro-batch, padding included."""
    recompute_logprobs: bool = False
    """Take the old log-probs from the trainer's own forward pass instead of the sampler."""
    max_mean_ratio: float = Field(default=5.0, gt=1)
    """Limit of the mean ratio of an update, or of a micro-batch."""
    ratio_stop: RatioStop = "step"
    """What passing `max_mean_ratio` gives up: the update and those that follow in the step, or the
    micro-batch alone, as in the public code."""
    autocast: Literal["off", "bfloat16", "float16"] = "off"
    """Arithmetic of the forward and backward pass; weights stay in their own precision."""
    loss_scale: float = Field(default=65_536.0, ge=1)
    """Factor of the loss at the start where arithmetic or weights are float16; it adapts."""
    matmul: Literal["highest", "high", "medium"] = "highest"
    """Precision of float32 products during updates: `high` allows TF32 on a GPU, `medium` bfloat16
    products with sums in float32. An engine in the same process has it meanwhile, too."""
    attention: Literal["auto", "rows", "packed", "documents"] = "auto"
    """`packed` runs samples as one sequence without padding, by flex attention on a GPU;
    `documents` does too, but in half precision attends to samples one by one where none shares a
    beginning with another; `rows` pads samples of like length; `auto` packs on a GPU."""
    compile: bool | None = None
    """Compile the layers; null does on a GPU, where packed attention needs it to be fast."""
    recompute: Literal["none", "cheap", "mlp", "layer", "mixed"] = "none"
    """What the backward pass computes again instead of keeping it in memory: nothing; `cheap`
    results of compiled layers, a quarter of the memory for a hundredth of the time; feed-forward
    blocks; whole layers; or whole layers and feed-forward blocks in turn. The last three are
    `cheap` too."""
    keep_gathered: bool = False
    """Over several GPUs: weights are gathered once an update, not twice in each of its passes, and
    kept until its last backward pass. Takes the memory of the whole model in the precision of the
    passes, 2 bytes a parameter in bfloat16."""
    reduce_gradients: Literal["each_pass", "once"] = "each_pass"
    """Over several GPUs: when gradients are summed over them. `once` does it in the last backward
    pass of an update; until then each GPU adds up its own in float32, which takes 4 bytes for each
    trained parameter of the whole model. Of use where an update has several micro-batches a GPU;
    with one it changes nothing."""
    recompute_every: float = Field(default=1, ge=1)
    """`recompute` applies to every n-th layer; 2.5 is two layers of five. With `mixed` every n-th
    layer (every second one where n is below 2) is computed again as a whole, of the others the
    feed-forward block."""
    max_logits: int | None = Field(default=None, ge=1)
    """Logits held at the same time, 4 bytes each; null for what suits the device."""
    offload: bool = False
    """Keep masters and moments in the memory of the host between updates. Weights in float32, as
    they are over several GPUs, are their own masters and stay."""
    profile: tuple[NonNegativeInt, ...] = ()
    """Updates, counted from 0 over the whole run, of whose steps a torch profiler trace is written,
    with all updates of the step."""
    profile_folder: Path = Path("runs/profile")
    """Where the traces are written."""
    threads: int | None = Field(default=None, ge=1)
    """Threads of torch on the CPU; null leaves them as they are."""
    share_prefixes: bool = True
    """Run a common prefix of several samples once, where that costs less; the gradient is the
    same."""
    min_nll: float = Field(default=0.0, ge=0)
    """Samples whose trained tokens have a lower negative log-likelihood together, in nats, are left
    out. A token of probability p has a gradient of the order 1 − p, so samples of a confident agent
    teach next to nothing and cost as much as others. No effect where a KL or entropy term is on."""

    @model_validator(mode="after")
    def _dropout(self) -> "TorchTrainerConfig":
        if self.lora is not None and self.lora.dropout and self.recompute != "none":
            raise ValueError(
                f"recompute={self.recompute} would drop other inputs when it computes again: "
                "set lora.dropout=0 or recompute=none"
            )
        return self


class SFTConfig(Config):
    """The supervised stage."""

    optimizer: OptimizerConfig = OptimizerConfig(
        lr=1.5e-3,
        betas=(0.9, 0.95),
        eps=1e-8,
        weight_decay=0.02,
        warmup_updates=100,
        decay="cosine",
        final_fraction=0.02,
    )
    lora: LoraConfig | None = None
    """Train low-rank adapters beside frozen weights; null trains the weights themselves."""
    epochs: float | None = Field(default=1.0, gt=0)
    """Passes over the demonstrations; null for as many as fit into `max_seconds`."""
    max_seconds: float | None = Field(default=None, gt=0)
    """Training time. The learning rate decays over epochs or seconds, whichever end first."""
    batch_tokens: int = Field(default=65_536, gt=0)
    """Positions per batch, padding included."""
    length_multiple: int = Field(default=8, ge=1)
    """Demonstrations are padded to a multiple of this many tokens."""
    autocast: Literal["auto", "off", "bfloat16"] = "auto"
    """Arithmetic of the passes; `auto` is bfloat16 on a GPU and float32 elsewhere."""
    compile: bool = False
    """Compile the model: faster steps after a minute of compilation, for long runs on a GPU."""
    seed: int = 0
    """Seed of the order of demonstrations and batches."""
    log_every_s: float = Field(default=10.0, gt=0)
    """Seconds between progress reports."""
    save_every_s: float | None = Field(default=120.0, gt=0)
    """Seconds between saves of a run, from which it resumes after an interruption; null saves
    nothing before the end."""

    @model_validator(mode="after")
    def _ends(self) -> "SFTConfig":
        if self.epochs is None and self.max_seconds is None:
            raise ValueError("one of epochs and max_seconds must be set")
        return self
