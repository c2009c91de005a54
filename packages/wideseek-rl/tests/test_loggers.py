import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from wideseek_core import ConfigError, ScoreState
from wideseek_core.episode_records import read_episodes
from wideseek_rl import LoggersConfig, MetricLogger, StepReport, open_loggers
from wideseek_rl.loop.loggers import EpisodeLogger, JsonLinesLogger, TensorBoardLogger, WandbLogger
from wideseek_rl.testing import make_agent, make_scored, make_turn


def write_steps(metric_logger: MetricLogger, *steps: int, start: int = 0) -> None:
    metric_logger.start(start)
    for step in steps:
        metric_logger.write(StepReport(step=step, metrics={"loss": step / 10}))
    metric_logger.close()


def test_metrics_are_one_object_a_line(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    write_steps(JsonLinesLogger(path), 1, 2)
    assert [json.loads(line) for line in path.read_text("utf-8").splitlines()] == [
        {"version": 1, "step": 1, "loss": 0.1},
        {"version": 1, "step": 2, "loss": 0.2},
    ]


def test_resuming_drops_steps_that_are_done_again_and_torn_lines(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    write_steps(JsonLinesLogger(path), 1, 2, 3)
    with path.open("a", encoding="utf-8") as file:
        file.write('{"version": 1, "st')
    write_steps(JsonLinesLogger(path), 3, start=2)
    steps = [json.loads(line)["step"] for line in path.read_text("utf-8").splitlines()]
    assert steps == [1, 2, 3]


def test_episodes_are_records_with_their_rewards(tmp_path: Path) -> None:
    unscored = make_scored(state=ScoreState.UNSCORED)
    group = [unscored, make_scored(make_agent(make_turn(calls=["search"])), trial=1)]
    metric_logger = EpisodeLogger(tmp_path)
    metric_logger.write(
        StepReport(step=12, metrics={}, groups=[[unscored], group], rewards=[[0.6]])
    )
    records = list(read_episodes(tmp_path / "step_000012.jsonl"))
    assert [record.reward for record in records] == [None, None, 0.6]
    assert records[2].episode.trajectories[0].turns[0].calls[0].name == "search"
    assert (records[2].version, records[2].step, records[2].episode.trial) == (1, 12, 1)


def test_tensorboard_holds_the_same_curves(tmp_path: Path) -> None:
    write_steps(TensorBoardLogger(tmp_path), 1, 2)
    events: Any = EventAccumulator(str(tmp_path))
    events.Reload()
    assert [(e.step, round(e.value, 3)) for e in events.Scalars("loss")] == [(1, 0.1), (2, 0.2)]


def test_the_config_says_which_sinks_there_are(tmp_path: Path) -> None:
    assert len(open_loggers(LoggersConfig(), tmp_path)) == 3
    assert len(open_loggers(LoggersConfig(tensorboard=False, episodes=False), tmp_path)) == 1


def test_a_wandb_run_is_continued_by_its_own_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[dict[str, Any]] = []
    logged: list[tuple[dict[str, float], int]] = []

    class Run:
        def log(self, metrics: dict[str, float], step: int) -> None:
            logged.append((metrics, step))

        def finish(self) -> None:
            logged.append(({}, -1))

    def init(**options: Any) -> Run:
        opened.append(options)
        return Run()

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=init))
    for folder, start in (("a/train", 0), ("a/train", 1), ("b/train", 0)):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        write_steps(WandbLogger("p", tmp_path / folder), start + 1, start=start)
    first, again, other = opened
    assert {options["name"] for options in opened} == {"train"}
    assert first["id"] == again["id"] != other["id"]
    assert logged[:3] == [({"loss": 0.1}, 1), ({}, -1), ({"loss": 0.2}, 2)]


def test_missing_wandb_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ConfigError, match=r"wandb_project: 'p' needs the wandb package"):
        open_loggers(LoggersConfig(wandb_project="p"), tmp_path)
