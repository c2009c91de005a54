"""Which turns of a rollout train. A selection is a function; the named ones are in `SELECTIONS`."""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from wideseek_core import Status, Trajectory
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
      themselves; if none did, the last turns of agents that overflowed the window or hit a limit.

    It differs from `outcome_agents` in two ways. An agent that overflowed or hit a limit answers
    for its last turn alone, since its earlier turns are the same as in rollouts that went well.
    And subagents whose reports did not fit the lead's window still answer for themselves: what
    they did wrong does not depend on whether it was read.
    """
    return _accountable(scored.episode.trajectories, scored, whole_agents=False)


def outcome_agents(scored: ScoredEpisode) -> Mask:
    """The rule of the public implementation of the method (WideSeek-R1, arXiv 2602.04634).

    Like `outcome_turns`, but an agent that overflowed or hit a limit fails with all its turns (for
    repetition only if its text has the right form), and if the lead ended because the reports of
    its last turn did not fit its window, the subagents of that turn are not of the rollout. The
    same rollouts are sampled with `team.calls: reference`.
    """
    agents, main = scored.episode.trajectories, scored.episode.main
    lost = main.status is Status.MESSAGE_OVERFLOW
    kept = [
        agent
        for agent in agents
        if not (lost and agent.parent == main.agent and agent.parent_turn == len(main.turns) - 1)
    ]
    masks = iter(_accountable(kept, scored, whole_agents=True))
    return [
        next(masks) if any(agent is k for k in kept) else [False] * len(agent.turns)
        for agent in agents
    ]


NOBODYS_FAULT = frozenset({Status.ERROR, Status.ABORTED})
"""Ends that the model has no part in."""


def all_turns(scored: ScoredEpisode) -> Mask:
    """Every turn, except those of agents whose policy failed or was stopped."""
    agents = scored.episode.trajectories
    return _mask(agents, lambda agent, _: agent.status not in NOBODYS_FAULT)


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


def _accountable(
    agents: Sequence[Trajectory], scored: ScoredEpisode, *, whole_agents: bool
) -> Mask:
    """The turns of these agents that answer for the outcome, see `outcome_turns`."""
    main = scored.episode.main
    if scored.answered:
        return _mask(agents, lambda agent, _: not agent.status.failed)

    def last(agent: Trajectory, turn: int) -> bool:
        return turn == len(agent.turns) - 1

    def failed(agent: Trajectory, turn: int) -> bool:
        return whole_agents or last(agent, turn)

    if scored.score.format_valid:
        blamed = LIMITS | {Status.REPETITION}
        return _mask(
            agents,
            lambda agent, turn: agent is main and agent.status in blamed and failed(agent, turn),
        )
    repeated = any(agent.status is Status.REPETITION for agent in agents)

    def trains(agent: Trajectory, turn: int) -> bool:
        if agent is main and agent.status is Status.FINISHED:
            return last(agent, turn)
        if repeated:
            return agent.status is Status.REPETITION and last(agent, turn)
        return agent.status in LIMITS and failed(agent, turn)

    return _mask(agents, trains)


def _mask(agents: Sequence[Trajectory], trains: Callable[[Trajectory, int], bool]) -> Mask:
    return [[trains(agent, turn) for turn in range(len(agent.turns))] for agent in agents]
