import asyncio
import itertools
import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from wideseek_core import (
    Config,
    DataError,
    Episode,
    Finish,
    Status,
    ToolResult,
    Trajectory,
    Turn,
    WideSeekError,
)
from wideseek_core.episode_records import episode_record
from wideseek_core.json_text import to_json
from wideseek_core.simulated_time import simulate
from wideseek_rl.rollout.schedule_config import (
    AsyncScheduleConfig,
    SyncScheduleConfig,
    TailScheduleConfig,
)
from wideseek_rl.simulation.config import LengthConfig, ScheduleSimConfig
from wideseek_rl.simulation.engine import SimulatedEngine, Speeds
from wideseek_rl.simulation.lengths import (
    DrawnLengths,
    Lengths,
    MeasuredLengths,
    RolloutLength,
    rollout_length,
)
from wideseek_rl.simulation.measure import measure_run
from wideseek_rl.simulation.report import schedule_config, schedule_report
from wideseek_rl.simulation.schedules import Setting, SimulatedRun, simulate_schedule

SCHEDULES: list[Config] = [
    SyncScheduleConfig(),
    TailScheduleConfig(),
    AsyncScheduleConfig(max_staleness=1),
    AsyncScheduleConfig(max_staleness=3),
]


def test_time_passes_without_waiting() -> None:
    async def program() -> tuple[float, float]:
        loop = asyncio.get_running_loop()
        started = loop.time()
        await asyncio.gather(asyncio.sleep(3600), asyncio.sleep(7200))
        async with asyncio.timeout(10_000):
            await asyncio.sleep(86.4)
        return started, loop.time()

    assert simulate(program()) == (0.0, pytest.approx(7286.4))


def test_what_never_happens_is_an_error() -> None:
    async def program() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(WideSeekError, match="never happens"):
        simulate(program())


@pytest.mark.parametrize("late", [1e7, 1e9])
def test_timers_run_however_late_it_is(late: float) -> None:
    async def program() -> float:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(late)
        started = loop.time()
        await asyncio.gather(asyncio.sleep(1.1), asyncio.sleep(0.3), asyncio.sleep(2.3))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.7):
                await asyncio.sleep(5.0)
        return loop.time() - started

    assert simulate(program()) == pytest.approx(3.0, abs=1e-5)


def test_times_without_end_are_an_error() -> None:
    with pytest.raises(WideSeekError, match="simulated time passes"):
        simulate(asyncio.sleep(1e300))
    config = ScheduleSimConfig(
        engine_tokens_per_s=1, sequence_tokens_per_s=1, lengths=LengthConfig(median_tokens=1e300)
    )
    with pytest.raises(WideSeekError, match="simulated time passes"):
        schedule_report(config)


def test_sequences_share_the_throughput_of_the_engine() -> None:
    # 10 tokens a second for all: two sequences get 5 each. The one of 10 tokens ends after 2 s; the
    # other has 10 of its 20 left and runs alone at 8: 1.25 s.
    async def program() -> tuple[list[float], float, float]:
        engine, loop = SimulatedEngine(Speeds(total=10, sequence=8)), asyncio.get_running_loop()
        ends: list[float] = []

        async def serve(tokens: float) -> None:
            await engine.serve(tokens, 1)
            ends.append(loop.time())

        await asyncio.gather(serve(10), serve(20))
        await asyncio.sleep(5)
        engine.advance()
        return ends, engine.busy_s, engine.tokens

    ends, busy, tokens = simulate(program())
    assert ends == pytest.approx([2, 3.25])
    assert (busy, tokens) == (pytest.approx(3.25), pytest.approx(30))


def test_an_engine_slows_down_and_forgets_what_is_cancelled() -> None:
    async def program() -> float:
        engine = SimulatedEngine(Speeds(total=10, sequence=10))
        lost = asyncio.ensure_future(engine.serve(100, 1))
        kept = asyncio.ensure_future(engine.serve(10, 1))
        await asyncio.sleep(1)  # 5 tokens each
        lost.cancel()
        await asyncio.sleep(0)
        engine.slow_down(0.0)
        await asyncio.sleep(7)
        engine.slow_down(0.5)  # 5 tokens at 5 a second
        await kept
        return asyncio.get_running_loop().time()

    assert simulate(program()) == pytest.approx(9)


class Always(Lengths):
    """Rollouts of one length."""

    def __init__(self, *lengths: float, tools_s: float = 2) -> None:
        self._lengths, self._tools_s = lengths, tools_s

    def group(self, rng: random.Random, size: int) -> list[RolloutLength]:
        tokens = rng.choice(self._lengths)
        return [RolloutLength(tokens=tokens, width=2, tools_s=self._tools_s)] * size


