"""The metrics of one step, by name. What was not measured, as the mean of nothing, has none."""

import math
import re
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from wideseek_core import Status, TableMetrics, ToolCall
from wideseek_core.tasks import source_of
from wideseek_core.usage import generated_tokens, total_usage
from wideseek_rl.algorithm.protocol import Reward
from wideseek_rl.algorithm.step_batch import DROP_REASONS, MASK_REASONS, StepBatch
from wideseek_rl.rollout.scored import ScoredEpisode
from wideseek_rl.trainers.protocol import UpdateMetrics, measured

_Group = list[tuple[ScoredEpisode, Reward]]
"""The rollouts of one prompt that train."""

_NOT_IN_NAMES = re.compile(r"[^\w. -]+", re.ASCII)
"""What some services refuse in the name of a metric."""

TOOLS = ("access", "create_sub_agents", "search")
"""Tools that have their metrics in every step, used or not."""

MAX_AGE = 5
"""Tokens and rollouts of this staleness or more are counted together."""


def rollout_metrics(
    groups: Sequence[Sequence[ScoredEpisode]],
    batch: StepBatch,
    *,
    version: int,
    unused_tokens: int = 0,
) -> dict[str, float]:
    """Means over the rollouts that train, and counts of what was left out.

    `version` is that of the weights before the update. `unused_tokens` are those of groups that
    were given up: with those of rollouts that do not train they are `tokens/unused`, beside
    `tokens/generated` of rollouts that do.
    """
    pairs = [
        (scored, reward)
        for group, rewards in zip(groups, batch.rewards, strict=True)
        for scored, reward in zip(group, rewards, strict=True)
        if reward is not None
    ]
    usable = [scored for scored, _ in pairs]
    used = {id(scored) for scored in usable}
    dropped = [scored.episode for group in groups for scored in group if id(scored) not in used]
    metrics = {
        "rollouts": float(sum(map(len, groups))),
        "rollouts/used": float(len(usable)),
        "dropped/rollouts": float(batch.dropped.total()),
        "groups/zero_variance": float(batch.zero_variance),
        "groups/filtered": float(batch.filtered),
        "tokens/unused": float(unused_tokens + sum(map(generated_tokens, dropped))),
    }
    metrics |= _means(
        {
            "score/mean": (scored.score.value for scored in usable),
            "score/format_rate": (float(scored.answered) for scored in usable),
        }
    )
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
    counts = {
        "rollouts": float(len(pairs)),
        "groups": float(len(values)),
        "zero_variance": float(sum(max(group) == min(group) for group in values)),
    }
    means = {
        "reward": (reward.value for _, reward in pairs),
        "score": (scored.score.value for scored, _ in pairs),
    }
    return counts | _means(means) | {k.removeprefix("score/"): v for k, v in tables.items()}


def update_metrics(
    update: UpdateMetrics, *, generated: float, rollouts_s: float, update_s: float, sync_s: float
) -> dict[str, float]:
    """What the update of a step did, how long its parts took, and tokens a second.

    Those generated are over the whole step: where rollouts run during updates a step may wait for
    none of them.
    """
    step_s = rollouts_s + update_s + sync_s
    metrics = {f"update/{name}": float(value) for name, value in measured(update).items()} | {
        "time/rollouts_s": rollouts_s,
        "time/update_s": update_s,
        "time/sync_s": sync_s,
        "time/step_s": step_s,
        "speed/generated_per_s": generated / max(step_s, 1e-9),
    }
    if update.tokens_run:  # where nothing ran, there was no speed
        metrics["speed/trained_per_s"] = update.tokens_run / max(update_s, 1e-9)
    return metrics


def _rewards(batch: StepBatch, rewards: Sequence[Reward]) -> dict[str, float]:
    """Mean and spread of the rewards, and the mean of each term's contribution."""
    groups = [[r.value for r in group if r is not None] for group in batch.rewards]
    names = sorted({name for reward in rewards for name in reward.terms})
    deviations = [statistics.stdev(values) for values in groups if len(values) > 1]
    means = _means({"reward/mean": (r.value for r in rewards), "reward/std_in_group": deviations})
    return means | _means(
        {f"reward/{name}": [reward.terms.get(name, 0.0) for reward in rewards] for name in names}
    )


