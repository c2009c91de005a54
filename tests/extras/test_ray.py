"""Runs over a Ray cluster of four raylets on this machine, whose processes and nodes are killed."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from random import Random

import pytest

from wideseek_apps.processes import open_processes
from wideseek_apps.training_config import TrainConfig
from wideseek_core import ConfigError, RanksLost, TrainError
from wideseek_core.config import load_config
from wideseek_core.ports import free_port
from wideseek_core.processes import log_tail
from wideseek_core.testing import until
from wideseek_rl.trainers.remote.group import RankCommand, open_ranks
from wideseek_tools.index.build import build_index

from .ray_nodes import ENGINE, RANK, Nodes, Run, opened_nodes, running

JUDGE = "wideseek_core.testing.fake_sglang"

pytestmark = [pytest.mark.ray, pytest.mark.filterwarnings("ignore")]


def drill(seed: int) -> list[tuple[int, str, int]]:
    """After which step what is killed, and which one of them."""
    if seed == 0:
        return [(1, "replica", 0), (2, "rank", 1), (4, "node", 1)]
    draw = Random(seed)
    kinds = draw.sample(["replica", "rank", "node"], 3)
    # A node that is lost before the start leaves too little room to start at all.
    steps = sorted(draw.sample(range(kinds[0] == "node", 5), 3))
    return [(step, kind, draw.randrange(2)) for step, kind in zip(steps, kinds, strict=True)]


def kill(what: str, number: int, nodes: Nodes) -> None:
    if what == "node":
        nodes.lose(nodes.sampling, number)
        return
    module = ENGINE if what == "replica" else RANK
    expected = min(len(nodes.sampling), 2) if what == "replica" else 2
    os.kill(nodes.processes(module, expected)[number % expected], signal.SIGKILL)


@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in range(1, 10))]
)
def test_a_run_survives_the_loss_of_a_replica_a_rank_and_a_node(
    seed: int, nodes: Nodes, tmp_path: Path
) -> None:
    run = Run(tmp_path / "run", nodes.placement, seed)
    try:
        for step, what, number in drill(seed):
            run.reach(step)
            kill(what, number, nodes)
            run.note(seed=seed, killed=f"{what} {number}", after_step=step)
        output = run.finish()
        run.note(seed=seed, outcome="finished", trained_once=run.trained_once)
    finally:
        run.kill()
    assert run.trained_once, run.rollouts
    assert run.reported_once, run.metrics
    assert "the trainer is started again from its last checkpoint (1 of 3)" in output
    assert "a process that samples has died" in output
    assert "no room for 1 x engine" in output
    assert "[state-dump]" not in output, "Ray shows the log of a node"
    assert (run.folder / "logs" / "trainer-1.log").exists()
    assert not running(RANK, nodes.mark)


@pytest.mark.slow
def test_a_trainer_moves_to_another_node_and_resumes_once_there_is_one(
    nodes: Nodes, tmp_path: Path
) -> None:
    nodes.complete(training=2)
    run = Run(tmp_path / "run", nodes.placement, 0)
    try:
        for step in (1, 3):
            run.reach(step)
            nodes.lose_that_of(nodes.processes(RANK, 2)[0])
            run.note(killed="the trainer's node", after_step=step)
        output = run.finish(2)
        assert "the trainer is started again from its last checkpoint (1 of 3)" in output
        assert "no room for 2 x trainer with 1 CPU, 1 training each" in output
        nodes.complete()
        run.again()
        run.finish()
        run.note(outcome="finished", trained_once=run.trained_once)
    finally:
        run.kill()
    assert run.trained_once, run.rollouts


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


async def test_what_would_fail_again_on_every_node_is_no_lost_rank(
    nodes: Nodes, tmp_path: Path
) -> None:
    from wideseek_rl.cluster.config import RayPlacement
    from wideseek_rl.cluster.ray.launcher import open_ray

    missing = "wideseek_rl.no_such_trainer"
    async with open_ray(RayPlacement(address=nodes.address), tmp_path) as launcher:
        for python, said in (
            (None, f"No module named {missing}"),
            (tmp_path / "nothing", "nothing did not start: No such file"),
        ):
            command = RankCommand(module=missing, setup="{}", count=2, python=python)
            with pytest.raises(TrainError, match=said) as failed:
                async with open_ranks(command, launcher):
                    pass
            assert not isinstance(failed.value, RanksLost)
            assert len(str(failed.value).splitlines()) == 1


HEADLESS = """
import asyncio, sys
from pathlib import Path
from wideseek_rl.cluster.config import RayPlacement
from wideseek_rl.cluster.launcher import SlotRequest
from wideseek_rl.cluster.ray.launcher import open_ray

