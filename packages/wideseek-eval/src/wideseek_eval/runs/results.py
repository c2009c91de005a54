"""What a run leaves on disk: one `Result` per rollout, with a summary of how it went."""

from collections.abc import Awaitable, Callable
from typing import Literal

from wideseek_core import Episode, Language, Score, Status, Task, Usage
from wideseek_core.json_text import Number
from wideseek_core.tasks import Record
from wideseek_core.usage import total_usage

RunEpisode = Callable[[Task, int], Awaitable[Episode]]
"""One rollout of a task; the number is the trial, counted from 0."""

Outcome = Literal["scored", "failed", "unscored", "error"]
"""How a rollout ended for the statistics.

`scored` and `failed` (no table in the answer: zeros) count in means; `unscored` (the judge failed)
and `error` (the rollout could not be completed) never do, and are counted beside them.
"""


class EpisodeSummary(Record):
    """An episode in numbers."""

    status: Status
    """How the answering agent ended."""
    error: str = ""
    subagents: int = 0
    failed_subagents: int = 0
    lead_turns: int = 0
    subagent_turns: int = 0
    searches: int = 0
    """Single queries, not calls."""
    accesses: int = 0
    prompt_tokens: int = 0
    """Summed over turns: what the model was given to read."""
    response_tokens: int = 0
    seconds: Number = 0.0
    usage: tuple[Usage, ...] = ()
    """Requests, tokens and cost by role and model; those of the judge are with the score."""


class Result(Record):
    """One rollout of one task: the answer, its score, and what it cost."""

    version: Literal[1] = 1
    task_id: str
    trial: int
    language: Language = "en"
    kind: Literal["table", "text"] = "table"
    """Kind of the task's reference."""
    source: str = ""
    """Where the task comes from: a file's name, a domain of the atlas."""
    answer: str = ""
    score: Score | None = None
    """None if the rollout could not be completed."""
    episode: EpisodeSummary

    @property
    def usage(self) -> tuple[Usage, ...]:
        """What agents, summaries and judge have spent, by role and model."""
        judging = () if self.score is None else self.score.judge_usage
        return total_usage([*self.episode.usage, *judging])

    @property
    def outcome(self) -> Outcome:
        """How it ended, for the statistics."""
        return "error" if self.score is None else self.score.state.value


def result_of(task: Task, episode: Episode, score: Score | None) -> Result:
    """The record of a finished rollout."""
    return Result(
        task_id=task.id,
        trial=episode.trial,
        language=task.language,
        kind=task.gold.kind,
        source=task.source,
        answer=episode.answer,
        score=score,
        episode=summarize_episode(episode),
    )


def summarize_episode(episode: Episode) -> EpisodeSummary:
    """Counts of agents, turns, tool requests and tokens of an episode."""
    turns = [turn for agent in episode.trajectories for turn in agent.turns]
    subagents = [agent for agent in episode.trajectories if agent.role == "subagent"]
    below = sum(len(agent.turns) for agent in subagents)
    main = episode.trajectories[0] if episode.trajectories else None
    return EpisodeSummary(
        status=main.status if main is not None else Status.ERROR,
        error=episode.error,
        subagents=len(subagents),
        failed_subagents=sum(agent.status.failed for agent in subagents),
        lead_turns=len(turns) - below,
        subagent_turns=below,
        searches=_requests(episode, "search"),
        accesses=_requests(episode, "access"),
        prompt_tokens=sum(turn.prompt_tokens for turn in turns),
        response_tokens=sum(turn.response_tokens for turn in turns),
        seconds=episode.seconds,
        usage=episode.usage,
    )


def _requests(episode: Episode, tool: str) -> int:
    """How many single requests went to a tool: a call may hold several."""
    count = 0
    for agent in episode.trajectories:
        for call in (call for turn in agent.turns for call in turn.calls if call.name == tool):
            lists = [len(value) for value in call.arguments.values() if isinstance(value, list)]
            count += max(lists, default=1)
    return count
