"""Runs over a Ray cluster of four raylets on this machine, whose processes and nodes are killed."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest

from wideseek_core import ConfigError, attached
from wideseek_core.processes import log_tail

pytestmark = [pytest.mark.ray, pytest.mark.filterwarnings("ignore")]

PROMPTS, PER_STEP, GROUP = 12, 2, 2
ENGINE = "wideseek_rl.engines.builtin.worker"
RANK = "wideseek_rl.trainers.remote.torch_ranks"


def patiently(start: Callable[[], Any]) -> Any:
    """Starts a node; Ray gives it 30 seconds, and a busy machine may need more than one attempt."""
    for _ in range(5):
        with contextlib.suppress(Exception):  # Ray raises no other class here
            return start()
    return start()


class Nodes:
    """A head without CPUs, a node for the trainer, and two nodes for one engine each."""

    def __init__(self, cluster: Any, mark: str) -> None:
        self.cluster, self.mark = cluster, mark
        self._add(num_cpus=2, resources={"training": 2})
        self.sampling: list[Any] = []
        self.complete()

    def _add(self, **resources: Any) -> Any:
        return patiently(lambda: self.cluster.add_node(wait=False, **resources))

    def complete(self) -> None:
        """Starts the nodes that are missing."""
        while len(self.sampling) < 2:
            self.sampling.append(self._add(num_cpus=1, resources={"sampling": 1}))
        self.cluster.wait_for_nodes(timeout=300)

    @property
    def address(self) -> str:
        return self.cluster.address

    def lose_an_engine(self) -> None:
        """Kills a node without any warning."""
        self.cluster.remove_node(self.sampling.pop(), allow_graceful=False)

    @property
    def placement(self) -> list[str]:
        return [
            "placement.kind=ray",
            f"placement.address={self.address}",
            "placement.place_timeout_s=15",
            "placement.trainer.processes=2",
            "placement.engines.replicas=2",
            "placement.resources={trainer: {training: 1}, engine: {sampling: 1}}",
        ]


MARK = "WIDESEEK_TEST_MARK"
"""Variable that all processes of the cluster inherit, so that no others are taken for them."""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Generator[Nodes]:
    """Four raylets, which take longer to start than anything that runs on them."""
    from ray.cluster_utils import Cluster  # pyright: ignore[reportMissingImports]

    mark = str(tmp_path_factory.mktemp("cluster"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(MARK, mark)
        # Python processes that wait for work on every node are of no use here.
        patch.setenv("RAY_enable_worker_prestart", "0")
        patch.setenv("RAY_prestart_worker_first_driver", "0")
        head = {"num_cpus": 0, "include_dashboard": False, "include_log_monitor": False}
        started = patiently(
            lambda: Cluster(initialize_head=True, head_node_args={**head, "no_monitor": True})
        )
        yield Nodes(started, mark)
        started.shutdown()


@pytest.fixture
def nodes(cluster: Nodes) -> Nodes:
    """The cluster with all of its nodes."""
    cluster.complete()
    return cluster


def processes(module: str, mark: str) -> list[int]:
    """The processes of a module in a cluster, without those that watch over them."""
    found: list[int] = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
            variables = (folder / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        is_ours = f"{MARK}={mark}".encode() in variables
        if is_ours and module.encode() in words and str(attached.PATH).encode() not in words:
            found.append(int(folder.name))
    return found


class Run:
    """The main job at a small size, as a command."""

    def __init__(self, folder: Path, placement: list[str], seed: int) -> None:
        self.folder = folder
        self.log = folder.with_suffix(".log")
        settings = [
            f"folder={folder}",
            f"data.limit={PROMPTS}",
            "evaluation.data.limit=1",
            f"rl.prompts_per_step={PER_STEP}",
            f"rl.group_size={GROUP}",
            "rl.steps=null",
            "rl.max_seconds=null",
            f"rl.seed={seed}",
            "rl.checkpoint.every_steps=1",
            "rl.loggers=[]",
            "rl.schedule.kind=tail",
        ]
        command = [sys.executable, "-m", "wideseek_apps", "train", *settings, *placement]
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(command, stdout=output, stderr=output)

    @property
    def steps(self) -> int:
        try:
            lines = (self.folder / "metrics.jsonl").read_text().splitlines()
        except FileNotFoundError:
            return 0
        return max((json.loads(line)["step"] for line in lines if line.strip()), default=0)

    def reach(self, step: int) -> None:
        """Waits until a step is done."""
        while self.steps < step:
            assert self.process.poll() is None, log_tail(self.log, 40)
            time.sleep(0.2)

    def finish(self) -> str:
        """Waits for the end, which has to be a good one; what it printed."""
        assert self.process.wait(900) == 0, log_tail(self.log, 40)
        return self.log.read_text("utf-8", "replace")

    @property
    def rollouts(self) -> Counter[str]:
        """How many rollouts of each prompt were trained on."""
        files = sorted((self.folder / "episodes").glob("step_*.jsonl"))
        records = [json.loads(line) for file in files for line in file.read_text().splitlines()]
        return Counter(record["episode"]["task_id"] for record in records)


@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in range(1, 10))]
)
def test_a_run_survives_the_loss_of_a_replica_a_rank_and_a_node(
    seed: int, nodes: Nodes, tmp_path: Path
) -> None:
    run = Run(tmp_path / "run", nodes.placement, seed)
    try:
        run.reach(1)
        os.kill(processes(ENGINE, nodes.mark)[0], signal.SIGKILL)
        run.reach(2)
        os.kill(processes(RANK, nodes.mark)[-1], signal.SIGKILL)
        run.reach(4)
        nodes.lose_an_engine()
        output = run.finish()
    finally:
        run.process.kill()
        run.process.wait()
    assert set(run.rollouts.values()) == {GROUP}
    assert len(run.rollouts) == PROMPTS
    assert "the trainer is started again from its last checkpoint (1 of 3)" in output
    assert "a process that samples has died" in output
    assert "no room for 1 x engine" in output
    assert (run.folder / "logs" / "trainer-1.log").exists()
    assert not processes(RANK, nodes.mark)


async def test_what_a_cluster_lacks_and_what_runs_there_is_shown(
    nodes: Nodes, tmp_path: Path
) -> None:
    from wideseek_rl.cluster.config import RayPlacement
    from wideseek_rl.cluster.launcher import SlotRequest
    from wideseek_rl.cluster.ray.launcher import open_ray

    config = RayPlacement(address=nodes.address, place_timeout_s=2)
    async with open_ray(config, tmp_path) as launcher:
        lacking = launcher.slots(SlotRequest(role="trainer", count=9))
        with pytest.raises(ConfigError, match="no room for 9 x trainer with 1 CPU each"):
            await lacking.__aenter__()
        async with launcher.slots(SlotRequest(role="engine", count=1)) as (slot,):
            script = "import os, sys; print(os.environ['GIVEN']); sys.exit(3)"
            child = await slot.start((sys.executable, "-c", script), environment={"GIVEN": "yes"})
            assert await child.wait() == 3
            await child.stop(1)
            assert log_tail(slot.log) == "yes"
            assert "engine-0" in await asyncio.to_thread(overview, nodes.address)


def overview(address: str) -> str:
    command = [sys.executable, "-m", "wideseek_apps", "cluster", f"address={address}"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
