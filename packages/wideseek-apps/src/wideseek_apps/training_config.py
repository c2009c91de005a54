"""Configuration of the training app; no torch is needed to read it."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self, cast

from pydantic import Field, StringConstraints, model_validator

from wideseek_agents import TeamConfig
from wideseek_apps.checks import (
    check_data,
    check_judge_policy,
    check_policy,
    check_summarizer,
    check_world,
)
from wideseek_apps.policy import HelperPolicy, LocalPolicy, PolicyConfig
from wideseek_apps.presets import small_mixture, small_tables
from wideseek_apps.profiles import profile_of, taught_limits, taught_policy, taught_team
from wideseek_apps.world import AtlasWorld, WorldConfig
from wideseek_core import Config, ConfigError
from wideseek_eval import DataConfig
from wideseek_eval.statistics.summary import METRICS
from wideseek_judge import JudgeConfig
from wideseek_rl import (
    CheckpointConfig,
    GroupRelativeConfig,
    OptimizerConfig,
    RLConfig,
    TorchTrainerConfig,
    TrainerConfig,
)
from wideseek_rl.cluster.config import Placement

SetName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
"""Name of an evaluation set, which a folder is named after."""


_TURN_TOKENS = 320
_TAUGHT_POLICY = LocalPolicy.model_construct(set(), turn_tokens=_TURN_TOKENS)
"""The default, whose limit of a turn is not handed on to a general model."""


class EvaluationConfig(Config):
    """How progress is measured: before the first step and after the last, on the same tasks."""

    data: DataConfig = small_tables("dev")
    temperature: float = Field(default=1.0, ge=0)
    """0 is greedy."""
    trials: int = Field(default=1, ge=1)
    """Rollouts of each task."""
    validation: dict[SetName, DataConfig] = Field(default_factory=dict)
    """Sets by name that are measured during training, every `rl.evaluate_every` steps and after the
    last one; without any, `data` is, under the name `evaluation`. Their metrics are
    `eval/NAME/METRIC`, and `rl.checkpoint.best_metric` names the best checkpoint by them."""

    @property
    def validation_sets(self) -> dict[str, DataConfig]:
        """The sets that are measured during training."""
        return dict(self.validation) or {"evaluation": self.data}


class FixedRole(Config):
    """A role that a model of its own plays, which stays as it is."""

    role: Literal["lead", "subagent"] = "subagent"
    """The role. Its prompts and limits are those of `team` for the role, as always."""
    policy: PolicyConfig
    """Its model: behind servers or an endpoint, or another one on this machine."""


class TrainConfig(Config):
    """Everything about one training run. The defaults train the start policy on a laptop."""

    folder: Path = Path("runs/train")
    """Where the run is written; one that was interrupted is resumed."""
    policy: LocalPolicy = _TAUGHT_POLICY
    fixed_role: FixedRole | None = None
    """A role whose model is not trained, in training and in evaluation; null trains both roles of
    one model."""
    summarizer: HelperPolicy | None = None
    """A model that summarizes pages where `team.use_access_summary` is set; `kind: rollout` is the
    model in training itself."""
    world: WorldConfig = AtlasWorld()
    team: TeamConfig = TeamConfig()
    """How the agents work. What the folder of the model says of it comes before the defaults."""
    judge: JudgeConfig = JudgeConfig(mode="reward")
    judge_policy: HelperPolicy | None = None
    """A model that judges in place of `judge.endpoint`; `kind: rollout` is the model in training
    itself. Only for `judge.kind: llm`."""
    data: DataConfig = small_mixture()
    """What is trained on."""
    evaluation: EvaluationConfig = EvaluationConfig()
    trainer: TrainerConfig = TorchTrainerConfig(
        optimizer=OptimizerConfig(lr=1e-4, weight_decay=0.0, grad_clip=0.3, warmup_updates=2),
        max_batch_tokens=2048,
        autocast="bfloat16",
        min_nll=0.3,
    )
    placement: Placement | None = None
    """Which processes run on which GPUs and hosts; null keeps trainer and builtin engine on this
    host, with one process for the trainer, and servers of `policy.engine` on its GPUs."""
    rl: RLConfig = RLConfig(
        prompts_per_step=6,
        group_size=6,
        steps=60,
        max_seconds=600,
        max_concurrent_rollouts=64,
        # `outcome` would blame a failed rollout's last turn alone: a single agent, which fails
        # often and long after its first bad call, lost by it.
        algorithm=GroupRelativeConfig(credit="table", selection="all"),
        checkpoint=CheckpointConfig(every_steps=10, best_metric="score"),
    )

    @model_validator(mode="before")
    @classmethod
    def _as_the_model_was_taught(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        raw = cast(dict[str, Any], values)
        policy: object = raw.get("policy", cls.model_fields["policy"].default)
        if isinstance(policy, dict) and profile_of(cast(object, policy)) is not None:
            given = taught_limits(cast(object, policy)) | cast(dict[str, Any], policy)
            raw = raw | {"policy": {"turn_tokens": _TURN_TOKENS} | given}
        if isinstance(fixed := raw.get("fixed_role"), dict) and "policy" in fixed:
            values = cast(dict[str, object], fixed)
            raw = raw | {"fixed_role": values | {"policy": taught_policy(values["policy"])}}
        role, other = _fixed(raw.get("fixed_role"))
        chosen = cast(object, policy)
        models = (other, chosen) if role == "lead" else (chosen, other)
        return raw | {"team": taught_team(raw.get("team"), *models)}

    @model_validator(mode="after")
    def _has_the_fixed_role(self) -> Self:
        if self.fixed_role is not None and self.team.workflow == "single_agent":
            raise ValueError("fixed_role: a single agent has no second role; leave it out")
        return self

    @model_validator(mode="after")
    def _selects_turns_that_train(self) -> Self:
        chosen = getattr(self.rl.algorithm, "selection", "all")
        fixed = None if self.fixed_role is None else self.fixed_role.role
        if chosen == "subagents" and self.team.workflow == "single_agent":
            reason = "team.workflow=single_agent has no subagents"
        elif (chosen, fixed) in (("main", "lead"), ("subagents", "subagent")):
            reason = f"fixed_role.role={fixed} leaves the model of these as it is"
        else:
            return self
        raise ValueError(f"rl.algorithm.selection={chosen} trains nothing: {reason}")

    @model_validator(mode="after")
    def _trains_what_it_samples(self) -> Self:
        if self.policy.temperature <= 0:
            raise ValueError("policy.temperature must be above 0 to train: greedy groups are alike")
        if self.policy.max_repeats is not None:
            raise ValueError(
                "policy.max_repeats is not for training, which needs responses as they were sampled"
            )
        if self.rl.loss.temperature != self.policy.temperature:
            raise ValueError(
                f"rl.loss.temperature is {self.rl.loss.temperature}, "
                f"policy.temperature is {self.policy.temperature}: they must be equal"
            )
        recomputed = getattr(self.trainer, "recompute_logprobs", True)
        if self.rl.loss.correction.kind != "none" and not recomputed:
            raise ValueError(
                f"rl.loss.correction.kind={self.rl.loss.correction.kind} needs "
                "trainer.recompute_logprobs=true, which gives it the log-probabilities to compare"
            )
        if self.policy.top_p < 1 and not recomputed:
            raise ValueError(
                "policy.top_p below 1 renormalises what the sampler reports: to train so, set "
                "trainer.recompute_logprobs=true"
            )
        return self


def _fixed(given: object) -> tuple[str, object]:
    """The fixed role and its policy, of a configuration or of raw values."""
    if isinstance(given, FixedRole):
        return given.role, given.policy
    values = cast(dict[str, Any], given) if isinstance(given, dict) else {}
    return str(values.get("role", "subagent")), values.get("policy")


def check_train(config: TrainConfig) -> None:
    """Raises `ConfigError` for what would only be found after some work."""
    check_world(config.world)
    check_policy("policy", config.policy)
    if config.fixed_role is not None:
        check_policy("fixed_role.policy", config.fixed_role.policy)
    if config.summarizer is not None:
        check_policy("summarizer", config.summarizer)
    check_summarizer(config.team, config.summarizer)
    check_judge_policy(config.judge, config.judge_policy)
    _check_best_metric(config)
    _check_profile(config)
    given = "world" in config.model_fields_set
    check_data("data", config.data, config.world, world_given=given)
    check_data("evaluation.data", config.evaluation.data, config.world, world_given=given)
    for name, data in config.evaluation.validation.items():
        check_data(f"evaluation.validation.{name}", data, config.world, world_given=given)


def _check_best_metric(config: TrainConfig) -> None:
    """Raises `ConfigError` for a metric that no evaluation of the run has."""
    name = config.rl.checkpoint.best_metric
    if name is None or not config.rl.evaluate_every:
        return
    place, _, metric = name.rpartition("/")
    sets = config.evaluation.validation_sets
    for key, value, known in (("metric", metric, METRICS), ("set", place or None, tuple(sets))):
        if value is not None and value not in known:
            raise ConfigError(
                f"rl.checkpoint.best_metric={name}: no {key} is named {value!r}; there are "
                f"{', '.join(known)}"
            )


def _check_profile(config: TrainConfig) -> None:
    """Raises `ConfigError` for an update to be traced that the run does not come to."""
    wanted: tuple[int, ...] = getattr(config.trainer, "profile", ())
    each: int = getattr(config.trainer, "updates_per_step", 1)
    if wanted and config.rl.steps is not None and max(wanted) >= config.rl.steps * each:
        raise ConfigError(
            f"trainer.profile: there is no update {max(wanted)}, counted from 0, in "
            f"rl.steps={config.rl.steps} with {each} each"
        )
