"""How long rollouts are: the tokens of their longest path, and what stands beside it."""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from wideseek_core import Episode, ToolResult, Trajectory, Turn
from wideseek_rl.simulation.config import LengthConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutLength:
    """What a rollout asks of the engine and of the tools."""

    tokens: float
    """Generated one after another, along the path that took longest."""
    width: float
    """All tokens over these: sequences beside each other, on average."""
    tools_s: float = 0.0
    """Waiting for tools along that path."""


class Lengths(Protocol):
    """Where the lengths of simulated rollouts come from."""

    def group(self, rng: random.Random, size: int) -> list[RolloutLength]:
        """The rollouts of one prompt."""
        ...


class DrawnLengths:
    """Log-normal ones; see `LengthConfig`."""

    def __init__(self, config: LengthConfig) -> None:
        self._config = config

    def group(self, rng: random.Random, size: int) -> list[RolloutLength]:
        """The rollouts of one prompt."""
        config, prompt = self._config, rng.gauss(0, self._config.prompt_sigma)
        return [
            RolloutLength(
                tokens=config.median_tokens * math.exp(prompt + rng.gauss(0, config.rollout_sigma)),
                width=config.width,
                tools_s=config.tools_s,
            )
            for _ in range(size)
        ]


class MeasuredLengths:
    """Those of the prompts of a run, each as likely as another."""

    def __init__(self, groups: Sequence[Sequence[RolloutLength]]) -> None:
        self._groups = groups

    def group(self, rng: random.Random, size: int) -> list[RolloutLength]:
        """The rollouts of one measured prompt; with repetitions if there were fewer."""
        measured = list(rng.choice(self._groups))
        if size <= len(measured):
            return rng.sample(measured, size)
        return rng.choices(measured, k=size)


def rollout_length(episode: Episode) -> RolloutLength:
    """The length of a rollout that was recorded."""
    path = _Path(episode).of(episode.main)
    total = sum(turn.response_tokens for agent in episode.trajectories for turn in agent.turns)
    tokens = max(path.tokens, 1)
    return RolloutLength(tokens=tokens, width=max(total / tokens, 1.0), tools_s=path.tools_s)


@dataclass(frozen=True, slots=True)
class _Along:
    tokens: int
    tools_s: float


class _Path:
    """The path through an episode that took longest."""

    def __init__(self, episode: Episode) -> None:
        self._episode = episode

    @cached_property
    def _agents(self) -> dict[int, Trajectory]:
        return {agent.agent: agent for agent in self._episode.trajectories}

    def of(self, agent: Trajectory) -> _Along:
        """What an agent did and waited for."""
        parts = [self._turn(agent, number, turn) for number, turn in enumerate(agent.turns)]
        return _Along(sum(part.tokens for part in parts), sum(part.tools_s for part in parts))

    def _turn(self, agent: Trajectory, number: int, turn: Turn) -> _Along:
        """A turn, and the slowest of what it called."""
        created = [
            other
            for other in self._agents.values()
            if other.parent == agent.agent and other.parent_turn == number
        ]
        after = _Along(0, 0.0)
        if created:
            after = self.of(max(created, key=_seconds))
        elif turn.results:
            after = _Along(0, max(map(_tool_seconds, turn.results)))
        return _Along(turn.response_tokens + after.tokens, after.tools_s)


def _seconds(agent: Trajectory) -> tuple[float, int]:
    return agent.seconds, sum(turn.response_tokens for turn in agent.turns)


def _tool_seconds(result: ToolResult) -> float:
    return result.seconds
