"""A run that is killed at any moment resumes with the same numbers."""

import json
import multiprocessing
import random
import signal
from multiprocessing.process import BaseProcess
from pathlib import Path

from wideseek_rl import CheckpointConfig, OptimizerConfig, RLConfig, TorchTrainerConfig

CONFIG = RLConfig(
    prompts_per_step=3,
    group_size=4,
    steps=12,
    checkpoint=CheckpointConfig(every_steps=2),
    loggers=(),
)
TRAINER = TorchTrainerConfig(optimizer=OptimizerConfig(lr=1e-2, eps=1e-8), threads=1)


TRAINING = """
import os, signal, sys
from wideseek_rl.toy import train_toy

def count(event, arguments):
    global saved, left
    if event not in ("open", "os.rename", "os.mkdir") or str(folder) not in str(arguments[0]):
        return
    if saved:
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
    elif event == "os.rename" and "/.step_" in str(arguments[0]):
        saved = "/.step_" not in str(arguments[1])

saved = False
sys.addaudithook(count)
train_toy(folder, config, trainer)
"""
"""A run that kills itself at the file operation number `left` after its first checkpoint."""


def start(folder: Path, left: int = 0) -> BaseProcess:
    """A process of its own, from a server that has the imports done, late ones of torch too."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["wideseek_rl.toy", "torch._dynamo"])
    given = {"folder": folder, "config": CONFIG, "trainer": TRAINER, "left": left}
    process = context.Process(target=exec, args=(TRAINING, given))
    process.start()
    return process


def finish(process: BaseProcess) -> int | None:
    process.join(timeout=600)
    return process.exitcode


def losses(folder: Path) -> list[tuple[int, float, float]]:
    lines = (folder / "metrics.jsonl").read_text("utf-8").splitlines()
    return [(o["step"], o["update/loss"], o["update/grad_norm"]) for o in map(json.loads, lines)]


def test_a_killed_run_resumes_with_identical_losses(tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert finish(start(whole)) == 0
    moments = random.Random(0)
    for _ in range(3):
        assert finish(start(killed, moments.randint(1, 30))) == -signal.SIGKILL
    assert finish(start(killed)) == 0
    assert losses(killed) == losses(whole)
    assert [step for step, _, _ in losses(whole)] == list(range(1, 13))
    assert [path.name for path in (killed / "checkpoints").glob(".*")] == [".lock"]
    weights = [f / "checkpoints/step_000012/model/model.safetensors" for f in (whole, killed)]
    assert weights[0].read_bytes() == weights[1].read_bytes()
