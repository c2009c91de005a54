"""What a training run says about lengths and speeds."""

import itertools
import statistics
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, ValidationError

from wideseek_core import DataError, Episode
from wideseek_core.episode_records import read_episodes
from wideseek_core.files import read_objects
from wideseek_core.usage import generated_tokens
from wideseek_rl.numbers import is_number
from wideseek_rl.simulation.engine import Speeds
from wideseek_rl.simulation.lengths import RolloutLength, rollout_length

FULL = 0.5
"""An engine is full while it has at least this part of the most sequences that it ever had."""

PARTS = ("step_s", "rollouts_s", "update_s", "sync_s")
"""The times of a step that are read, and its parts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredRun:
    """A run folder, read."""

    groups: list[list[RolloutLength]]
    speeds: Speeds
    prompts_per_step: int
    group_size: int
    slots: int
    schedule: Mapping[str, Any]
    update_s: float
    sync_s: float
    step_s: float
    """Mean of the steps but the first."""
    settled: bool
    """Whether it is one of steps whose groups did not begin together."""
    rollouts_s: float
    """Mean time that a step waited for its rollouts."""
    unused: float | None
    """Share of the generated tokens that rollouts which do not train have generated, in turns that
    ended; None where the run does not say it."""


def measure_run(folder: Path) -> MeasuredRun:
    """What a run's files say. Raises `DataError` for a folder that has not what is needed."""
    settings = _settings(folder / "rl_config.json")
    metrics = folder / "metrics.jsonl"
    steps = _steps(metrics)
    counted = _counted(steps, settings.together)
    times = {name: _mean(metrics, counted, f"time/{name}") for name in PARTS}
    by_step = dict(_episodes(folder / "episodes"))
    episodes = list(by_step.values())
    if not any(group for step in episodes for group in step):
        where = folder / "episodes"
        raise DataError(f"{where}: has no rollouts that came to an end (rl.log_episodes)")
    return MeasuredRun(
        groups=[[rollout_length(e) for e in group] for step in episodes for group in step],
        speeds=_with_unused(
            measured_speeds([[e for group in step for e in group] for step in episodes]),
            steps,
            by_step,
        ),
        prompts_per_step=settings.prompts_per_step,
        group_size=settings.group_size,
        slots=settings.max_concurrent_rollouts,
        schedule=settings.schedule,
        update_s=times["update_s"],
        sync_s=times["sync_s"],
        step_s=times["step_s"],
        settled=len(steps) > settings.together or settings.together == 1,
        rollouts_s=times["rollouts_s"],
        unused=_unused_share(counted),
    )


def _with_unused(
    speeds: Speeds, steps: Sequence["Step"], episodes: Mapping[int, Sequence[Sequence[Episode]]]
) -> Speeds:
    """Speeds of an engine that generated more than what the recorded rollouts have.

    While groups are sampled that are given up, the engine is as full of them as of others, and its
    throughput is that of both.
    """
    generated = recorded = 0.0
    for step in steps:
        tokens, number = _tokens(step), step.get("step")
        if tokens is not None and isinstance(number, int) and number in episodes:
            generated += sum(tokens)
            found = (episode for group in episodes[number] for episode in group)
            recorded += sum(map(generated_tokens, found))
    factor = max(generated / recorded, 1.0) if recorded else 1.0
    return Speeds(total=speeds.total * factor, sequence=speeds.sequence)


def _unused_share(steps: Sequence["Step"]) -> float | None:
    """Share of the tokens of some steps; None if one of these does not say it."""
    tokens = [found for found in map(_tokens, steps) if found is not None]
    total = sum(map(sum, tokens))
    if len(tokens) < len(steps) or not total:
        return None
    return sum(unused for _, unused in tokens) / total


def _tokens(step: "Step") -> tuple[float, float] | None:
    """Tokens of rollouts that train, and of others, if a step has both."""
    values = [step.get(f"tokens/{name}") for name in ("generated", "unused")]
    found = [float(v) for v in values if isinstance(v, int | float) and is_number(v) and v >= 0]
    return (found[0], found[1]) if len(found) == len(values) else None


