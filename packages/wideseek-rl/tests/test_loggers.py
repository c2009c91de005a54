import json
import math
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from wideseek_core import ConfigError, ScoreState
from wideseek_core.episode_records import read_episodes
from wideseek_core.progress import ProgressBar
from wideseek_core.token_records import read_token_records
from wideseek_rl import (
    LoggedRun,
    MetricLogger,
    Reward,
    RLConfig,
    StepReport,
    TokenLogger,
    open_loggers,
)
from wideseek_rl.batch.samples import TrainedTurn
from wideseek_rl.loop.loggers.episodes import EpisodeLogger
from wideseek_rl.loop.loggers.json_lines import JsonLinesLogger
from wideseek_rl.loop.loggers.mlflow import MLflowConfig
from wideseek_rl.loop.loggers.open import open_logger
from wideseek_rl.loop.loggers.progress import ProgressLogger
from wideseek_rl.loop.loggers.swanlab import SwanLabConfig
from wideseek_rl.loop.loggers.tensorboard import TensorBoardConfig, TensorBoardLogger
from wideseek_rl.loop.loggers.wandb import WandbConfig
from wideseek_rl.testing import make_agent, make_scored, make_turn

SETTINGS: dict[str, Any] = {"rl": {"steps": 3, "loggers": []}, "folder": "runs/a"}
SERVICES = {"wandb": WandbConfig(project="p"), "mlflow": MLflowConfig(), "swanlab": SwanLabConfig()}


async def write_steps(metric_logger: MetricLogger, *steps: int, start: int = 0) -> None:
    await metric_logger.start(start)
    for step in steps:
        await metric_logger.write(StepReport(step=step, metrics={"loss": step / 10}))
    await metric_logger.close()


