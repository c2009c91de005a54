"""The metrics of one step's rollouts, by name."""

import math
import re
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace

from wideseek_core import Status, TableMetrics, ToolCall
from wideseek_core.tasks import source_of
from wideseek_core.usage import total_usage
from wideseek_rl.algorithm.protocol import Reward
from wideseek_rl.algorithm.step_batch import DROP_REASONS, MASK_REASONS, StepBatch
from wideseek_rl.rollout.scored import ScoredEpisode
from wideseek_rl.trainers.protocol import UpdateMetrics

_Group = list[tuple[ScoredEpisode, Reward]]
"""The rollouts of one prompt that train."""

_NOT_IN_NAMES = re.compile(r"[^\w. -]+", re.ASCII)
"""What some services refuse in the name of a metric."""

TOOLS = ("access", "create_sub_agents", "search")
"""Tools that have their metrics in every step, used or not."""

MAX_AGE = 5
"""Tokens and rollouts of this staleness or more are counted together."""


def rollout_metrics(
    groups: Sequence[Sequence[ScoredEpisode]], batch: StepBatch, *, version: int
) -> dict[str, float]:
    """Means over the rollouts that train, and counts of what was left out.

    `version` is that of the weights before the update.
    """
    pairs = [
        (scored, reward)
        for group, rewards in zip(groups, batch.rewards, strict=True)
        for scored, reward in zip(group, rewards, strict=True)
        if reward is not None
    ]
    usable = [scored for scored, _ in pairs]
    metrics = {
        "rollouts": float(sum(map(len, groups))),
        "rollouts/used": float(len(usable)),
        "dropped/rollouts": float(batch.dropped.total()),
        "groups/zero_variance": float(batch.zero_variance),
        "groups/filtered": float(batch.filtered),
        "score/mean": _mean(scored.score.value for scored in usable),
        "score/format_rate": _mean(float(scored.answered) for scored in usable),
    }
    metrics |= {f"dropped/{reason}": float(batch.dropped[reason]) for reason in DROP_REASONS}
    metrics |= {f"masked/{reason}": float(batch.masked[reason]) for reason in MASK_REASONS}
    metrics |= _rewards(batch, [reward for _, reward in pairs]) | _table_metrics(usable)
    metrics |= _agents(usable) | _calls(usable) | _lengths(usable)
    return metrics | _usage(usable) | _staleness(usable, version)


def source_metrics(groups: Sequence[Sequence[ScoredEpisode]], batch: StepBatch) -> dict[str, float]:
    """The metrics of each source that has a prompt in the step, as `source/NAME/METRIC`.

    Means are over the rollouts that train.
    """
    sources: defaultdict[str, list[_Group]] = defaultdict(list)
    for group, rewards in zip(groups, batch.rewards, strict=True):
        pairs = [(s, r) for s, r in zip(group, rewards, strict=True) if r is not None]
        if group:
            sources[source_of(group[0].source)].append(pairs)
    return {
        f"source/{_NOT_IN_NAMES.sub('_', name)}/{metric}": value
        for name in sorted(sources)
        for metric, value in _of_source(sources[name]).items()
    }


def _of_source(groups: Sequence[_Group]) -> dict[str, float]:
    pairs = [pair for group in groups for pair in group]
    values = [[reward.value for _, reward in group] for group in groups if group]
    tables = _table_metrics([scored for scored, _ in pairs])
    return {
        "rollouts": float(len(pairs)),
        "reward": _mean(reward.value for _, reward in pairs),
        "score": _mean(scored.score.value for scored, _ in pairs),
        "groups": float(len(values)),
        "zero_variance": float(sum(max(group) == min(group) for group in values)),
    } | {name.removeprefix("score/"): value for name, value in tables.items()}


def update_metrics(
    update: UpdateMetrics, *, generated: float, rollouts_s: float, update_s: float, sync_s: float
) -> dict[str, float]:
    """What the update of a step did, how long its parts took, and tokens a second."""
    return {f"update/{name}": float(value) for name, value in asdict(update).items()} | {
        "time/rollouts_s": rollouts_s,
        "time/update_s": update_s,
        "time/sync_s": sync_s,
        "time/step_s": rollouts_s + update_s + sync_s,
        "speed/generated_per_s": generated / max(rollouts_s, 1e-9),
        "speed/trained_per_s": update.tokens_run / max(update_s, 1e-9),
    }


def _rewards(batch: StepBatch, rewards: Sequence[Reward]) -> dict[str, float]:
    """Mean and spread of the rewards, and the mean of each term's contribution."""
    groups = [[r.value for r in group if r is not None] for group in batch.rewards]
    names = sorted({name for reward in rewards for name in reward.terms})
    metrics = {
        "reward/mean": _mean(reward.value for reward in rewards),
        "reward/std_in_group": _mean(
            statistics.stdev(values) for values in groups if len(values) > 1
        ),
    }
    return metrics | {
        f"reward/{name}": _mean(reward.terms.get(name, 0.0) for reward in rewards) for name in names
    }


