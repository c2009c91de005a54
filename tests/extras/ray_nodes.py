"""Ray clusters of several raylets on this machine, and the main job on them as a command."""

import contextlib
import importlib
import json
import math
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from wideseek_core import attached
from wideseek_core.processes import log_tail

PROMPTS, PER_STEP, GROUP = 12, 2, 2
ENGINE = "wideseek_rl.engines.builtin.worker"
RANK = "wideseek_rl.trainers.remote.torch_ranks"

MARK = "WIDESEEK_TEST_MARK"
"""Variable that all processes of the cluster inherit, so that no others are taken for them."""
RAY_SETTINGS = {
    # Python processes that wait for work on every node are of no use here.
    "RAY_enable_worker_prestart": "0",
    "RAY_prestart_worker_first_driver": "0",
    # By default, what runs on a node gives way to other programs: runs would stand still here.
    "RAY_worker_niceness": "0",
}
TRAINING = {"num_cpus": 2, "resources": {"training": 2}}
SAMPLING = {"num_cpus": 1, "resources": {"sampling": 1}}


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
        self.training: list[Any] = []
        self.sampling: list[Any] = []
        self.complete()

    def complete(self, *, training: int = 1) -> None:
        """Starts the nodes that are missing."""
        while len(self.training) < training:
            self.training.append(self._add(TRAINING))
        while len(self.sampling) < 2:
            self.sampling.append(self._add(SAMPLING))
        self.cluster.wait_for_nodes(timeout=300)

    def _add(self, kind: dict[str, Any]) -> Any:
        return patiently(lambda: self.cluster.add_node(wait=False, **kind))

    @property
    def address(self) -> str:
        return self.cluster.address

    def lose(self, nodes: list[Any], number: int = 0) -> None:
        """Kills a node without any warning."""
        self.cluster.remove_node(nodes.pop(number % len(nodes)), allow_graceful=False)

    def lose_that_of(self, pid: int) -> None:
        """Kills the node that a process belongs to."""
        node = self._node_of(pid)
        nodes = self.training if node in self.training else self.sampling
        self.lose(nodes, nodes.index(node))

    def _node_of(self, pid: int) -> Any:
        above = ancestors(pid)
        for node in (*self.training, *self.sampling):
            if node.all_processes["raylet"][0].process.pid in above:
                return node
        raise AssertionError(f"process {pid} is on no node")

    def kill_workers_beside(self, pid: int) -> None:
        """Kills all that Ray itself runs for others on the node of a process."""
        raylet = self._node_of(pid).all_processes["raylet"][0].process.pid
        for worker in children(raylet):
            if command_of(worker).startswith(b"ray::ProcessActor"):
                os.kill(worker, signal.SIGKILL)

    def processes(self, module: str, at_least: int) -> list[int]:
        """The processes of a module in this cluster, as soon as there are so many of them."""
        while len(found := running(module, self.mark)) < at_least:
            time.sleep(0.1)
        return sorted(found)

    @property
    def placement(self) -> list[str]:
        return placement(self.address)


def placement(address: str) -> list[str]:
    """Settings that put two ranks on nodes for training, and two engines on those for sampling."""
    return [
        "placement.kind=ray",
        f"placement.address={address}",
        "placement.place_timeout_s=15",
        "placement.trainer.processes=2",
        "placement.engines.replicas=2",
        "placement.resources={trainer: {training: 1}, engine: {sampling: 1}}",
    ]


@contextmanager
def opened_nodes(mark: str) -> Generator[Nodes]:
    """Four raylets, which take longer to start than anything that runs on them."""
    utilities: Any = importlib.import_module("ray.cluster_utils")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(MARK, mark)
        for name, value in RAY_SETTINGS.items():
            patch.setenv(name, value)
        head = {"num_cpus": 0, "include_dashboard": False, "include_log_monitor": False}
        started = patiently(
            lambda: utilities.Cluster(
                initialize_head=True, head_node_args={**head, "no_monitor": True}
            )
        )
        yield Nodes(started, mark)
        started.shutdown()


def running(module: str, mark: str) -> list[int]:
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