def setting(**changes: Any) -> Setting:
    values: dict[str, Any] = {
        "lengths": Always(100.0),
        "speeds": Speeds(total=1e6, sequence=10),
        "slots": 100,
        "prompts_per_step": 2,
        "group_size": 2,
        "update_s": 5,
        "sync_s": 1,
        "overlap": 1.0,
        "steps": 40,
        "seed": 0,
    }
    return Setting(**(values | changes))


def test_a_synchronous_step_by_hand() -> None:
    # 10 s of tokens, 2 s of tools, 5 s of update, 1 s of weights.
    run = simulate_schedule(SyncScheduleConfig(), setting())
    assert (run.step_s, run.rollouts_s) == (pytest.approx(18), pytest.approx(12))
    assert run.prompts_per_hour == pytest.approx(2 * 3600 / 18)
    assert run.tokens_per_s == pytest.approx(2 * 2 * 200 / 18)
    assert (run.engine_idle, run.trainer_idle) == (pytest.approx(8 / 18), pytest.approx(13 / 18))
    assert run.staleness == {0: 1.0}


def test_slots_bound_the_rollouts_at_the_same_time() -> None:
    # Four rollouts, two at a time: twice 12 s.
    run = simulate_schedule(SyncScheduleConfig(), setting(slots=2))
    assert run.rollouts_s == pytest.approx(24)


def test_an_asynchronous_step_by_hand() -> None:
    # Rollouts take 12 s, updates 6 s. Groups of two steps are under way, so that two steps take as
    # long as a rollout and an update.
    run = simulate_schedule(AsyncScheduleConfig(max_staleness=1), setting(sync_s=0, update_s=6))
    assert run.step_s == pytest.approx(9)
    assert run.staleness == {1: 1.0}


@pytest.mark.parametrize("steps", [4, 40])
def test_the_beginning_of_an_asynchronous_run_is_left_out(steps: int) -> None:
    # Rollouts take 12 s, and 13 begin together. Afterwards each waits for 12 updates of 2 s: the
    # trainer is the limit, and all groups are 12 steps old.
    given = setting(sync_s=0, update_s=2, steps=steps)
    run = simulate_schedule(AsyncScheduleConfig(max_staleness=12), given)
    assert run.step_s == pytest.approx(2)
    assert run.staleness == {12: 1.0}


def test_devices_that_are_shared_slow_both_down() -> None:
    config = AsyncScheduleConfig(max_staleness=1)
    apart = simulate_schedule(config, setting())
    shared = simulate_schedule(config, setting(overlap=0.5))
    assert shared.step_s > apart.step_s
    alone = simulate_schedule(SyncScheduleConfig(), setting(overlap=0.5))
    assert alone.step_s == pytest.approx(18)  # nothing overlaps


def test_an_update_is_slow_only_while_the_engine_works() -> None:
    lengths = Always(100.0, tools_s=0)
    given = setting(prompts_per_step=1, group_size=1, update_s=40, sync_s=0, lengths=lengths)
    config = AsyncScheduleConfig(max_staleness=1)
    run = simulate_schedule(config, replace(given, overlap=0.5))
    # 10 s of tokens take 20 s beside the update, which does 10 of its 40 s in them.
    assert run.step_s == pytest.approx(20 + 30)
    assert run.engine_idle == pytest.approx(30 / 50)
    # With tools between the halves: 10 s, 2 s of tools at full speed, 10 s, and the rest alone.
    slow = simulate_schedule(config, replace(given, overlap=0.5, lengths=Always(100.0, tools_s=2)))
    assert slow.step_s == pytest.approx(10 + 2 + 10 + (40 - 5 - 2 - 5))


def test_tokens_for_nothing_are_those_of_groups_that_are_given_up() -> None:
    # Of two prompts a step trains on one; the other is sampled again for the next step. So of three
    # groups that are sampled one is for nothing.
    config = TailScheduleConfig(extra=1.0)
    assert simulate_schedule(config, setting(prompts_per_step=1)).wasted == pytest.approx(1 / 3)
    lengths = [RolloutLength(tokens=tokens, width=1, tools_s=2) for tokens in (100, 200)]

    class Alternating(Lengths):
        def __init__(self) -> None:
            self._drawn = itertools.cycle([lengths[0], lengths[1], lengths[1]])

        def group(self, rng: random.Random, size: int) -> list[RolloutLength]:
            return [next(self._drawn)] * size

    given = setting(prompts_per_step=1, lengths=Alternating(), group_size=1)
    # 100 tokens train, 100 of 200 are given up after 12 s (10 s of tokens), then 200 train.
    assert simulate_schedule(config, given).wasted == pytest.approx(100 / 400)


