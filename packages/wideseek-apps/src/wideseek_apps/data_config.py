"""Configuration of `wideseek data`; nothing heavy is needed to read it."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from wideseek_agents import ChatPolicyConfig, TeamConfig
from wideseek_apps.checks import check_policy
from wideseek_apps.policy import EndpointPolicy, PolicyConfig
from wideseek_apps.presets import ATLAS_TEAM
from wideseek_core import Config, ConfigError
from wideseek_data.building.config import BuildConfig
from wideseek_data.building.output import PLANS
from wideseek_data.tasks.recipes import ShortShape, WideShape


class DataBuildConfig(BuildConfig):
    """Builds training tasks from tables and pages."""

    writer: ChatPolicyConfig | None = None
    """The endpoint whose model words questions; null for the built-in phrases alone."""
    answerer: PolicyConfig | None = None
    """The model that answers a second time, where `checks.second.by` is `model`."""
    team: TeamConfig = ATLAS_TEAM
    """The agents that answer a second time."""

    @model_validator(mode="after")
    def _has_models(self) -> Self:
        if (self.writer is None) != (self.rewriting is None):
            raise ValueError("writer and rewriting: a model that words questions needs both")
        if self.writer is not None and self.rewriting is not None:
            self._check_writer(
                self.writer, self.rewriting.model, self.rewriting.max_response_tokens
            )
        if self.checks.second.by == "model" and self.answerer is None:
            raise ValueError("answerer: checks.second.by=model needs a model")
        return self

    def _check_writer(self, writer: ChatPolicyConfig, model: str, most: int) -> None:
        """What is paid has to be known: the model, the length of replies, repeated requests."""
        if writer.model != model:
            raise ValueError(f"writer.model is {writer.model!r}, rewriting.model {model!r}")
        if writer.max_tokens is None or writer.max_tokens > most:
            raise ValueError(
                f"writer.max_tokens must be at most rewriting.max_response_tokens={most}"
            )
        if writer.max_attempts != 1:
            raise ValueError("writer.max_attempts must be 1: a repeated request may be paid twice")


def check_build(config: DataBuildConfig) -> None:
    """Raises `ConfigError` for sources, test sets and models that are not there."""
    for source in config.sources:
        path: object = getattr(source, "path", None)
        if isinstance(path, Path) and not path.exists():
            raise ConfigError(f"sources: nothing at {path}")
    for number, item in enumerate(config.checks.test_sets):
        if not item.path.is_file():
            raise ConfigError(f"checks.test_sets.{number}.path: no file at {item.path}")
    if config.scores is not None and not config.scores.is_file():
        raise ConfigError(f"scores: no file at {config.scores}")
    if config.writer is not None:
        check_policy("writer", EndpointPolicy.model_validate(config.writer.model_dump()))
    if config.answerer is not None:
        check_policy("answerer", config.answerer)


class DemonstrateConfig(Config):
    """Writes demonstrations of the scripted teacher, for `wideseek sft demonstrations=[FILE]`."""

    data: Path | None = None
    """Folder of `wideseek data build`, whose tasks are demonstrated on its own pages."""
    split: str = "train"
    """Split of the tasks that are demonstrated."""
    file: Path = Path("runs/demonstrations.jsonl")
    """Where the conversations are written."""
    tasks: int | None = Field(default=None, ge=1)
    """Most tasks of the data set; null for all."""
    invented_worlds: int = Field(default=0, ge=0)
    """Worlds of invented tables that are demonstrated too, so that copying is learnt."""
    tasks_per_world: int = Field(default=5, ge=1)
    """Most tasks of an invented world."""
    max_rows: int = Field(default=24, ge=3)
    """Most rows of an invented table."""
    missing_share: float = Field(default=0.15, ge=0, le=1)
    """Share of the invented worlds in which pages are missing: what can't be found is refused."""
    single_share: float = Field(default=0.15, ge=0, le=1)
    """Share of the tasks that the single agent answers instead of a team."""
    subagents_kept: int = Field(default=3, ge=0)
    """Subagents of a rollout that are kept beside the first."""
    min_score: float = Field(default=0.99, ge=0, le=1)
    """Rollouts on the data set's tasks whose answers score less are left out."""
    team: TeamConfig = ATLAS_TEAM
    """The agents that are demonstrated, and their prompts."""
    kinds: tuple[Literal["wide", "short"], ...] = ("wide", "short")
    """Which of the data set's tasks are demonstrated."""
    shapes: tuple[WideShape | ShortShape, ...] = ()
    """Only tasks of these shapes, as the dataset card counts them; empty for all."""
    seed: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _has_something(self) -> Self:
        if self.data is None and not self.invented_worlds:
            raise ValueError("nothing to demonstrate: give data, invented_worlds, or both")
        return self


def check_demonstrate(config: DemonstrateConfig) -> None:
    """Raises `ConfigError` for a folder that holds no data set."""
    if config.data is not None and not (config.data / PLANS).is_file():
        raise ConfigError(f"data: no {PLANS} in {config.data}; `wideseek data build` writes it")
