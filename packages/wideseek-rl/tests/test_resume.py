"""A run that is killed at any moment resumes with the same numbers."""

import json
import multiprocessing
import random
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

from wideseek_rl import (
    CheckpointConfig,
    CheckpointStore,
    OptimizerConfig,
    RLConfig,
    TorchTrainerConfig,
)
from wideseek_rl.toy import train_toy

CONFIG = RLConfig(
    prompts_per_step=3,
    group_size=4,
    steps=12,
    checkpoint=CheckpointConfig(every_steps=2),
    loggers=(),
)
TRAINER = TorchTrainerConfig(optimizer=OptimizerConfig(lr=1e-2, eps=1e-8), threads=1)


def start(folder: Path) -> BaseProcess:
    """A process of its own, from a server that has the imports done, late ones of torch too."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["wideseek_rl.toy", "torch._dynamo"])
    process = context.Process(target=train_toy, args=(folder, CONFIG, TRAINER))
    process.start()
    return process


def finish(process: BaseProcess) -> int | None:
    process.join(timeout=120)
    return process.exitcode


def losses(folder: Path) -> list[tuple[int, float, float]]:
    lines = (folder / "metrics.jsonl").read_text("utf-8").splitlines()
    return [(o["step"], o["update/loss"], o["update/grad_norm"]) for o in map(json.loads, lines)]


def kill_after_a_checkpoint(folder: Path, wait_s: float) -> None:
    """Kills a run with SIGKILL some time after it has saved one step more than before."""
    store = CheckpointStore(folder / "checkpoints", keep_last=1)
    before = store.latest()
    process = start(folder)
    deadline = time.monotonic() + 60
    while store.latest() == before and process.is_alive() and time.monotonic() < deadline:
        time.sleep(0.005)
    time.sleep(wait_s)
    process.kill()
    assert finish(process) == -9


def test_a_killed_run_resumes_with_identical_losses(tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert finish(start(whole)) == 0
    moments = random.Random(0)
    for _ in range(3):
        kill_after_a_checkpoint(killed, moments.uniform(0, 0.1))
    assert finish(start(killed)) == 0
    assert losses(killed) == losses(whole)
    assert [step for step, _, _ in losses(whole)] == list(range(1, 13))
    assert [path.name for path in (killed / "checkpoints").glob(".*")] == [".lock"]
    weights = [f / "checkpoints/step_000012/model/model.safetensors" for f in (whole, killed)]
    assert weights[0].read_bytes() == weights[1].read_bytes()