def test_long_tails_are_what_tail_and_async_are_for() -> None:
    lengths = Always(*[100.0] * 9, 2000.0)
    runs = [simulate_schedule(config, setting(lengths=lengths)) for config in SCHEDULES]
    sync, tail, one, three = (run.step_s for run in runs)
    assert tail < sync
    assert three < one < sync
    assert runs[1].staleness == {0: 1.0}
    assert max(runs[3].staleness) <= 3


@settings(max_examples=15)
@given(st.integers(0, 1000), st.sampled_from(SCHEDULES))
def test_the_books_of_a_simulated_run_balance(seed: int, config: Config) -> None:
    lengths = DrawnLengths(LengthConfig(median_tokens=50))
    run = simulate_schedule(config, setting(lengths=lengths, seed=seed, steps=10))
    assert run.rollouts_s + 6 == pytest.approx(run.step_s)
    assert sum(run.staleness.values()) == pytest.approx(1)
    assert max(run.staleness) <= getattr(config, "max_staleness", 0)
    for share in (run.engine_idle, run.engine_load, run.trainer_idle, run.wasted):
        assert -1e-9 <= share <= 1
    if not isinstance(config, TailScheduleConfig):
        assert run.wasted == pytest.approx(0, abs=1e-9)  # what waits at the end is not for nothing


def turn(tokens: int, *results: ToolResult, started: float = 0, seconds: float = 1) -> Turn:
    return Turn(
        text="",
        finish=Finish.STOP,
        response_tokens=tokens,
        results=results,
        started_s=started,
        seconds=seconds,
    )


def agent(number: int, *turns: Turn, parent: int | None = None, seconds: float = 0) -> Trajectory:
    return Trajectory(
        agent=number,
        role="lead" if parent is None else "subagent",
        status=Status.FINISHED,
        turns=turns,
        parent=parent,
        seconds=seconds,
    )


def episode(*agents: Trajectory, task: str = "t", trial: int = 0, at: float = 0) -> Episode:
    return Episode(task_id=task, trial=trial, trajectories=agents, started_at=at)


def test_the_path_of_a_rollout_follows_its_slowest_subagents() -> None:
    def search(seconds: float) -> ToolResult:
        return ToolResult(request="q", text="", seconds=seconds)

    found = rollout_length(
        episode(
            agent(0, turn(10), turn(20)),
            agent(1, turn(5, search(1), search(3)), turn(5), parent=0, seconds=9),
            agent(2, turn(70), parent=0, seconds=4),
        )
    )
    # The lead's first turn created both; the first of them took longer.
    assert (found.tokens, found.tools_s) == (10 + 20 + 5 + 5, 3)
    assert found.width == pytest.approx(110 / 40)


def run_folder(folder: Path, *, steps: int = 3) -> Path:
    """Two prompts of two rollouts a step, of 10 or 40 tokens at 10 tokens a second."""
    (folder / "episodes").mkdir(parents=True)
    schedule = {"kind": "sync"}
    numbers = {"prompts_per_step": 2, "group_size": 2, "max_concurrent_rollouts": 8}
    (folder / "rl_config.json").write_text(json.dumps({"schedule": schedule, **numbers}))
    lines: list[str] = []
    for step in range(1, steps + 1):
        times = {"rollouts_s": 4.0, "update_s": 2.0, "sync_s": 0.5, "step_s": 6.5}
        metrics = {f"time/{name}": value for name, value in times.items()}
        lines += [json.dumps({"version": 1, "step": step, **metrics})]
        records = [
            episode_record(
                episode(
                    agent(0, turn(tokens, seconds=tokens / 10)), task=name, trial=trial, at=7 * step
                ),
                step=step,
            )
            for name, tokens in (("short", 10), ("long", 40))
            for trial in range(2)
        ]
        text = "".join(f"{to_json(record)}\n" for record in records)
        (folder / f"episodes/step_{step:06d}.jsonl").write_text(text)
    (folder / "metrics.jsonl").write_text(
        "\n".join([*lines, '{"step": 3, "eval/score": 1}']) + "\n"
    )
    return folder


