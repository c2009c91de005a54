"""What the learning run and the schedules on a GPU compute from what they measured."""

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from wideseek_agents import ScriptedPolicy
from wideseek_apps.policy import LocalPolicy
from wideseek_apps.training_config import TrainConfig
from wideseek_core import TableGold, Task
from wideseek_core.config import load_arguments
from wideseek_rl.loop.loggers.protocol import StepReport
from wideseek_rl.models.start_policy import start_policy
from wideseek_rl.testing import make_agent, make_scored, make_turn
from wideseek_tools.backends.memory import MemoryPages, MemorySearch

BENCHMARKS = Path(__file__).with_name("benchmarks")


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """Imports a benchmark by its name."""
    monkeypatch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])
    return import_module


def ignore(*_: object) -> None:
    """Takes what is noted."""


def test_questions_are_paired_and_means_are_those_of_shared_ones(benchmark: Any) -> None:
    before = {"a": [0.0, 0.5], "b": [1.0], "only before": [1.0]}
    after = {"b": [1.0, 1.0, 1.0], "a": [0.75], "only after": [0.0]}
    found = benchmark("gpu_learning").paired(before, after)
    assert (found["questions"], found["a"], found["b"]) == (2, 0.625, 0.875)
    # One question gains 0.5, the other nothing: draws of both have means of 0, 0.25 and 0.5.
    assert (found["difference"], found["low"], found["high"]) == (0.25, 0.0, 0.5)
    assert benchmark("gpu_learning").paired({"x": [1.0]}, {"y": [1.0]}) == {"questions": 0}


def test_equal_changes_have_an_interval_of_no_width(benchmark: Any) -> None:
    before = {str(n): [n / 10] for n in range(8)}
    after = {str(n): [n / 10 + 0.2] for n in range(8)}
    found = benchmark("gpu_learning").paired(before, after)
    assert (found["low"], found["difference"], found["high"]) == (0.2, 0.2, 0.2)


def test_every_seed_counts_alike_and_with_questions_of_both_sides(benchmark: Any) -> None:
    # In seed 2 the question b was scored before alone, and a has two trials.
    one = ({"a": [0.2], "b": [0.4]}, {"a": [0.6], "b": [0.8]})
    two = ({"a": [0.0, 0.4], "b": [1.0]}, {"a": [1.0, 0.8]})
    before, after = benchmark("gpu_learning").pooled([one, two])
    assert before == {"a": [0.2, pytest.approx(0.2)], "b": [0.4]}
    assert after == {"a": [0.6, pytest.approx(0.9)], "b": [0.8]}


def measured(value: float) -> dict[str, dict[str, list[float]]]:
    """One question's value of every metric."""
    names = ("item_f1", "row_f1", "success", "format_valid", "score", "response_tokens")
    return {name: {"q": [value]} for name in names}


def plan_of(learning: Any, **values: Any) -> Any:
    """A plan with some values, and nothing to train on."""
    fields = {name: None for name in learning.Plan.__dataclass_fields__}
    fields |= {"seeds": (1,), "arms": ("multi", "single"), "held_out": (), "width_tasks": 0}
    return learning.Plan(**fields | values)


def test_greedy_measurements_are_made_again_with_a_limit_of_repeats(benchmark: Any) -> None:
    learning = benchmark("gpu_learning")
    plan = plan_of(learning, max_repeats=3, width_tasks=5)
    made = list(learning.measurements(plan, 1, "start"))
    assert [one.name for one in made if one.width is None] == [
        "seed 1, start, as multi, T1",
        "seed 1, start, as multi, greedy",
        "seed 1, start, as multi, greedy, at most 3 repeats",
        "seed 1, start, as single, T1",
        "seed 1, start, as single, greedy",
        "seed 1, start, as single, greedy, at most 3 repeats",
    ]
    limited = [one for one in made if one.way.max_repeats is not None]
    assert [(one.arm, one.way.heat, one.width) for one in limited] == [
        ("multi", 0.0, None),
        ("single", 0.0, None),
    ]
    again = plan_of(learning, width_tasks=5)
    assert len(list(learning.measurements(again, 1, "start"))) == len(made) - 2
    assert len(list(learning.measurements(plan, 1, f"single{learning.FEWER}"))) == 1


def test_what_was_measured_with_a_limit_of_repeats_is_compared_with_its_like(
    benchmark: Any,
) -> None:
    learning = benchmark("gpu_learning")
    scores = {
        "seed 1, start, as multi, greedy": measured(0.1),
        "seed 1, start, as multi, greedy, at most 3 repeats": measured(0.25),
        "seed 1, multi, as multi, greedy": measured(0.5),
        "seed 1, multi, as multi, greedy, at most 3 repeats": measured(0.75),
        "seed 1, single, as single, greedy": measured(0.375),
        "seed 1, single, as single, greedy, at most 3 repeats": measured(0.375),
    }
    progress = SimpleNamespace(scores=scores)
    found = learning.report(plan_of(learning, max_repeats=3), progress)
    assert {title: part["item_f1"]["together"]["difference"] for title, part in found.items()} == {
        "team, start to trained, greedy": 0.4,
        "team, start to trained, greedy, at most 3 repeats": 0.5,
        "trained: single agent to team, greedy": 0.125,
        "trained: single agent to team, greedy, at most 3 repeats": 0.375,
    }
    without = learning.report(plan_of(learning), progress)
    assert list(without) == [title for title in found if "repeats" not in title]