def measured_speeds(steps: Sequence[Sequence[Episode]]) -> Speeds:
    """Throughput of the engine when it is full, and of a sequence that is quick.

    The tokens of a turn are spread evenly over the time it took. `sequence` is what nine of ten
    turns do not reach; turns of few tokens, whose time is that of their prompt, count little.
    """
    turns = [
        (episode.started_at + turn.started_s, turn.seconds, turn.response_tokens)
        for step in steps
        for episode in step
        for agent in episode.trajectories
        for turn in agent.turns
        if turn.seconds > 0 and turn.response_tokens
    ]
    if not turns:
        raise DataError("no turn of the run has a duration")
    total = max(_full_throughput(turns), 1e-6)
    speeds = sorted((tokens / seconds, tokens) for _, seconds, tokens in turns)
    left = 0.9 * sum(tokens for _, tokens in speeds)
    quick = speeds[-1][0]
    for speed, tokens in speeds:
        left -= tokens
        if left <= 0:
            quick = speed
            break
    return Speeds(total=total, sequence=min(quick, total))


def _full_throughput(turns: Sequence[tuple[float, float, int]]) -> float:
    """Tokens over seconds of the time with many sequences."""
    events: list[tuple[float, int, float]] = []
    for start, seconds, tokens in turns:
        events += [(start, 1, tokens / seconds), (start + seconds, -1, -tokens / seconds)]
    events.sort()
    count, rate, most, spans = 0, 0.0, 0, list[tuple[int, float, float]]()
    for (at, change, speed), (following, _, _) in itertools.pairwise(events):
        count, rate = count + change, rate + speed
        most = max(most, count)
        spans.append((count, following - at, rate))
    full = [(seconds, rate) for count, seconds, rate in spans if count >= FULL * most]
    seconds = sum(seconds for seconds, _ in full)
    return sum(seconds * rate for seconds, rate in full) / seconds if seconds else 0.0


def _episodes(folder: Path) -> Iterator[tuple[int, list[list[Episode]]]]:
    """The rollouts of each step by prompt, without those that broke, and its number."""
    for path in sorted(folder.glob("step_*.jsonl")):
        groups: dict[str, list[Episode]] = defaultdict(list)
        for record in read_episodes(path):
            if record.episode.trajectories and not record.episode.error:
                groups[record.episode.task_id].append(record.episode)
        number = path.stem.removeprefix("step_")
        yield int(number) if number.isdecimal() else 0, list(groups.values())


class _Settings(BaseModel):
    """What is wanted of the configuration of a run."""

    prompts_per_step: int = Field(ge=1)
    group_size: int = Field(ge=1)
    max_concurrent_rollouts: int = Field(ge=1)
    schedule: dict[str, Any]

    @property
    def together(self) -> int:
        """Steps whose groups begin together with the run."""
        staleness = self.schedule.get("max_staleness")
        return staleness + 1 if isinstance(staleness, int) else 1


def _settings(path: Path) -> _Settings:
    try:
        return _Settings.model_validate_json(path.read_bytes())
    except OSError:
        raise DataError(f"{path.parent}: is not the folder of a training run") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        reason = f"{where}: {first['msg']}" if where else first["msg"]
        raise DataError(f"{path}: is not the configuration of a training run ({reason})") from None


Step = Mapping[str, Any]
"""The metrics of one step."""


def _steps(path: Path) -> list[Step]:
    """The steps of a run. Raises `DataError` if there are none."""
    if not path.exists():
        raise DataError(f"{path}: is missing")
    lines = read_objects(path, growing=True)
    steps: list[Step] = [found for _, found in lines if "time/step_s" in found]
    if not steps:
        raise DataError(f"{path}: has no steps")
    return steps


def _counted(steps: Sequence[Step], together: int) -> Sequence[Step]:
    """The steps that means are over: all but the first.

    With staleness m these are the steps but the first m + 1, if there are more: their groups begin
    together, so that they follow one another faster than others. Later ones may do so, too, so that
    of them whole rounds of m + 1 count, if there is one.
    """
    later = steps[together:]
    rounds = later[: len(later) // together * together]
    return rounds or later or steps[1:] or steps


def _mean(path: Path, steps: Sequence[Step], name: str) -> float:
    """The mean of what was measured. Raises `DataError` if nothing was, or in no time."""
    given = [step.get(name) for step in steps]
    values = [value for value in given if isinstance(value, int | float) and is_number(value)]
    if not values or min(values) < 0 or (name == "time/step_s" and not any(values)):
        raise DataError(f"{path}: the steps have no {name}")
    return statistics.fmean(values)
