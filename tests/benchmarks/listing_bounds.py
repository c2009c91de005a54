"""What a team and a single agent could score at most: the teacher in their place.

    python tests/benchmarks/listing_bounds.py WIKITABLES configs/train/smollm2.yaml

WIKITABLES is the `source` of `wideseek wikitables`; what follows are files and settings of
`wideseek train`. The scripted teacher, which knows the table but states nothing that it has not
read, answers the questions of `evaluation.data` in `world`, with the turns of `team`, the tokens of
`policy.turn_tokens` and the window `policy.window`. What it misses is not there to be found, or an
agent that works as it does has no room for it. Prints a JSON object by workflow and by source and
number of rows; of the model only its tokenizer is needed.
"""

import argparse
import asyncio
import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from gpu_learning import ARMS, question_groups

from wideseek_agents import ChatTokenizer, ScriptedPolicy, Team
from wideseek_agents.policies.scripted import Respond
from wideseek_apps.evaluation import wider
from wideseek_apps.judging import open_reachable_judge
from wideseek_apps.policy import LocalPolicy
from wideseek_apps.training_config import TrainConfig
from wideseek_apps.world import open_world
from wideseek_core import ConfigError, Task, Trajectory
from wideseek_core.config import load_arguments
from wideseek_core.exits import exit_on_error
from wideseek_data.atlas import load_wide
from wideseek_data.atlas.teacher import Teacher
from wideseek_data.teaching.listing import Listing
from wideseek_data.teaching.listing_teacher import ListingTeacher
from wideseek_data.teaching.wikitables import read_wikitables
from wideseek_eval import load_tasks

METRICS = ("item_f1", "row_f1", "success")


@dataclass(frozen=True, kw_only=True)
class Answered:
    """One question as it was answered."""

    scores: Mapping[str, float]
    status: str
    """How the answering agent ended."""
    sampled: int
    """Tokens of all turns."""
    positions: int
    """Tokens of the conversations of all agents."""
    longest: int
    """Tokens of the longest conversation."""
    turns: int
    """Of the answering agent."""


def teachers(tasks: Sequence[Task], source: Path, subagents: int) -> dict[str, Respond]:
    """Who answers each question. Raises `ConfigError` for one of another data set."""
    listings: dict[str, Listing] = {one.id: one for one in read_wikitables(source, "evaluation")}
    atlas = {plan.task.id: plan for plan in load_wide("test")}
    found: dict[str, Respond] = {}
    for task in tasks:
        if task.id in listings:
            found[task.id] = ListingTeacher(listings[task.id], max_subagents=subagents).respond
        elif task.id in atlas:
            found[task.id] = Teacher([atlas[task.id]]).respond
        else:
            raise ConfigError(f"evaluation.data: nobody knows how to answer {task.id}")
    return found


async def bounds(config: TrainConfig, source: Path) -> dict[str, Any]:
    """By workflow and group of questions."""
    policy = config.policy
    assert isinstance(policy, LocalPolicy)
    tokenizer = ChatTokenizer.load(Path(policy.model))
    tasks = load_tasks(config.evaluation.data)
    respond = teachers(tasks, source, config.team.lead.requests_per_call)
    groups = {"all": {task.id for task in tasks}, **question_groups(tasks)}
    found: dict[str, Any] = {}
    async with open_world(config.world) as tools, open_reachable_judge(config.judge) as judge:
        for arm in ARMS:
            team = config.team if arm == "multi" else wider(config.team, 0)
            answered: dict[str, Answered] = {}
            for task in tasks:
                plays = ScriptedPolicy(
                    respond[task.id],
                    tokenizer,
                    context_tokens=policy.window,
                    max_tokens=policy.turn_tokens,
                )
                episode = await Team(team, plays, tools.search, tools.pages).run(task)
                scores = (await judge.score(task, episode.answer)).metrics
                main, lengths = episode.trajectories[0], [*map(_length, episode.trajectories)]
                answered[task.id] = Answered(
                    scores={name: getattr(scores, name) for name in METRICS},
                    status=str(main.status),
                    sampled=sum(
                        len(turn.response_ids) for t in episode.trajectories for turn in t.turns
                    ),
                    positions=sum(lengths),
                    longest=max(lengths),
                    turns=len(main.turns),
                )
            found[arm] = {
                name: _summary([answered[one] for one in sorted(ids)])
                for name, ids in groups.items()
            }
    return found


def _length(agent: Trajectory) -> int:
    last = agent.turns[-1]
    return len(last.prompt_ids) + len(last.response_ids)


def _summary(group: Sequence[Answered]) -> dict[str, Any]:
    means = {name: round(fmean(one.scores[name] for one in group), 4) for name in METRICS}
    return {
        "questions": len(group),
        **means,
        "ended": dict(Counter(one.status for one in group)),
        "sampled tokens": round(fmean(one.sampled for one in group)),
        "tokens of all conversations": round(fmean(one.positions for one in group)),
        "longest conversation": max(one.longest for one in group),
        "most turns": max(one.turns for one in group),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path, help="the folder that wideseek wikitables reads")
    parser.add_argument("settings", nargs="*", help="files and settings of wideseek train")
    given = parser.parse_args()
    config = load_arguments(TrainConfig, given.settings, usage="").config
    sys.stdout.write(json.dumps(asyncio.run(bounds(config, given.source)), indent=1) + "\n")


if __name__ == "__main__":
    with exit_on_error():
        main()
