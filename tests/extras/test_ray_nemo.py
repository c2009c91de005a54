"""The main job over a Ray cluster, trained by NeMo-Aligner on two ranks that share every layer.

What is killed, and when, follows from a seed.
"""

import json
import math
import os
import shutil
import signal
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest
from safetensors.torch import load_file, save_file  # pyright: ignore[reportUnknownVariableType]

from wideseek_rl import start_policy

from .ray_nodes import ENGINE, Nodes, Run, cpu_seconds, running

PYTHON = os.environ.get("NEMO_PYTHON", "")
"""Interpreter of an environment with the extra nemo-aligner; that of Ray is another one."""
RANK = "wideseek_rl.trainers.megatron.ranks"
GROUP = 4
"""Rollouts of a prompt, so that there is something to learn from in most steps."""
BUSY_S = 0.1
"""CPU time after which a rank that has waited is taken to be in an update."""
START_S = 12.0
"""CPU time of a rank's start, most of it for imports."""

pytestmark = [
    pytest.mark.ray,
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.skipif(not PYTHON, reason="NEMO_PYTHON names no interpreter"),
]


def with_even_heads(folder: Path) -> Path:
    """The start policy with every key-value head twice: the same model, which two ranks divide."""
    shutil.copytree(start_policy(), folder)
    shape = json.loads((folder / "config.json").read_text())
    heads, queries, size = (
        shape[name] for name in ("num_key_value_heads", "num_attention_heads", "head_dim")
    )
    weights = load_file(folder / "model.safetensors")
    for name, weight in weights.items():
        if name.endswith(("k_proj.weight", "v_proj.weight")):
            separate = weight.view(heads, size, -1)
            weights[name] = separate.repeat_interleave(queries // heads, 0).flatten(0, 1)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    (folder / "config.json").write_text(json.dumps({**shape, "num_key_value_heads": queries}))
    return folder


@dataclass(frozen=True, slots=True, kw_only=True)
class Kill:
    """One loss of a run."""

    step: int
    """After which step."""
    what: str
    number: int
    """Which one of the two ranks, or replicas."""
    moment: float
    """When a rank that starts is killed: part of the CPU time of its start."""


TRAINING = ("rank in an update", "rank that waits", "rank that starts", "workers", "trainer's node")
"""Losses of the trainer; workers are those of Ray on its node, which hold the ranks."""
SAMPLING = ("replica", "engine's node")


def drill(seed: int) -> list[Kill]:
    """Two losses of the trainer and one of an engine, in any order."""
    draw = Random(seed)
    kinds = [*draw.sample(TRAINING, 2), draw.choice(SAMPLING)]
    draw.shuffle(kinds)
    # Before the first step, a lost node leaves too little room to start, and no rank has waited.
    early = kinds[0] in ("rank that starts", "workers", "replica")
    steps = sorted(draw.sample(range(0 if early else 1, 5), 3))
    return [
        Kill(step=step, what=what, number=draw.randrange(2), moment=draw.random())
        for step, what in zip(steps, kinds, strict=True)
    ]


@dataclass(slots=True)
class Drill:
    """Kills parts of one run."""

    run: Run
    nodes: Nodes

    def carry_out(self, kill: Kill) -> None:
        """Waits for the moment, and kills."""
        self.run.reach(kill.step)
        match kill.what:
            case "rank in an update":
                self._in_an_update(kill)
            case "rank that waits":
                self._while_sampling(kill)
            case "rank that starts":
                self._while_starting(kill)
            case "workers":
                self.nodes.kill_workers_beside(self._ranks()[0])
            case "trainer's node":
                self.nodes.lose_that_of(self._ranks()[0])
            case "replica":
                replicas = self.nodes.processes(ENGINE, min(len(self.nodes.sampling), 2))
                os.kill(replicas[kill.number % len(replicas)], signal.SIGKILL)
            case _:
                self.nodes.lose(self.nodes.sampling, kill.number)

    def _ranks(self, earlier: Collection[int] = ()) -> list[int]:
        """Both ranks, without those of earlier."""

        def found() -> list[int]:
            return sorted(set(running(RANK, self.nodes.mark)) - set(earlier))

        self.run.wait_until(lambda: len(found()) == 2)
        return found()

    @property
    def _is_saved(self) -> bool:
        """Whether the last reported step is: ranks have nothing to do until the next update."""
        return self.run.checkpoint(self.run.steps).is_dir()

    def _while_sampling(self, kill: Kill) -> None:
        self.run.wait_until(lambda: self._is_saved)
        os.kill(self._ranks()[kill.number], signal.SIGKILL)

    def _in_an_update(self, kill: Kill) -> None:
        rank = self._ranks()[kill.number]
        idle = math.inf

        def is_busy() -> bool:
            nonlocal idle
            used = cpu_seconds(rank)
            idle = min(idle, used) if self._is_saved else used
            return used > idle + BUSY_S

        self.run.wait_until(is_busy)
        os.kill(rank, signal.SIGKILL)

    def _while_starting(self, kill: Kill) -> None:
        earlier: list[int] = []
        if kill.step:  # another one first
            earlier = self._ranks()
            os.kill(earlier[1 - kill.number], signal.SIGKILL)
        rank = self._ranks(earlier)[kill.number]
        self.run.wait_until(lambda: cpu_seconds(rank) > START_S * kill.moment)
        os.kill(rank, signal.SIGKILL)


@pytest.mark.parametrize("seed", range(10))
def test_a_run_on_two_ranks_resumes_whatever_is_killed(
    seed: int, nodes: Nodes, tmp_path: Path
) -> None:
    nodes.complete(training=2)
    settings = [
        *nodes.placement,
        f"policy.model={with_even_heads(tmp_path / 'model')}",
        "trainer.kind=nemo_aligner",
        "placement.trainer.tensor_parallel=2",
        f"placement.trainer.python={PYTHON}",
    ]
    run = Run(tmp_path / "run", settings, seed, group=GROUP)
    try:
        for kill in drill(seed):
            Drill(run, nodes).carry_out(kill)
            run.note(seed=seed, killed=kill.what, number=kill.number, after_step=kill.step)
        output = run.finish()
        drift = [found["update/drift"] for found in run.metrics if "update/drift" in found]
        updates = sum(found["update/updates"] for found in run.metrics)
        run.note(seed=seed, trained_once=run.trained_once, updates=updates, drift=max(drift))
    finally:
        run.kill()
    assert run.trained_once, run.rollouts
    assert run.reported_once, run.metrics
    assert updates > 0
    assert set(drift) == {0.0}, "the ranks hold different weights"
    assert json.loads((run.checkpoint(run.steps) / "state.json").read_text())["updates"] == updates
    assert "the trainer is started again from its last checkpoint (1 of 3)" in output
    assert not running(RANK, nodes.mark)
    assert not running(ENGINE, nodes.mark)