def test_a_run_is_measured(tmp_path: Path) -> None:
    run = measure_run(run_folder(tmp_path / "run"))
    assert (run.prompts_per_step, run.group_size, run.slots) == (2, 2, 8)
    assert (run.step_s, run.rollouts_s, run.update_s, run.sync_s) == (6.5, 4, 2, 0.5)
    assert sorted(length.tokens for group in run.groups[:2] for length in group) == [10, 10, 40, 40]
    # Four sequences for 1 s and two for 3 s, at 10 tokens a second each: 100 tokens in 4 s.
    assert (run.speeds.total, run.speeds.sequence) == (pytest.approx(25), pytest.approx(10))


@pytest.mark.parametrize(
    ("staleness", "steps", "step_s", "settled"),
    [
        (1, 5, 3.5, True),
        (1, 6, 4.5, True),
        (2, 5, 4.5, True),
        (2, 8, 5.0, True),
        (2, 3, 2.5, False),
        (4, 1, 1.0, False),
    ],
)
def test_steps_whose_groups_began_together_are_not_measured(
    tmp_path: Path, staleness: int, steps: int, step_s: float, settled: bool
) -> None:
    folder = run_folder(tmp_path / "run", steps=steps)
    settings = json.loads((folder / "rl_config.json").read_text())
    settings["schedule"] = {"kind": "async", "max_staleness": staleness}
    (folder / "rl_config.json").write_text(json.dumps(settings))
    times = {"time/rollouts_s": 0.5, "time/update_s": 0.25, "time/sync_s": 0.0}
    lines = [json.dumps({"time/step_s": float(step), **times}) for step in range(1, steps + 1)]
    (folder / "metrics.jsonl").write_text("\n".join([*lines, ""]))
    run = measure_run(folder)
    assert (run.step_s, run.settled) == (step_s, settled)
    text = schedule_report(ScheduleSimConfig(run=folder, steps=4, schedules=("sync",)))
    assert ("whose groups began together" in text) is not settled


def test_a_run_of_one_synchronous_step_is_measured(tmp_path: Path) -> None:
    run = measure_run(run_folder(tmp_path / "run", steps=1))
    assert (run.step_s, run.settled) == (6.5, True)


@pytest.mark.parametrize(
    ("tokens", "total", "unused"),
    [
        ({"generated": 100.0, "unused": 0.0}, 25.0, 0.0),
        ({"generated": 100.0, "unused": 60.0}, 40.0, 0.375),
        ({"generated": 60.0, "unused": 40.0}, 25.0, 0.4),  # all of them recorded
        ({"generated": 100.0}, 25.0, None),
        ({"generated": 100.0, "unused": -1.0}, 25.0, None),
    ],
)
def test_an_engine_generated_what_was_given_up_as_well(
    tmp_path: Path, tokens: dict[str, float], total: float, unused: float | None
) -> None:
    folder = run_folder(tmp_path / "run")
    path = folder / "metrics.jsonl"
    steps = [json.loads(line) for line in path.read_text().splitlines()]
    counted = {f"tokens/{name}": value for name, value in tokens.items()}
    path.write_text("".join(json.dumps(step | counted) + "\n" for step in steps[:3]))
    run = measure_run(folder)
    assert (run.speeds.total, run.unused) == (pytest.approx(total), pytest.approx(unused))
    output = tmp_path / "out.json"
    config = ScheduleSimConfig(run=folder, steps=4, schedules=("sync",), output=output)
    text = schedule_report(config)
    assert ("% measured in turns that ended, 0% simulated" in text) is bool(unused)
    measured = json.loads(output.read_text())["run"]["measured"]
    assert measured.get("unused") == pytest.approx(unused)


