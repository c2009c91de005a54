"""Configuration of the training app; no torch is needed to read it."""

from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from wideseek_agents import TeamConfig
from wideseek_apps.checks import check_data, check_policy, check_world
from wideseek_apps.policy import LocalPolicy
from wideseek_apps.presets import ATLAS_TEAM, small_tables
from wideseek_apps.world import AtlasWorld, WorldConfig
from wideseek_core import Config
from wideseek_eval import DataConfig
from wideseek_judge import JudgeConfig
from wideseek_rl import (
    CheckpointConfig,
    GroupRelativeConfig,
    OptimizerConfig,
    RLConfig,
    TorchTrainerConfig,
    TrainerConfig,
)


class EvaluationConfig(Config):
    """How progress is measured: before the first step and after the last, on the same tasks."""

    data: DataConfig = small_tables("dev")
    temperature: float = Field(default=1.0, ge=0)
    """0 is greedy."""
    trials: int = Field(default=1, ge=1)
    """Rollouts of each task."""


class TrainConfig(Config):
    """Everything about one training run. The defaults train the start policy on a laptop."""

    folder: Path = Path("runs/train")
    """Where the run is written; one that was interrupted goes on from there."""
    policy: LocalPolicy = LocalPolicy(turn_tokens=320)
    world: WorldConfig = AtlasWorld()
    team: TeamConfig = ATLAS_TEAM
    judge: JudgeConfig = JudgeConfig(mode="reward")
    data: DataConfig = small_tables("train")
    """What is trained on."""
    evaluation: EvaluationConfig = EvaluationConfig()
    trainer: TrainerConfig = TorchTrainerConfig(
        optimizer=OptimizerConfig(lr=1e-4, weight_decay=0.0, grad_clip=0.3, warmup_updates=2),
        max_batch_tokens=2048,
        autocast="bfloat16",
        min_nll=0.3,
    )
    rl: RLConfig = RLConfig(
        prompts_per_step=6,
        group_size=6,
        steps=60,
        max_seconds=600,
        max_concurrent_rollouts=64,
        # `outcome` would blame a failed rollout's last turn alone: a single agent, which fails
        # often and long after its first bad call, lost by it.
        algorithm=GroupRelativeConfig(credit="table", selection="all"),
        checkpoint=CheckpointConfig(every_steps=10, best_metric=None),
    )

    @model_validator(mode="after")
    def _trains_what_it_samples(self) -> Self:
        if self.policy.temperature <= 0:
            raise ValueError("policy.temperature must be above 0 to train: greedy groups are alike")
        if self.rl.loss.temperature != self.policy.temperature:
            raise ValueError(
                f"rl.loss.temperature is {self.rl.loss.temperature}, "
                f"policy.temperature is {self.policy.temperature}: they must be equal"
            )
        if self.policy.top_p < 1 and not getattr(self.trainer, "recompute_logprobs", True):
            raise ValueError(
                "policy.top_p below 1 renormalises what the sampler reports: to train so, set "
                "trainer.recompute_logprobs=true"
            )
        return self


def check_train(config: TrainConfig) -> None:
    """Raises `ConfigError` for what would only be found after some work."""
    check_world(config.world)
    check_policy("policy", config.policy)
    given = "world" in config.model_fields_set
    check_data("data", config.data, config.world, world_given=given)
    check_data("evaluation.data", config.evaluation.data, config.world, world_given=given)
