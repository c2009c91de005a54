"""Which turns of a rollout train. A selection is a function; the named ones are in `SELECTIONS`."""

from collections.abc import Callable, Mapping

from wideseek_core import Episode, Status, Trajectory
from wideseek_rl.scored import ScoredEpisode

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
    episode = scored.episode
    if scored.answered:
        return _mask(episode, lambda agent, _: not agent.status.failed)
    if scored.score.format_valid:
        return _mask(episode, lambda agent, turn: agent is episode.main and _failed(agent, turn))
    last = len(episode.main.turns) - 1
    ended = episode.main.status is Status.FINISHED
    repeated = any(agent.status is Status.REPETITION for agent in episode.trajectories)
    blamed = {Status.REPETITION} if repeated else {Status.CONTEXT_OVERFLOW, Status.TURN_LIMIT}

    def trains(agent: Trajectory, turn: int) -> bool:
        final = ended and agent is episode.main and turn == last
        return final or (agent.status in blamed and turn == len(agent.turns) - 1)

    return _mask(episode, trains)


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


SELECTIONS: Mapping[str, Selection] = {
    "outcome": outcome_turns,
    "all": all_turns,
    "main": main_turns,
    "subagents": subagent_turns,
}
"""The selections a configuration can name."""


def _failed(agent: Trajectory, turn: int) -> bool:
    """An agent fails with its last turn; a broken policy is not the agent's doing."""
    return agent.status not in (Status.FINISHED, Status.ERROR) and turn == len(agent.turns) - 1


def _mask(episode: Episode, trains: Callable[[Trajectory, int], bool]) -> Mask:
    return [
        [trains(agent, turn) for turn in range(len(agent.turns))] for agent in episode.trajectories
    ]