def test_a_run_that_was_killed_or_is_at_work_is_measured(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run")
    for name in ("metrics.jsonl", "episodes/step_000003.jsonl"):
        with (folder / name).open("a") as file:
            file.write('{"version": 1, "step": 4, "time/step_s": 9')
    run = measure_run(folder)
    assert (run.step_s, len(run.groups)) == (6.5, 6)


def test_the_report_checks_the_model_against_the_run(tmp_path: Path) -> None:
    output = tmp_path / "out.json"
    config = ScheduleSimConfig(run=run_folder(tmp_path / "run"), steps=20, output=output)
    text = schedule_report(config)
    assert all(name in text for name in ("sync", "tail", "async:4", "6.5 s a step measured"))
    values = json.loads(output.read_text())
    measured, simulated = values["run"]["measured"], values["run"]["simulated"]
    assert 0.8 < simulated["step_s"] / measured["step_s"] < 1.3


@pytest.mark.parametrize("kind", ["dynamic", "installed"])
def test_a_run_of_another_schedule_lends_its_lengths_to_the_others(
    tmp_path: Path, kind: str
) -> None:
    folder, output = run_folder(tmp_path / "run"), tmp_path / "out.json"
    settings = json.loads((folder / "rl_config.json").read_text())
    settings["schedule"] = {"kind": kind, "max_rounds": 4}
    (folder / "rl_config.json").write_text(json.dumps(settings))
    config = ScheduleSimConfig(run=folder, steps=4, schedules=("sync",), output=output)
    text = schedule_report(config)
    assert "\nsync " in text
    assert f"the run itself ({kind}): 6.5 s a step measured; its schedule is not" in text
    assert json.loads(output.read_text())["run"] == {"measured": {"step_s": 6.5, "rollouts_s": 4.0}}


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        ("rl_config.json", "is not the configuration of a training run"),
        ("metrics.jsonl", "metrics.jsonl: has no steps"),
        ("episodes", "has no rollouts"),
    ],
)
def test_a_folder_that_is_no_run_is_one_clear_line(
    tmp_path: Path, spoil: str, message: str
) -> None:
    folder = run_folder(tmp_path / "run")
    if spoil == "episodes":
        for path in (folder / spoil).iterdir():
            path.unlink()
    else:
        (folder / spoil).write_text("" if spoil == "metrics.jsonl" else "[]")
    with pytest.raises(DataError, match=message):
        measure_run(folder)
    with pytest.raises(DataError):
        measure_run(tmp_path / "absent")


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("rl_config.json", '"group_size": 2', '"group_size": 0', r"rl_config\.json: .*group_size"),
        ("rl_config.json", '"group_size": 2', '"group_size": null', r"\.json: .*group_size"),
        ("rl_config.json", '_rollouts": 8', '_rollouts": 0', r"max_concurrent_rollouts: "),
        ("rl_config.json", '{"kind": "sync"}', '"sync"', r"rl_config\.json: .*schedule"),
        ("rl_config.json", '"schedule"', '"other"', r"rl_config\.json: .*schedule"),
        ("metrics.jsonl", "time/update_s", "time/update", r"the steps have no time/update_s"),
        ("metrics.jsonl", '"time/sync_s": 0.5', '"time/sync_s": null', r"have no time/sync_s"),
        ("metrics.jsonl", '"time/sync_s": 0.5', '"time/sync_s": "x"', r"have no time/sync_s"),
        ("metrics.jsonl", '"time/sync_s": 0.5', '"time/sync_s": NaN', r"have no time/sync_s"),
        ("metrics.jsonl", '"time/step_s": 6.5', '"time/step_s": 0', r"have no time/step_s"),
    ],
)
def test_a_run_whose_files_were_changed_is_one_clear_line(
    tmp_path: Path, file: str, old: str, new: str, message: str
) -> None:
    path = run_folder(tmp_path / "run") / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(DataError, match=message):
        measure_run(tmp_path / "run")


def test_any_staleness_can_be_simulated() -> None:
    config = ScheduleSimConfig(
        engine_tokens_per_s=1e4, sequence_tokens_per_s=60, steps=4, schedules=("async:3",)
    )
    assert schedule_config("async:3", config) == AsyncScheduleConfig(max_staleness=3)
    assert "\nasync:3 " in schedule_report(config)


def test_measured_lengths_keep_prompts_together() -> None:
    groups = [[RolloutLength(tokens=n * 10 + m, width=1) for m in range(3)] for n in (1, 2)]
    drawn = MeasuredLengths(groups)
    for size in (2, 3, 7):
        found = drawn.group(random.Random(0), size)
        assert len(found) == size
        assert len({int(length.tokens) // 10 for length in found}) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"engine_tokens_per_s": 10},
        {"run": "x", "schedules": []},
        {"run": "x", "schedules": ["async"]},
        {"run": "x", "schedules": ["async:0"]},
        {"run": "x", "schedules": ["sync", "dynamic"]},
        {"run": "x", "overlap": 0},
        {"run": "x", "lengths": {"prompt_sigma": 300}},
    ],
)
def test_settings_that_say_too_little_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ScheduleSimConfig.model_validate(wrong)


def test_the_same_seed_gives_the_same_run() -> None:
    def once(seed: int) -> SimulatedRun:
        lengths = DrawnLengths(LengthConfig())
        return simulate_schedule(TailScheduleConfig(), setting(lengths=lengths, seed=seed, steps=8))

    assert once(1) == once(1)
    assert once(1) != once(2)