def test_a_team_is_measured_with_the_limit_that_is_asked_for(benchmark: Any) -> None:
    first_run = benchmark("gpu_first_run")
    limits: list[int | None] = []

    @dataclass(frozen=True)
    class Local:
        config: LocalPolicy

        def policy(self, temperature: float) -> ScriptedPolicy:
            limits.append(self.config.max_repeats)
            return ScriptedPolicy(lambda messages, tools: "")

    local = Local(LocalPolicy(model=str(start_policy())))
    tools = SimpleNamespace(search=MemorySearch(()), pages=MemoryPages(()))
    bench = first_run.Bench(
        config=TrainConfig(),
        tools=tools,
        local=local,
        engine=None,
        judge=None,
        out=Path(),
        processes=None,
    )
    for max_repeats in (None, 3, None):
        bench.team(0.0, max_repeats=max_repeats)
    assert limits == [None, 3, None]


def test_questions_are_grouped_by_source_and_number_of_rows(benchmark: Any) -> None:
    rows = {"a": 12, "b": 13, "c": 24, "d": 25, "e": 3}
    tasks = [
        Task(
            id=name,
            question="?",
            gold=TableGold(text="", key_columns=("A",), required_columns=("A",)),
            source="atlas" if name == "e" else "real",
            rows=count,
        )
        for name, count in rows.items()
    ]
    assert benchmark("gpu_learning").question_groups(tasks) == {
        "atlas": {"e"},
        "atlas, at most 12 rows": {"e"},
        "real": {"a", "b", "c", "d"},
        "real, 13 to 24 rows": {"b", "c"},
        "real, at most 12 rows": {"a"},
        "real, more than 12 rows": {"b", "c", "d"},
        "real, more than 24 rows": {"d"},
    }


def test_as_many_tokens_compares_an_end_with_an_earlier_policy(benchmark: Any) -> None:
    learning = benchmark("gpu_learning")
    scores = {
        "seed 1, multi, as multi, T1": measured(0.9),
        "seed 1, single, as single, T1": measured(0.5),
        "seed 2, multi, as multi, T1": measured(0.8),
        "seed 2, single, as single, T1": measured(0.6),
        # Of the first seed the team sampled more, and is compared as it was before its end.
        "seed 1, multi, as many tokens, as multi, T1": measured(0.7),
    }
    plan = plan_of(learning, seeds=(1, 2))
    found = learning.report(plan, SimpleNamespace(scores=scores))
    ends = found["trained: single agent to team, T1"]["item_f1"]
    fewer = found["trained, as many tokens: single agent to team, T1"]["item_f1"]
    assert [seed["difference"] for seed in ends["seeds"]] == pytest.approx([0.4, 0.2])
    assert [seed["difference"] for seed in fewer["seeds"]] == pytest.approx([0.2])
    assert ends["together"]["difference"] == pytest.approx(0.3)
    assert "team, start to trained, T1" not in found


@pytest.mark.parametrize(
    ("kept", "theirs", "chosen"),
    [
        ((100, 200, 300), 205, 200),
        ((100, 200, 300), 197, 200),  # 2 % more are as many
        ((100, 200, 300), 195, 100),
        ((100, 200, 300), 299, None),  # the end itself has as many
        ((100, 200, 300), 50, None),
        ((), 50, None),
    ],
)
def test_the_policy_of_as_many_tokens_has_at_most_two_percent_more(
    benchmark: Any, tmp_path: Path, kept: tuple[int, ...], theirs: int, chosen: int | None
) -> None:
    learning, out, peer = benchmark("gpu_learning"), tmp_path / "out", tmp_path / "peer"
    out.mkdir()
    peer.mkdir()
    for tokens in kept:
        (out / f"multi 1 at {tokens}.safetensors").write_text(str(tokens))
    (peer / "state.json").write_text(json.dumps({"1 single": {"done": True, "tokens": theirs}}))
    results = SimpleNamespace(left=100.0, note=ignore)
    progress = learning.Progress(out)
    policies: list[str] = []

    class Recorder(learning.Learning):
        async def measure(self, seed: int, policy: str) -> None:
            policies.append(policy)

    run: Any = Recorder(SimpleNamespace(peer=peer), None, progress, results, 0.0)
    asyncio.run(run.as_many_tokens(1, "multi"))
    assert policies == ([] if chosen is None else ["multi, as many tokens"])
    if chosen is not None:
        assert progress.stages["1 multi, as many tokens"]["tokens"] == chosen
        assert (out / "multi, as many tokens 1.safetensors").read_text() == str(chosen)


