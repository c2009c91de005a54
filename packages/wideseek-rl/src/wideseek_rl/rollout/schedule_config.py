"""Configuration of schedules: when rollouts are sampled and when they are trained on."""

from typing import Literal

from pydantic import Field

from wideseek_core import Config

SCHEDULES = "wideseek.schedules"
"""Entry-point group of further schedules."""


class SyncScheduleConfig(Config):
    """Sample all rollouts of a step, then train on them: exactly on-policy."""

    kind: Literal["sync"] = "sync"


class DynamicScheduleConfig(Config):
    """Dynamic sampling (DAPO, arXiv 2503.14476): on-policy, with steps full of signal.

    A step samples its prompts, and then others in place of those whose rollouts all have the same
    reward, until it has as many as it trains on. The others are done with, too: no prompt is
    sampled twice. Steps take more prompts than with `sync`, nobody knows how many, so `rl.steps`
    has to say how long a run is, and `rl.epochs` can't. An algorithm that keeps prompts of equal
    rewards in the mean (`rl.algorithm.equal_groups: keep`) is refused.
    """

    kind: Literal["dynamic"] = "dynamic"
    max_rounds: int = Field(default=4, ge=1)
    """Times that a step samples; then it trains on what it has."""


class TailScheduleConfig(Config):
    """Tail batching: exactly on-policy, and no step waits for the slowest prompts.

    A step samples more prompts than it trains on and takes the first groups that are complete. The
    other prompts are sampled again, with the weights of then, in a later long step that waits for
    all of its groups; it comes as soon as the prompts left over fill a step. So no prompt is lost
    for being slow, and over an epoch each trains once.
    """

    kind: Literal["tail"] = "tail"
    extra: float = Field(default=0.5, gt=0)
    """Prompts that a step samples beyond those it trains on, as a share of them."""


class AsyncScheduleConfig(Config):
    """Rollouts run ahead of training, by a bounded number of updates.

    Slots limit the groups that are sampled or wait to be trained on to (`max_staleness` + 1) steps'
    worth, and steps take them in the order of their prompts. So a group is trained on no more than
    `max_staleness` steps after it was begun, and short groups do not come first.
    """

    kind: Literal["async"] = "async"
    max_staleness: int = Field(default=1, ge=1)
    """Steps between the beginning of a group and its training, at most."""