def state_of(pid: int) -> list[str]:
    """What Linux tells of a process, from its state on; empty if it has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def command_of(pid: int) -> bytes:
    """The command line of a process; empty if it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def cpu_seconds(pid: int) -> float:
    """CPU time that a process has used; infinite if it has ended."""
    state = state_of(pid)
    return (int(state[11]) + int(state[12])) / os.sysconf("SC_CLK_TCK") if state else math.inf


def ancestors(pid: int) -> list[int]:
    """The process that started a process, the one that started that, and so on."""
    found: list[int] = []
    while pid > 1:
        pid = int(state_of(pid)[1])
        found.append(pid)
    return found


def children(pid: int) -> list[int]:
    """The processes that a process has started."""
    known = [int(folder.name) for folder in Path("/proc").glob("[0-9]*")]
    return [one for one in known if state_of(one)[1:2] == [str(pid)]]


class Run:
    """The main job at a small size, as a command."""

    def __init__(
        self, folder: Path, placement: list[str], seed: int, *, group: int = GROUP
    ) -> None:
        self.folder, self.group = folder, group
        self.log = folder.with_suffix(".log")
        settings = [
            f"folder={folder}",
            f"data.limit={PROMPTS}",
            "evaluation.data.limit=1",
            f"rl.prompts_per_step={PER_STEP}",
            f"rl.group_size={group}",
            "rl.steps=null",
            "rl.max_seconds=null",
            f"rl.seed={seed}",
            "rl.checkpoint.every_steps=1",
            "rl.loggers=[]",
            "rl.schedule.kind=tail",
        ]
        self._command = [sys.executable, "-m", "wideseek_apps", "train", *settings, *placement]
        self.started = time.monotonic()
        self.process = self._started()

    def _started(self) -> "subprocess.Popen[bytes]":
        with self.log.open("ab") as output:
            return subprocess.Popen(self._command, stdout=output, stderr=output)

    def again(self) -> None:
        """Starts the same command once more."""
        self.process = self._started()

    @property
    def metrics(self) -> list[dict[str, float]]:
        """What was reported of each step; a line that is being written is left out."""
        try:
            lines = (self.folder / "metrics.jsonl").read_text().split("\n")[:-1]
        except FileNotFoundError:
            return []
        # Beside steps, `metrics.jsonl` has the measurements of held-out questions.
        return [found for line in lines if "rollouts" in (found := json.loads(line))]

    @property
    def steps(self) -> int:
        """The last step that is done."""
        return max((int(found["step"]) for found in self.metrics), default=0)

    @property
    def reported_once(self) -> bool:
        """Whether every step was reported, and none twice."""
        return [found["step"] for found in self.metrics] == list(range(1, PROMPTS // PER_STEP + 1))

    def checkpoint(self, step: int) -> Path:
        """Of a step; it is there when it is complete."""
        return self.folder / "checkpoints" / f"step_{step:06d}"

    def reach(self, step: int) -> None:
        """Waits until a step is done."""
        self.wait_until(lambda: self.steps >= step)

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Waits, as long as the run has not ended."""
        while not condition():
            assert self.process.poll() is None, log_tail(self.log, 40)
            time.sleep(0.05)

    def finish(self, returncode: int = 0) -> str:
        """Waits for the end, which has to be as expected; what all its attempts printed."""
        assert self.process.wait(900) == returncode, log_tail(self.log, 40)
        return self.log.read_text("utf-8", "replace")

    def kill(self) -> None:
        """Ends it whatever it does."""
        self.process.kill()
        self.process.wait()

    def note(self, **what: object) -> None:
        """Prints what is done to it, and when: `-s` shows it."""
        seconds = round(time.monotonic() - self.started, 1)
        sys.stdout.write(json.dumps({**what, "done": self.steps, "seconds": seconds}) + "\n")
        sys.stdout.flush()

    @property
    def rollouts(self) -> Counter[tuple[str, str]]:
        """How many rollouts of each prompt were trained on in each step."""
        files = sorted((self.folder / "episodes").glob("step_*.jsonl"))
        return Counter(
            (json.loads(line)["episode"]["task_id"], file.stem)
            for file in files
            for line in file.read_text().splitlines()
        )

    @property
    def trained_once(self) -> bool:
        """Whether every prompt was trained on in one step, with one group of rollouts."""
        prompts = {prompt for prompt, _ in self.rollouts}
        once = len(prompts) == len(self.rollouts) == PROMPTS
        return once and set(self.rollouts.values()) == {self.group}
