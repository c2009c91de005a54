"""A run whose ranks are killed ends as one whose ranks were left alone."""

import asyncio
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from wideseek_core import RanksLost
from wideseek_rl import CheckpointConfig, LossConfig, OptimizerConfig, RLConfig, TorchTrainerConfig
from wideseek_rl.cluster.launcher import Launcher
from wideseek_rl.loop.loggers.open import open_loggers
from wideseek_rl.loop.loggers.protocol import LoggedRun, StepReport
from wideseek_rl.loop.restarts import with_restarts
from wideseek_rl.loop.training import TrainingLoop, TrainSummary
from wideseek_rl.models.hf_format import load_model, save_model
from wideseek_rl.models.policy import ModelConfig, PolicyModel
from wideseek_rl.sync.protocol import Commit, NoSync
from wideseek_rl.testing import tiny_model
from wideseek_rl.toy import toy_rollouts, toy_tasks
from wideseek_rl.trainers.in_thread import InThread
from wideseek_rl.trainers.open import open_trainer
from wideseek_rl.trainers.protocol import Trainer
from wideseek_rl.trainers.remote.client import Processes, RemoteTrainer
from wideseek_rl.trainers.torch import TorchTrainer

from .forked_ranks import TORCH, ForkedLauncher

CONFIG = RLConfig(
    prompts_per_step=3,
    group_size=4,
    steps=4,
    checkpoint=CheckpointConfig(every_steps=2),
    loggers=(),
)
TRAINER = TorchTrainerConfig(optimizer=OptimizerConfig(lr=1e-2), threads=1)


class Killer:
    """A metric logger that kills the trainer after certain steps, once each."""

    def __init__(self, *steps: int) -> None:
        self.steps = list(steps)
        self.pid = 0

    async def start(self, step: int) -> None:
        pass

    async def write(self, report: StepReport) -> None:
        if report.step in self.steps:
            self.steps.remove(report.step)
            os.kill(self.pid, signal.SIGKILL)

    async def close(self) -> None:
        pass


class Versions(NoSync):
    """Remembers which versions were published."""

    def __init__(self) -> None:
        self.published: list[int] = []

    def updating(self) -> Any:
        return _Block(self.published)


class _Block:
    def __init__(self, published: list[int]) -> None:
        self._published = published

    async def __aenter__(self) -> Commit:
        return self._published.append

    async def __aexit__(self, *_: object) -> None:
        pass


def loop_over(trainer: Trainer, folder: Path, **settings: Any) -> TrainingLoop:
    rollouts = toy_rollouts(tiny_model(), group_size=4)
    return TrainingLoop(CONFIG, trainer, rollouts, folder=folder, **settings)


async def train_with_kills(
    folder: Path, killer: Killer, launcher: Launcher
) -> tuple[TrainSummary, list[int]]:
    save_model(tiny_model(), folder / "start", None)
    model = PolicyModel(ModelConfig(model=str(folder / "start"), device="cpu"))
    processes = Processes(launcher=launcher)
    sync = Versions()
    loggers = [*open_loggers((), LoggedRun(folder=folder), episodes=False), killer]

    async def attempt(repeated: bool) -> TrainSummary:
        async with open_trainer(TRAINER, LossConfig(), model, processes) as trainer:
            assert isinstance(trainer, RemoteTrainer)
            killer.pid = trainer.group.children[0].pid
            loop = loop_over(trainer, folder, sync=sync, loggers=loggers, publish_start=repeated)
            return await loop.fit(toy_tasks())

    return await with_restarts(attempt, 2), sync.published


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_model(folder / "model", "cpu", torch.float32).state_dict()


async def test_a_run_with_a_killed_trainer_ends_like_one_without(tmp_path: Path) -> None:
    trainer = InThread(TorchTrainer(tiny_model(), TRAINER, LossConfig()))
    expected = await loop_over(trainer, tmp_path / "whole").fit(toy_tasks())
    # Before the first checkpoint, which is written after step 2, and after it.
    with ForkedLauncher(tmp_path / "logs", TORCH) as launcher:
        found, published = await train_with_kills(tmp_path / "killed", Killer(1, 3), launcher)
    assert published == [1, 0, 1, 2, 3, 2, 3, 4]
    assert (found.steps, found.updates) == (expected.steps, expected.updates) == (4, 4)
    wanted, after = weights(expected.checkpoint), weights(found.checkpoint)
    for name, tensor in wanted.items():
        torch.testing.assert_close(after[name], tensor)
    lines = (tmp_path / "killed" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2, 3, 4]


async def test_a_run_whose_update_failed_ends_like_one_without(tmp_path: Path) -> None:
    rare = CheckpointConfig(every_steps=100)
    settings = CONFIG.model_copy(update={"checkpoint": rare, "steps": 2})

    def loop(trainer: Trainer, folder: Path) -> TrainingLoop:
        loggers = open_loggers((), LoggedRun(folder=folder), episodes=False)
        rollouts = toy_rollouts(tiny_model(), group_size=4)
        return TrainingLoop(settings, trainer, rollouts, folder=folder, loggers=loggers)

    whole = InThread(TorchTrainer(tiny_model(), TRAINER, LossConfig()))
    expected = await loop(whole, tmp_path / "whole").fit(toy_tasks())
    model, passes = tiny_model(), list[bool]()

    def run_out_of_memory(*_: object) -> None:
        passes.append(True)
        if len(passes) == 2:  # of the second step: there is one pass for each
            raise torch.OutOfMemoryError("CUDA out of memory")

    model.model.layers[0].register_forward_pre_hook(run_out_of_memory)
    failing = InThread(TorchTrainer(model, TRAINER, LossConfig()))
    with pytest.raises(torch.OutOfMemoryError):
        await loop(failing, tmp_path / "failed").fit(toy_tasks())
    saved = (tmp_path / "failed" / "checkpoints").glob("step_*")
    assert [path.name for path in saved] == ["step_000001"]
    again = InThread(TorchTrainer(tiny_model(), TRAINER, LossConfig()))
    found = await loop(again, tmp_path / "failed").fit(toy_tasks())
    assert (found.steps, found.updates) == (expected.steps, expected.updates) == (2, 2)
    wanted, after = weights(expected.checkpoint), weights(found.checkpoint)
    assert all(torch.equal(after[name], tensor) for name, tensor in wanted.items())
    lines = (tmp_path / "failed" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2]


async def test_losing_ranks_too_often_ends_the_run() -> None:
    attempts: list[bool] = []

    async def attempt(repeated: bool) -> None:
        attempts.append(repeated)
        await asyncio.sleep(0)
        raise RanksLost("a rank ended")

    with pytest.raises(RanksLost, match="a rank ended"):
        await with_restarts(attempt, 2)
    assert attempts == [False, True, True]
