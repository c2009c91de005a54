"""A rollout with its verdict: what reward, selection and advantage work on."""

from dataclasses import dataclass

from wideseek_core import Episode, Score, ScoreState, Status, Turn
from wideseek_rl.numbers import is_number


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredEpisode:
    """One rollout and what the judge made of its answer.

    Example: `ScoredEpisode(episode=episode, score=await judge.score(task, episode.answer))`
    """

    episode: Episode
    score: Score
    source: str = ""
    """Where the task comes from."""

    @property
    def complete(self) -> bool:
        """The rollout ran to its end, whatever that was."""
        return not self.episode.error and bool(self.episode.trajectories)

    @property
    def usable(self) -> bool:
        """False if the rollout broke or the judge gave no verdict: then it is left out.

        One with a cell whose score is no number is none: it would spoil what the cell is compared
        with in the other rollouts.
        """
        judged = self.score.state is not ScoreState.UNSCORED
        return self.complete and judged and all(is_number(c.score) for c in self.score.cells)

    @property
    def answered(self) -> bool:
        """The answering agent ended by itself, with an answer of the right form."""
        ended = self.episode.main.status is Status.FINISHED
        return ended and self.score.format_valid

    @property
    def turns(self) -> list[Turn]:
        """The turns of all agents."""
        return [turn for agent in self.episode.trajectories for turn in agent.turns]

    @property
    def trained_turns(self) -> list[Turn]:
        """The turns of the agents whose model is in training."""
        agents = self.episode.trajectories
        return [turn for agent in agents if agent.trained for turn in agent.turns]

    def count_calls(self, tool: str) -> int:
        """How many valid calls of a tool were made, by all agents."""
        return sum(call.name == tool for turn in self.turns for call in turn.calls)