async def test_metrics_are_one_object_a_line(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    await write_steps(JsonLinesLogger(path), 1, 2)
    assert [json.loads(line) for line in path.read_text("utf-8").splitlines()] == [
        {"version": 1, "step": 1, "loss": 0.1},
        {"version": 1, "step": 2, "loss": 0.2},
    ]


async def test_the_bar_shows_what_a_step_measured(capsys: pytest.CaptureFixture[str]) -> None:
    metrics = {"dropped/rollouts": 1.0, "speed/generated_per_s": 5.0}
    with ProgressBar("training", 2, every_s=0) as bar:
        progress = ProgressLogger(bar)
        for step, more in enumerate(({}, {"reward/mean": 0.25, "score/mean": 0.5}), 1):
            groups = [[make_scored(error="gone")]]
            await progress.write(StepReport(step=step, metrics=metrics | more, groups=groups))
    first, second = capsys.readouterr().err.splitlines()[:2]
    assert first.endswith("dropped 1  tok/s 5")
    assert "reward 0.25  score 0.5  dropped 1" in second


async def test_numbers_that_json_lacks_are_null(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    await JsonLinesLogger(path).write(StepReport(step=1, metrics={"a": math.nan, "b": math.inf}))
    assert json.loads(path.read_text("utf-8")) == {"version": 1, "step": 1, "a": None, "b": None}


async def test_resuming_drops_steps_that_are_done_again_and_torn_lines(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    await write_steps(JsonLinesLogger(path), 1, 2, 3)
    with path.open("a", encoding="utf-8") as file:
        file.write('{"version": 1, "st')
    await write_steps(JsonLinesLogger(path), 3, start=2)
    steps = [json.loads(line)["step"] for line in path.read_text("utf-8").splitlines()]
    assert steps == [1, 2, 3]


async def test_episodes_are_records_with_their_rewards(tmp_path: Path) -> None:
    unscored = make_scored(state=ScoreState.UNSCORED)
    group = [unscored, make_scored(make_agent(make_turn(calls=["search"])), trial=1)]
    earned = Reward(terms={"score": 0.5, "format": 0.1})
    report = StepReport(
        step=12, metrics={}, groups=[[unscored], group], rewards=[[None], [None, earned]]
    )
    await EpisodeLogger(tmp_path).write(report)
    records = list(read_episodes(tmp_path / "step_000012.jsonl"))
    assert [record.reward for record in records] == [None, None, 0.6]
    assert records[2].episode.trajectories[0].turns[0].calls[0].name == "search"
    assert (records[2].version, records[2].step, records[2].episode.trial) == (1, 12, 1)


async def test_the_tokens_of_the_first_rollouts_are_written_with_what_they_trained(
    tmp_path: Path,
) -> None:
    trained, left_out = make_turn([1], [5, 6, 7]), make_turn([1], [8])
    odd = replace(trained, logprobs=(-0.123456, math.nan, -2.0))
    groups = [
        [make_scored(make_agent(odd, left_out), source="a/b")],
        [make_scored(), make_scored()],
    ]
    report = StepReport(
        step=3,
        metrics={},
        groups=groups,
        trained=[TrainedTurn(turn=odd, weight=0.25, advantage=-0.5)],
    )
    await TokenLogger(tmp_path / "texts", 2, lambda ids: [f"t{id}" for id in ids]).write(report)
    first, second = read_token_records(tmp_path / "texts" / "step_000003.jsonl")
    assert (first.step, first.task_id, first.trial, len(first.turns)) == (3, "task", 0, 2)
    turn, other = first.turns
    assert (turn.texts, turn.ids) == (("t5", "t6", "t7"), ())
    assert (turn.logprobs[0], turn.logprobs[2]) == (-0.1235, -2.0)
    assert (turn.advantage, turn.weight, turn.masked) == (-0.5, 0.25, (1,))
    assert (other.advantage, other.weight, other.texts) == (None, 0.0, ("t8",))
    assert second.turns[0].advantage is None
    await TokenLogger(tmp_path / "ids", 1).write(report)
    (record,) = read_token_records(tmp_path / "ids" / "step_000003.jsonl")
    assert (record.turns[0].ids, record.turns[0].texts) == ((5, 6, 7), ())


def tensorboard(folder: Path, name: str | None = None) -> TensorBoardLogger:
    return TensorBoardLogger(
        TensorBoardConfig(name=name), LoggedRun(folder=folder, settings=SETTINGS)
    )


async def test_tensorboard_has_the_same_curves_and_hides_steps_done_again(tmp_path: Path) -> None:
    await write_steps(tensorboard(tmp_path), 1, 2, 3)
    await write_steps(tensorboard(tmp_path), 2, start=1)
    events: Any = EventAccumulator(str(tmp_path / "tensorboard" / tmp_path.name))
    events.Reload()
    assert [(e.step, round(e.value, 3)) for e in events.Scalars("loss")] == [(1, 0.1), (2, 0.2)]


async def test_tensorboard_shows_the_settings_of_a_named_run(tmp_path: Path) -> None:
    await write_steps(tensorboard(tmp_path, name="wide"), 0, 1)
    events: Any = EventAccumulator(str(tmp_path / "tensorboard" / "wide"))
    events.Reload()
    assert [e.step for e in events.Scalars("loss")] == [0, 1]
    assert events.summary_metadata["config"].plugin_data.plugin_name == "text"
    (text,) = events.Tensors("config")[0].tensor_proto.string_val
    lines = text.decode().splitlines()
    assert all(line.startswith("    ") for line in lines)
    assert json.loads(text) == SETTINGS


async def test_a_run_that_starts_anew_keeps_nothing_of_the_lines_before(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    await write_steps(JsonLinesLogger(path), 0, 1)
    await write_steps(JsonLinesLogger(path), 0, 1)
    steps = [json.loads(line)["step"] for line in path.read_text("utf-8").splitlines()]
    assert steps == [0, 1]


def test_the_config_names_the_loggers(tmp_path: Path) -> None:
    run = LoggedRun(folder=tmp_path)
    assert len(open_loggers(RLConfig().loggers, run)) == 3
    assert len(open_loggers((), run, episodes=False)) == 1
    chosen = RLConfig.model_validate({"loggers": [{"kind": "wandb", "project": "p"}]}).loggers
    assert chosen == (WandbConfig(project="p"),)


async def test_a_wandb_run_is_continued_by_its_own_id(
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
        config = WandbConfig(project="p", name="best" if folder == "b/train" else None)
        opening = open_logger(config, LoggedRun(folder=tmp_path / folder, settings=SETTINGS))
        await write_steps(opening, start + 1, start=start)
    first, again, other = opened
    assert [options["name"] for options in opened] == ["train", "train", "best"]
    assert [options["config"] for options in opened] == [SETTINGS] * 3
    assert first["id"] == again["id"] != other["id"]
    assert logged[:3] == [({"loss": 0.1}, 1), ({}, -1), ({"loss": 0.2}, 2)]


async def test_a_swanlab_run_is_continued_by_its_own_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[dict[str, Any]] = []
    logged: list[tuple[dict[str, float], int]] = []

    def log(metrics: dict[str, float], step: int) -> None:
        logged.append((metrics, step))

    def init(**options: Any) -> SimpleNamespace:
        opened.append(options)
        return SimpleNamespace(log=log)

    swanlab = SimpleNamespace(init=init, finish=lambda: log({}, -1))
    monkeypatch.setitem(sys.modules, "swanlab", swanlab)
    for start in (0, 1):
        run = LoggedRun(folder=tmp_path, settings=SETTINGS)
        opening = open_logger(SwanLabConfig(mode="offline", name="best"), run)
        await write_steps(opening, start + 1, start=start)
    assert opened[0]["id"] == opened[1]["id"]
    assert (len(opened[0]["id"]), opened[0]["mode"]) == (21, "offline")
    assert (opened[0]["experiment_name"], opened[0]["config"]) == ("best", SETTINGS)
    assert logged == [({"loss": 0.1}, 1), ({}, -1), ({"loss": 0.2}, 2), ({}, -1)]


async def test_an_mlflow_run_is_continued_by_its_own_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[object, ...]] = []

    class Client:
        def __init__(self, tracking_uri: str | None) -> None:
            calls.append(("client", tracking_uri))

        def get_experiment_by_name(self, name: str) -> None:
            return None

        def create_experiment(self, name: str) -> str:
            return f"experiment {name}"

        def create_run(self, experiment: str, run_name: str) -> SimpleNamespace:
            calls.append((experiment, run_name))
            return SimpleNamespace(info=SimpleNamespace(run_id="r1"))

        def update_run(self, run_id: str, status: str) -> None:
            calls.append((run_id, status))

        def log_batch(
            self,
            run_id: str,
            metrics: Sequence[tuple[str, float, int, int]] = (),
            params: Sequence[tuple[str, str]] = (),
        ) -> None:
            values = [(name, value, step) for name, value, _, step in metrics]
            calls.append((run_id, [*values, *params]))

        def set_terminated(self, run_id: str) -> None:
            calls.append((run_id, "ended"))

    def metric(*parts: object) -> tuple[object, ...]:
        return parts

    mlflow = SimpleNamespace(
        MlflowClient=Client, entities=SimpleNamespace(Metric=metric, Param=metric)
    )
    monkeypatch.setitem(sys.modules, "mlflow", mlflow)
    config = MLflowConfig(experiment="e", tracking_uri="http://127.0.0.1:5000")
    for start in (0, 1):
        run = LoggedRun(folder=tmp_path / "train", settings=SETTINGS)
        await write_steps(open_logger(config, run), start + 1, start=start)
    again = [("r1", "RUNNING"), ("r1", [("loss", 0.2, 2)]), ("r1", "ended")]
    assert calls[:2] == [("client", "http://127.0.0.1:5000"), ("experiment e", "train")]
    assert calls[2] == ("r1", [("rl.steps", "3"), ("rl.loggers", "[]"), ("folder", "runs/a")])
    assert calls[3:6] == [("r1", "RUNNING"), ("r1", [("loss", 0.1, 1)]), ("r1", "ended")]
    assert calls[7:] == again


@pytest.mark.parametrize("kind", SERVICES)
def test_a_missing_package_is_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setitem(sys.modules, kind, None)
    with pytest.raises(ConfigError, match=rf"rl\.loggers: .*'{kind}'.*: pip install '"):
        open_loggers([SERVICES[kind]], LoggedRun(folder=tmp_path))


@pytest.mark.parametrize("kind", SERVICES)
def test_a_folder_of_the_service_is_not_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    (tmp_path / kind).mkdir()
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, kind, raising=False)
    try:
        with pytest.raises(ConfigError, match=rf"'{kind}' needs a package: pip install '"):
            open_loggers([SERVICES[kind]], LoggedRun(folder=tmp_path))
    finally:
        sys.modules.pop(kind, None)


async def test_a_service_that_fails_costs_its_points_and_not_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    logged: list[int] = []

    def log(metrics: dict[str, float], step: int) -> None:
        if step == 2:
            raise ConnectionError("no route\nto the service")
        logged.append(step)

    def finish() -> None:
        raise ValueError("already closed")

    run = SimpleNamespace(log=log, finish=finish)

    def init(**_: object) -> object:
        return run

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=init))
    opened = open_logger(WandbConfig(), LoggedRun(folder=tmp_path))
    await write_steps(opened, 1, 2, 3)
    assert logged == [1, 3]
    assert "wandb did not take the metrics of step 2: ConnectionError: no route to" in caplog.text
    assert "wandb did not take the end of the run: ValueError: already closed" in caplog.text