def _staleness(usable: Sequence[ScoredEpisode], version: int) -> dict[str, float]:
    """How many updates the weights that sampled each token are behind those that are trained.

    `tokens/age_N` counts the tokens of version `version` − N; `staleness/age_N` the rollouts whose
    oldest token is of it. None of it is known where the engine reports no versions.
    """
    tokens, rollouts, versions = Counter[int](), Counter[int](), list[int]()
    for scored in usable:
        spans = [span for turn in scored.trained_turns for span in turn.versions]
        for span in spans:
            tokens[version - span.version] += span.end - span.start
        if spans:
            rollouts[version - min(span.version for span in spans)] += 1
            versions.append(len({span.version for span in spans}))
    if not tokens.total():
        return {}
    metrics = {
        "staleness/mean": sum(age * n for age, n in tokens.items()) / tokens.total(),
        "staleness/max": float(max(tokens)),
    }
    metrics |= _means({"staleness/versions_per_rollout": versions})
    return metrics | _histogram("tokens", tokens) | _histogram("staleness", rollouts)


def _histogram(name: str, ages: Counter[int]) -> dict[str, float]:
    """Counts by age; those of `MAX_AGE` or more together."""
    counts = {f"{name}/age_{age}": float(ages[age]) for age in range(MAX_AGE)}
    older = sum(count for age, count in ages.items() if age >= MAX_AGE)
    return counts | {f"{name}/age_{MAX_AGE}_or_more": float(older)}


def _table_metrics(usable: Sequence[ScoredEpisode]) -> dict[str, float]:
    """Item and row F1 and success, where the tasks are tables."""
    tables = [s.score.metrics for s in usable if isinstance(s.score.metrics, TableMetrics)]
    return _means(
        {
            "score/item_f1": (table.item_f1 for table in tables),
            "score/row_f1": (table.row_f1 for table in tables),
            "score/success": (table.success for table in tables),
        }
    )


def _agents(usable: Sequence[ScoredEpisode]) -> dict[str, float]:
    """How wide and how long rollouts were, and how their agents ended."""
    agents = [agent for scored in usable for agent in scored.episode.trajectories]
    values: dict[str, Iterable[float]] = {
        "agents/subagents_per_rollout": [
            sum(agent.role == "subagent" for agent in scored.episode.trajectories)
            for scored in usable
        ]
    }
    for role in sorted({agent.role for agent in agents}):
        values[f"turns/{role}"] = [len(a.turns) for a in agents if a.role == role]
    for status in Status:
        values[f"ended/{status}"] = [float(agent.status is status) for agent in agents]
    return _means(values)


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
    metrics = _means(
        {
            "calls/dropped_per_turn": (turn.dropped_calls for turn in turns),
            "calls/failed_share": (not result.ok for turn in turns for result in turn.results),
        }
    )
    counts = {"rollout": len(usable), "turn": len(turns)}
    for name in sorted({*TOOLS, *made}):
        for unit, count in counts.items():
            if count:
                metrics[f"calls/{name}_per_{unit}"] = made[name] / count
                metrics[f"requests/{name}_per_{unit}"] = asked[name] / count
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
                metrics[f"usage/{part.role}/{name}"] = value / len(usable)
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
    metrics = {"tokens/generated": float(sum(responses))}
    if responses:
        metrics["tokens/response_max"] = float(max(responses))
    return metrics | _means(
        {
            "tokens/response_mean": responses,
            "tokens/prompt_mean": (turn.prompt_tokens for turn in turns),
            "tokens/agent_total_mean": (t.prompt_tokens + t.response_tokens for t in ends),
            "tokens/response_per_rollout": (
                sum(turn.response_tokens for turn in scored.turns) for scored in usable
            ),
        }
    )


def _means(values: Mapping[str, Iterable[float]]) -> dict[str, float]:
    """The mean of each; of no values there is none."""
    numbers = {name: list(found) for name, found in values.items()}
    return {name: math.fsum(found) / len(found) for name, found in numbers.items() if found}