@pytest.mark.parametrize(
    ("name", "steps", "first", "last"),
    [
        ("sync", 4, 2, 4),
        ("tail", 5, 2, 5),
        ("sync", 1, 1, 1),
        ("async:1", 4, 3, 4),
        ("async:1", 7, 3, 6),  # a round of two steps is whole, or is left out
        ("async:2", 5, 4, 5),  # there is none
        ("async:2", 3, 2, 3),
        ("async:4", 1, 1, 1),
    ],
)
def test_means_of_a_schedule_leave_out_the_steps_whose_groups_begin_together(
    benchmark: Any, name: str, steps: int, first: int, last: int
) -> None:
    schedules, first_run = benchmark("gpu_schedules"), benchmark("gpu_first_run")
    engine = SimpleNamespace(number=0, reset=lambda: None)

    def totals() -> Any:
        # Each step is idle for its number of seconds, with ten times as many of requests.
        done = engine.number * (engine.number + 1) / 2
        return first_run.EngineTotals(done, 10 * done, 7)

    engine.totals = totals
    results = SimpleNamespace(note=ignore)
    logger = schedules.Steps(SimpleNamespace(engine=engine), results, name)

    async def run() -> None:
        await logger.start(0)
        for number in range(1, steps + 1):
            engine.number = number
            metrics = {"time/rollouts_s": number / 2, "tokens/generated": 100.0 * number}
            groups = [[make_scored(make_agent(make_turn([1], [2, 3])), value=0.5)]]
            await logger.write(StepReport(step=number, metrics=metrics, groups=groups))
        engine.number = 50  # what the engine does behind the last step is not of the steps

    asyncio.run(run())
    for number, step in enumerate(logger.steps, 1):
        step["wall_s"] = 2.0 * number
    counted = range(first, last + 1)
    found = logger.summary()
    assert (found["steps"], found["steps of the means"]) == (steps, len(counted))
    assert found["wall_s"] == pytest.approx(2 * sum(counted) / len(counted))
    assert found["engine idle"] == 0.5
    assert (found["requests, mean"], found["requests, most"]) == (5.0, 7)
    assert (found["trainer waits"], found["tokens/s"]) == (0.25, 50)


def test_a_rate_has_the_interval_of_its_change(benchmark: Any) -> None:
    change = {"questions": 3, "difference": 0.02, "low": -0.01, "high": 0.05}
    found = benchmark("gpu_schedules").per_hour(change, 72.0)
    assert [found[f"item F1 per hour{end}"] for end in ("", ", low", ", high")] == [1.0, -0.5, 2.5]
    assert found["training s"] == 72.0


RECORD = """#!/usr/bin/env bash
printf '%s\\n' "$@" > "$RECORDS/$(basename "$1" .py)-$BASHPID"
"""


def test_settings_of_the_script_win_over_those_of_its_files(tmp_path: Path) -> None:
    records, python = tmp_path / "records", tmp_path / "python"
    records.mkdir()
    python.write_text(RECORD)
    python.chmod(0o755)
    done = subprocess.run(
        ["bash", "tests/benchmarks/gpu_learning.sh"],
        env={
            **os.environ,
            "PYTHON": str(python),
            "RECORDS": str(records),
            "OUT_DIR": str(tmp_path / "out"),
            "WORK": str(tmp_path / "work"),
            "GPUS": "0,1",
            "STALENESS": "2",
            "LEARN_EXTRA": "--trials 1 trainer.max_batch_tokens=8192",
            "EXTRA": "data.max_rows=24",
        },
        cwd=BENCHMARKS.parents[1],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "ended with 0" in done.stdout
    found = {path.name: path.read_text().splitlines() for path in sorted(records.iterdir())}
    assert sorted(name.partition("-")[0] for name in found) == [
        "gpu_learning",
        "gpu_learning",
        "gpu_schedules",
    ]
    for name, words in found.items():
        learns = name.startswith("gpu_learning")
        files = [word for word in words if word.endswith(".yaml") and "=" not in word]
        settings = [w for w in words if re.match(r"[a-z_]+(\.[a-z_]+)*=", w)]
        assert files == ["configs/train/smollm2.yaml", "configs/engine/vllm.yaml"]
        assert min(map(words.index, settings)) > max(map(words.index, files))
        config: Any = load_arguments(TrainConfig, [*files, *settings], usage="").config
        assert config.rl.max_concurrent_rollouts == (192 if learns else 320)
        assert config.data.max_rows == 24
        if learns:
            assert config.trainer.max_batch_tokens == 8192
            assert config.policy.engine.launch.memory_share == 0.2