async def main(address, folder):
    placement = RayPlacement(address=address, place_timeout_s=1000)
    async with open_ray(placement, Path(folder)) as launcher:
        print("joined", flush=True)
        async with launcher.slots(SlotRequest(role="engine", count=99)):
            pass

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.slow
def test_a_run_ends_when_the_head_of_its_cluster_is_gone(tmp_path: Path) -> None:
    with opened_nodes(str(tmp_path)) as own:
        command = [sys.executable, "-c", HEADLESS, own.address, str(tmp_path)]
        run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            assert run.stdout is not None
            assert run.stdout.readline() == "joined\n"
            own.cluster.head_node.kill_gcs_server()
            assert "Failed to connect to GCS" in run.stdout.read()
            assert run.wait() == 1
        finally:
            run.kill()


def interpreter(folder: Path, name: str) -> Path:
    """An interpreter of an environment of its own, which shows in its processes' variables."""
    path = folder / name
    path.write_text(f'#!/bin/sh\nexport OWN_ENVIRONMENT={name}\nexec {sys.executable} "$@"\n')
    path.chmod(0o755)
    return path


def environment_of(word: str, mark: str) -> str:
    """The environment that the only process with this word in a cluster is of."""
    (pid,) = running(word, mark)
    variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return next(one for one in variables if one.startswith(b"OWN_ENVIRONMENT=")).decode()


async def test_judge_and_retrieval_are_actors_with_environments_of_their_own(
    nodes: Nodes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    pages = tmp_path / "pages.jsonl"
    pages.write_text(
        json.dumps({"url": "https://a.example/", "title": "Io", "contents": "A moon."})
    )
    build_index(None, pages, tmp_path / "index")
    program = [str(interpreter(tmp_path, "judging")), "-m", JUDGE]
    world = [f"world.tools.{part}.kind=server" for part in ("search", "pages")]
    config = load_config(
        TrainConfig,
        [
            f"folder={tmp_path / 'run'}",
            *nodes.placement[:3],
            "placement.resources={judge: {sampling: 1}, retrieval: {training: 1}}",
            "judge.kind=llm",
            "placement.judge.model=models/judge-30b",
            "placement.judge.gpus=0",
            f"placement.judge.launch.program={json.dumps(program)}",
            "world.kind=tools",
            *world,
            f"placement.retrieval.python={interpreter(tmp_path, 'searching')}",
            f"placement.retrieval.settings=[index={tmp_path / 'index'}]",
        ],
    )
    async with open_processes(config) as processes:
        url = processes.config.world.tools.search.base_url  # pyright: ignore
        judge = processes.config.judge.endpoint.base_url
        assert judge.endswith("/v1")
        assert environment_of(JUDGE, nodes.mark).endswith("judging")
        assert environment_of("serve", nodes.mark).endswith("searching")
        assert await asyncio.to_thread(is_healthy, url)
        assert "retrieval-0" in await asyncio.to_thread(overview, nodes.address)
        (judging,) = running(JUDGE, nodes.mark)
        (searching,) = running("serve", nodes.mark)
        os.kill(searching, signal.SIGKILL)
        await asyncio.to_thread(nodes.lose_that_of, judging)
        for role in ("retrieval", "judge"):
            ready = f"{role} is ready at"
            await until(lambda ready=ready: caplog.text.count(ready) == 2)
        assert await asyncio.to_thread(is_healthy, url)
        assert await asyncio.to_thread(is_healthy, judge.removesuffix("/v1"))
    assert {path.name for path in (tmp_path / "run" / "logs").iterdir()} == {
        "judge-0.log",
        "retrieval-0.log",
    }


def is_healthy(url: str) -> bool:
    with urllib.request.urlopen(f"{url}/health", timeout=60) as answer:
        return answer.status == 200


@pytest.mark.parametrize(
    ("address", "remembered"), [("127.0.0.1:{}", ""), ("auto", "127.0.0.1:{}")]
)
def test_an_address_without_a_cluster_is_one_line_at_once(address: str, remembered: str) -> None:
    port = free_port()
    command = [sys.executable, "-m", "wideseek_apps", "cluster", f"address={address.format(port)}"]
    environment = {**os.environ, "RAY_ADDRESS": remembered.format(port)}
    ended = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert ended.returncode == 2
    assert re.search(r"no Ray cluster there: .*refused", ended.stderr), ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def overview(address: str) -> str:
    command = [sys.executable, "-m", "wideseek_apps", "cluster", f"address={address}"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
