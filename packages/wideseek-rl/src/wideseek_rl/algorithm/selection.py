"""Which turns of a rollout train. A selection is a function; the named ones are in `SELECTIONS`."""

from collections.abc import Callable, Mapping
from typing import Literal

from wideseek_core import Episode, Status, Trajectory
from wideseek_rl.rollout.scored import ScoredEpisode

Mask = list[list[bool]]
"""One flag per turn, per trajectory of the episode."""

Selection = Callable[[ScoredEpisode], Mask]
"""Says which turns of a rollout train."""


def outcome_turns(scored: ScoredEpisode) -> Mask:
    """The turns that can be held to account for the outcome.

    - Valid answer and a lead that ended well: every turn of agents that ended well.
    - A lead that failed although its text has the right form: the turn it failed with.
    - No valid answer: the last turn, if the lead ended by itself, and the turns that repeated
      themselves; if none did, those that overflowed the window or hit the turn limit.
    """
    return _accountable(scored, whole_agents=False)


def outcome_agents(scored: ScoredEpisode) -> Mask:
    """Like `outcome_turns`, but an agent that overflowed or hit its limit fails with all turns.

    So does the public implementation of the method. Repetition is still one turn's fault.
    """
    return _accountable(scored, whole_agents=True)


def all_turns(scored: ScoredEpisode) -> Mask:
    """Every turn, but those of agents whose policy broke down."""
    return _mask(scored.episode, lambda agent, _: agent.status is not Status.ERROR)


def main_turns(scored: ScoredEpisode) -> Mask:
    """What `outcome_turns` selects of the answering agent alone."""
    chosen = outcome_turns(scored)
    return [flags if i == 0 else [False] * len(flags) for i, flags in enumerate(chosen)]


def subagent_turns(scored: ScoredEpisode) -> Mask:
    """What `outcome_turns` selects of the subagents alone."""
    chosen = outcome_turns(scored)
    return [flags if i > 0 else [False] * len(flags) for i, flags in enumerate(chosen)]


SelectionName = Literal["outcome", "outcome_agents", "all", "main", "subagents"]

SELECTIONS: Mapping[SelectionName, Selection] = {
    "outcome": outcome_turns,
    "outcome_agents": outcome_agents,
    "all": all_turns,
    "main": main_turns,
    "subagents": subagent_turns,
}
"""The selections a configuration can name."""


LIMITS = frozenset(
    {Status.TURN_CUT, Status.CONTEXT_OVERFLOW, Status.MESSAGE_OVERFLOW, Status.TURN_LIMIT}
)
"""Ends that more than the last turn may have led to."""


def _accountable(scored: ScoredEpisode, *, whole_agents: bool) -> Mask:
    """See `outcome_turns`. A broken policy is nobody's doing."""
    episode, main = scored.episode, scored.episode.main
    if scored.answered:
        return _mask(episode, lambda agent, _: not agent.status.failed)

    def last(agent: Trajectory, turn: int) -> bool:
        return turn == len(agent.turns) - 1

    def failed(agent: Trajectory, turn: int) -> bool:
        return whole_agents or last(agent, turn)

    if scored.score.format_valid:
        blamed = LIMITS | {Status.REPETITION}
        return _mask(
            episode,
            lambda agent, turn: agent is main and agent.status in blamed and failed(agent, turn),
        )
    repeated = any(agent.status is Status.REPETITION for agent in episode.trajectories)

    def trains(agent: Trajectory, turn: int) -> bool:
        if agent is main and agent.status is Status.FINISHED:
            return last(agent, turn)
        if repeated:
            return agent.status is Status.REPETITION and last(agent, turn)
        return agent.status in LIMITS and failed(agent, turn)

    return _mask(episode, trains)


def _mask(episode: Episode, trains: Callable[[Trajectory, int], bool]) -> Mask:
    return [
        [trains(agent, turn) for turn in range(len(agent.turns))] for agent in episode.trajectories
    ]
