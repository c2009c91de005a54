"""Schedules: when rollouts are sampled and when they are trained on."""

from typing import Literal

from wideseek_core import Config

SCHEDULES = "wideseek.schedules"


class SyncScheduleConfig(Config):
    """Sample all rollouts of a step, then train on them: exactly on-policy."""

    kind: Literal["sync"] = "sync"
