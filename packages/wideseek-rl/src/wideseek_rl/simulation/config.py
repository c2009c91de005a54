"""Configuration of `wideseek schedule-sim`."""

import re
from pathlib import Path

from pydantic import Field, field_validator, model_validator

from wideseek_core import Config

NAMES = re.compile(r"sync|tail|async:[1-9][0-9]{0,3}")


class LengthConfig(Config):
    """Lengths of rollouts where no run was measured.

    The tokens of a rollout's longest path are median · e^(a + b), with a normally distributed over
    prompts and b over the rollouts of a prompt.
    """

    median_tokens: float = Field(default=4000.0, gt=0)
    """Tokens that follow one another in a typical rollout: of the lead, and of the slowest of the
    subagents that it waits for."""
    prompt_sigma: float = Field(default=0.6, ge=0, le=3)
    """Spread of a."""
    rollout_sigma: float = Field(default=0.6, ge=0, le=3)
    """Spread of b."""
    width: float = Field(default=3.0, ge=1)
    """Sequences that a rollout has in the engine at the same time, on average."""
    tools_s: float = Field(default=10.0, ge=0)
    """Time that a rollout waits for tools."""


class ScheduleSimConfig(Config):
    """How long the steps of each schedule would take, from lengths and speeds that are measured.

    With `run` everything that is null is measured in the run; without it, `engine_tokens_per_s`
    and `sequence_tokens_per_s` must be given.
    """

    run: Path | None = None
    """Folder of a training run with `metrics.jsonl` and `episodes/`."""
    lengths: LengthConfig = LengthConfig()
    """Without a run."""
    engine_tokens_per_s: float | None = Field(default=None, gt=0)
    """Tokens a second that the engines generate together when they are full."""
    sequence_tokens_per_s: float | None = Field(default=None, gt=0)
    """Tokens a second of one sequence when nothing else runs."""
    slots: int | None = Field(default=None, ge=1)
    """Rollouts at the same time (`rl.max_concurrent_rollouts`); without a run 64."""
    prompts_per_step: int | None = Field(default=None, ge=1)
    """Without a run 32."""
    group_size: int | None = Field(default=None, ge=1)
    """Without a run 8."""
    update_s: float | None = Field(default=None, ge=0)
    """Time of an update; without a run 60."""
    sync_s: float | None = Field(default=None, ge=0)
    """Time in which new weights are sent and nothing is generated; without a run 1."""
    overlap: float = Field(default=1.0, gt=0, le=1)
    """Speed of engine and trainer while both work, against either alone: 1 on devices of their own,
    about 0.5 on one that they share."""
    extra: float = Field(default=0.5, gt=0)
    """`rl.schedule.extra` of `tail`."""
    schedules: tuple[str, ...] = ("sync", "tail", "async:1", "async:2", "async:4")
    """`sync`, `tail`, and `async:N` for `async` with `max_staleness` N."""
    steps: int = Field(default=40, ge=4)
    """Steps that are simulated; the first and the last tenth are left out of the means. As many as
    the largest N of `async:N` come before them, and its means are over whole rounds of N + 1."""
    seed: int = 0
    """Of the drawn lengths. All schedules see the same ones."""
    output: Path | None = None
    """File that the results are written to as JSON, too."""

    @field_validator("schedules")
    @classmethod
    def _known(cls, schedules: tuple[str, ...]) -> tuple[str, ...]:
        if not schedules:
            raise ValueError("schedules must name at least one")
        for name in schedules:
            if not NAMES.fullmatch(name):
                raise ValueError(f"no schedule is named {name!r}; there are sync, tail and async:N")
        return schedules

    @model_validator(mode="after")
    def _speeds(self) -> "ScheduleSimConfig":
        if self.run is None and None in (self.engine_tokens_per_s, self.sequence_tokens_per_s):
            raise ValueError(
                "engine_tokens_per_s and sequence_tokens_per_s are needed without a run to measure"
            )
        return self
