"""Configuration of a training run; no torch is needed to read it.

Algorithm, engine, trainer, schedule and loggers are distinguished by their `kind`. Installed
distributions add kinds (see the `open.py` files), so this module is imported after all that they
may want to import from here.
"""

from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, model_validator

from wideseek_core import Config
from wideseek_core.plugins import kind_union
from wideseek_rl.algorithm.best_of_group import BestOfGroupConfig
from wideseek_rl.algorithm.credit import BUILTIN_RULES
from wideseek_rl.algorithm.group_relative import GroupRelativeConfig
from wideseek_rl.algorithm.open import ALGORITHMS
from wideseek_rl.engines.builtin.config import BuiltinEngineConfig
from wideseek_rl.engines.open import ENGINES
from wideseek_rl.engines.served_config import SglangEngineConfig, VllmEngineConfig
from wideseek_rl.loop.loggers.mlflow import MLflowConfig
from wideseek_rl.loop.loggers.open import METRIC_LOGGERS
from wideseek_rl.loop.loggers.swanlab import SwanLabConfig
from wideseek_rl.loop.loggers.tensorboard import TensorBoardConfig
from wideseek_rl.loop.loggers.wandb import WandbConfig
from wideseek_rl.rollout.schedule_config import (
    SCHEDULES,
    AsyncScheduleConfig,
    DynamicScheduleConfig,
    SyncScheduleConfig,
    TailScheduleConfig,
)
from wideseek_rl.trainers.config import LossConfig, TorchTrainerConfig
from wideseek_rl.trainers.megatron.config import NemoAlignerConfig
from wideseek_rl.trainers.open import TRAINERS

if TYPE_CHECKING:
    AlgorithmConfig = GroupRelativeConfig | BestOfGroupConfig
    EngineConfig = BuiltinEngineConfig | VllmEngineConfig | SglangEngineConfig
    TrainerConfig = TorchTrainerConfig | NemoAlignerConfig
    ScheduleConfig = (
        SyncScheduleConfig | DynamicScheduleConfig | TailScheduleConfig | AsyncScheduleConfig
    )
    LoggerConfig = TensorBoardConfig | WandbConfig | MLflowConfig | SwanLabConfig
else:
    AlgorithmConfig = kind_union(ALGORITHMS, GroupRelativeConfig, BestOfGroupConfig)
    EngineConfig = kind_union(
        ENGINES, BuiltinEngineConfig, VllmEngineConfig, SglangEngineConfig, default="builtin"
    )
    TrainerConfig = kind_union(TRAINERS, TorchTrainerConfig, NemoAlignerConfig)
    ScheduleConfig = kind_union(
        SCHEDULES,
        SyncScheduleConfig,
        DynamicScheduleConfig,
        TailScheduleConfig,
        AsyncScheduleConfig,
    )
    LoggerConfig = kind_union(
        METRIC_LOGGERS, TensorBoardConfig, WandbConfig, MLflowConfig, SwanLabConfig
    )


class CheckpointConfig(Config):
    """When a run is saved."""

    every_steps: int = Field(default=30, ge=1)
    """Steps between checkpoints; the last step is always saved."""
    keep_last: int = Field(default=2, ge=1)
    """Older checkpoints are deleted; the best one is kept beside them."""
    best_metric: str | None = "item_f1"
    """The evaluation metric whose highest value names the best checkpoint; null keeps none. A
    metric of several evaluation sets counts with its mean over them, `SET/METRIC` with one."""


class StopConfig(Config):
    """Signs of collapse that end a run. Null for none of the kind.

    A run that is ended so keeps its best checkpoint, trains no further when it is resumed with the
    same rule, and says why.
    """

    min_entropy: float | None = Field(default=None, gt=0)
    """Entropy of the trained tokens, in nats, that is too low: nothing is explored any more."""
    max_entropy: float | None = Field(default=None, gt=0)
    """Entropy that is too high: the policy is falling apart."""
    max_ratio: float | None = Field(default=None, gt=1)
    """Mean of π/π_old over the trained tokens that is too high."""
    max_repetition: float | None = Field(default=None, ge=0, lt=1)
    """Share of agents that ended by repetition that is too high."""
    min_valid: float | None = Field(default=None, gt=0, le=1)
    """Share of rollouts with an answer of valid form that is too low."""
    steps: int = Field(default=3, ge=1)
    """Steps in a row that must be so."""

    @model_validator(mode="after")
    def _leaves_a_range(self) -> Self:
        low, high = self.min_entropy, self.max_entropy
        if low is not None and high is not None and low >= high:
            raise ValueError(f"min_entropy={low:g} must be lower than max_entropy={high:g}")
        return self