def _staleness(usable: Sequence[ScoredEpisode], version: int) -> dict[str, float]:
    """How many updates the weights that sampled each token are behind those that are trained.

    `tokens/age_N` counts the tokens of version `version` − N; `staleness/age_N` the rollouts whose
    oldest token is of it.
    """
    tokens, rollouts, versions = Counter[int](), Counter[int](), list[int]()
    for scored in usable:
        spans = [span for turn in scored.trained_turns for span in turn.versions]
        for span in spans:
            tokens[version - span.version] += span.end - span.start
        if spans:
            rollouts[version - min(span.version for span in spans)] += 1
            versions.append(len({span.version for span in spans}))
    metrics = {
        "staleness/mean": sum(age * n for age, n in tokens.items()) / max(tokens.total(), 1),
        "staleness/max": float(max(tokens, default=0)),
        "staleness/versions_per_rollout": _mean(versions),
    }
    return metrics | _histogram("tokens", tokens) | _histogram("staleness", rollouts)


def _histogram(name: str, ages: Counter[int]) -> dict[str, float]:
    """Counts by age; those of `MAX_AGE` or more together."""
    counts = {f"{name}/age_{age}": float(ages[age]) for age in range(MAX_AGE)}
    older = sum(count for age, count in ages.items() if age >= MAX_AGE)
    return counts | {f"{name}/age_{MAX_AGE}_or_more": float(older)}


def _table_metrics(usable: Sequence[ScoredEpisode]) -> dict[str, float]:
    """Item and row F1 and success, where the tasks are tables."""
    tables = [s.score.metrics for s in usable if isinstance(s.score.metrics, TableMetrics)]
    if not tables:
        return {}
    return {
        "score/item_f1": _mean(table.item_f1 for table in tables),
        "score/row_f1": _mean(table.row_f1 for table in tables),
        "score/success": _mean(table.success for table in tables),
    }


def _agents(usable: Sequence[ScoredEpisode]) -> dict[str, float]:
    """How wide and how long rollouts were, and how their agents ended."""
    agents = [agent for scored in usable for agent in scored.episode.trajectories]
    metrics = {
        "agents/subagents_per_rollout": _mean(
            sum(agent.role == "subagent" for agent in scored.episode.trajectories)
            for scored in usable
        )
    }
    for role in sorted({agent.role for agent in agents}):
        metrics[f"turns/{role}"] = _mean(len(a.turns) for a in agents if a.role == role)
    for status in Status:
        metrics[f"ended/{status}"] = _mean(float(agent.status is status) for agent in agents)
    return metrics


def _calls(usable: Sequence[ScoredEpisode]) -> dict[str, float]:
    """Calls of each tool and what they ask for, per rollout and per turn, and failures.

    A dropped call is the model's mistake. Failed results are errors, empty pages (a service that
    is down makes many of them), and subagents that failed.
    """
    turns = [turn for scored in usable for turn in scored.turns]
    calls = [call for turn in turns for call in turn.calls]
    made = Counter(call.name for call in calls)
    asked: Counter[str] = Counter()
    for call in calls:
        asked[call.name] += _requests(call)
    metrics = {
        "calls/dropped_per_turn": _mean(turn.dropped_calls for turn in turns),
        "calls/failed_share": _mean(not result.ok for turn in turns for result in turn.results),
    }
    for name in sorted({*TOOLS, *made}):
        metrics[f"calls/{name}_per_rollout"] = made[name] / max(len(usable), 1)
        metrics[f"calls/{name}_per_turn"] = made[name] / max(len(turns), 1)
        metrics[f"requests/{name}_per_rollout"] = asked[name] / max(len(usable), 1)
        metrics[f"requests/{name}_per_turn"] = asked[name] / max(len(turns), 1)
    return metrics


def _usage(usable: Sequence[ScoredEpisode]) -> dict[str, float]:
    """What a rollout costs on average, by role: agents, summaries of pages and the judge."""
    parts = [part for scored in usable for part in scored.episode.usage]
    parts += [part for scored in usable for part in scored.score.judge_usage]
    metrics: dict[str, float] = {}
    for part in total_usage(replace(part, model="") for part in parts):
        for name in ("requests", "prompt_tokens", "response_tokens", "cost"):
            value: float = getattr(part, name)
            if name != "cost" or value:
                metrics[f"usage/{part.role}/{name}"] = value / max(len(usable), 1)
    return metrics


def _requests(call: ToolCall) -> int:
    """How many queries, pages or subtasks a call asks for: the length of its list, or one."""
    lists = [value for value in call.arguments.values() if isinstance(value, list)]
    return len(lists[0]) if lists else 1


def _lengths(usable: Sequence[ScoredEpisode]) -> dict[str, float]:
    """Tokens of responses and prompts."""
    turns = [turn for scored in usable for turn in scored.turns]
    responses = [turn.response_tokens for turn in turns]
    ends = [agent.turns[-1] for s in usable for agent in s.episode.trajectories if agent.turns]
    return {
        "tokens/response_mean": _mean(responses),
        "tokens/response_max": float(max(responses, default=0)),
        "tokens/prompt_mean": _mean(turn.prompt_tokens for turn in turns),
        "tokens/agent_total_mean": _mean(t.prompt_tokens + t.response_tokens for t in ends),
        "tokens/response_per_rollout": sum(responses) / max(len(usable), 1),
        "tokens/generated": float(sum(responses)),
    }


def _mean(values: Iterable[float]) -> float:
    """The mean; 0 of no values."""
    numbers = list(values)
    return math.fsum(numbers) / len(numbers) if numbers else 0.0