class RLConfig(Config):
    """Reinforcement learning, whatever trainer and engine do it."""

    algorithm: AlgorithmConfig = GroupRelativeConfig()
    loss: LossConfig = LossConfig()
    schedule: ScheduleConfig = SyncScheduleConfig()
    """When rollouts are sampled and when they are trained on."""
    prompts_per_step: int = Field(default=128, ge=1)
    """Prompts whose rollouts make one step."""
    group_size: int = Field(default=8, ge=1)
    """Rollouts of each prompt. An algorithm that compares them needs two or more."""
    max_concurrent_rollouts: int = Field(default=64, ge=1)
    """Rollouts that run at the same time."""
    on_duplicates: Literal["end", "warn"] = "end"
    """What happens when rollouts of a prompt begin with the same tokens more often than the
    log-probabilities allow, so that the engine can't have sampled each for itself."""
    rollout_deadline_s: float | None = Field(default=None, gt=0)
    """Time of one rollout from its beginning; one that takes longer fails, and its group trains
    without it. Null for none."""
    group_deadline_s: float | None = Field(default=None, gt=0)
    """Time of all rollouts of a prompt from the beginning of the first; null for none."""
    epochs: int = Field(default=1, ge=1)
    """Passes over the prompts, where `steps` is null."""
    steps: int | None = Field(default=None, ge=1)
    """Training steps; null for as many as `epochs` make."""
    max_seconds: float | None = Field(default=None, gt=0)
    """No step is begun after this much training time, resumed runs counted together."""
    seed: int = 0
    """Seed of the order of the prompts and of the rollouts."""
    evaluate_every: int = Field(default=0, ge=0)
    """Steps between evaluations, the last step included; 0 for none."""
    stop: StopConfig = StopConfig()
    """When to give up."""
    checkpoint: CheckpointConfig = CheckpointConfig()
    loggers: tuple[LoggerConfig, ...] = (TensorBoardConfig(),)
    """Where metrics are written beside `metrics.jsonl`."""
    log_episodes: bool = True
    """Write every rollout of every step to the run's `episodes/`."""
    log_tokens: int = Field(default=8, ge=0)
    """How many rollouts of each step have their tokens written to the run's `tokens/`, with
    log-probs, advantages and the loss mask; some 20 bytes a token."""

    @model_validator(mode="after")
    def _has_one_length(self) -> Self:
        if self.epochs > 1 and self.steps is not None:
            raise ValueError(
                f"epochs={self.epochs} has no effect where steps={self.steps}: set steps=null, "
                "or epochs=1"
            )
        return self

    @model_validator(mode="after")
    def _has_rollouts_to_compare(self) -> Self:
        algorithm = self.algorithm
        if self.group_size > 1:
            return self
        if isinstance(algorithm, GroupRelativeConfig) and algorithm.credit in BUILTIN_RULES:
            raise ValueError(
                "group_size=1 leaves a rollout nothing to be compared with: every advantage is 0, "
                "nothing is trained; set it to 2 or more, or algorithm.kind=best_of_group"
            )
        if isinstance(self.schedule, DynamicScheduleConfig):
            raise ValueError(
                "schedule.kind=dynamic samples until rollouts of a prompt differ in their reward, "
                "which one alone never does: set group_size to 2 or more"
            )
        return self

    @model_validator(mode="after")
    def _fits_dynamic_sampling(self) -> Self:
        if not isinstance(self.schedule, DynamicScheduleConfig):
            return self
        if self.steps is None:
            raise ValueError(
                "schedule.kind=dynamic needs steps: how many prompts a step takes is not known "
                "before, so epochs don't say how long the run is"
            )
        if getattr(self.algorithm, "equal_groups", "drop") == "keep":
            raise ValueError(
                "schedule.kind=dynamic replaces prompts of equal rewards by others, "
                "algorithm.equal_groups=keep counts them in the mean as well: set it to drop"
            )
        return self
