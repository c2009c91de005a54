"""Which ends of ranks at their start are losses, and which would come again."""

import os
import socket
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from wideseek_core import RanksLost, TrainError, WorkerError, WorkerLost
from wideseek_core.frames import PICKLE, Kind, frame
from wideseek_core.processes import TEMPORARY, LocalChild
from wideseek_rl.cluster.launcher import Launcher, Slot, SlotRequest
from wideseek_rl.cluster.local import LocalLauncher, LocalSlot
from wideseek_rl.loop.restarts import with_restarts
from wideseek_rl.trainers.remote.channel import Channel
from wideseek_rl.trainers.remote.ending import REFUSED, reported
from wideseek_rl.trainers.remote.group import RankCommand, open_ranks
from wideseek_rl.trainers.remote.meeting import join_ranks
from wideseek_rl.trainers.remote.requests import Describe, Described, Done

FAILING = "wideseek_rl.no_such_trainer"


async def attempts(command: RankCommand, launcher: Launcher) -> tuple[int, TrainError]:
    """How often a run starts its ranks, and what ends it."""
    made = 0

    async def attempt(_repeated: bool) -> None:
        nonlocal made
        made += 1
        async with open_ranks(command, launcher):
            pass

    with pytest.raises(TrainError) as ended:
        await with_restarts(attempt, 2)
    return made, ended.value


def interpreter(folder: Path, *lines: str) -> Path:
    """What runs in the place of Python."""
    path = folder / "interpreter"
    path.write_text("\n".join(("#!/bin/sh", *lines, "")))
    path.chmod(0o755)
    return path


async def test_a_module_that_is_not_there_ends_the_run_with_its_line(tmp_path: Path) -> None:
    command = RankCommand(module=FAILING, setup="{}", count=2)
    made, error = await attempts(command, LocalLauncher(tmp_path))
    assert made == 1
    assert not isinstance(error, RanksLost)
    assert "did not start: " in str(error)
    assert f"No module named {FAILING}" in str(error)
    assert str(tmp_path) in str(error)
    assert "\n" not in str(error)


async def test_an_interpreter_that_is_not_there_ends_the_run(tmp_path: Path) -> None:
    command = RankCommand(module=FAILING, setup="{}", python=tmp_path / "nothing")
    made, error = await attempts(command, LocalLauncher(tmp_path / "logs"))
    assert (made, isinstance(error, RanksLost)) == (1, False)
    assert "nothing did not start: No such file" in str(error)


async def test_logs_that_have_no_place_end_the_run(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file")
    command = RankCommand(module=FAILING, setup="{}")
    made, error = await attempts(command, LocalLauncher(tmp_path / "logs"))
    assert (made, isinstance(error, RanksLost)) == (1, False)
    assert "trainer-0 has no place for its log" in str(error)


@dataclass(frozen=True, slots=True, kw_only=True)
class PatientSlot(LocalSlot):
    """A place where everything has ended by the time it is started."""

    async def start(self, command: Sequence[str], **options: Any) -> LocalChild:
        child = await LocalSlot.start(self, command, **options)
        await child.wait()
        return child


class PatientLauncher(LocalLauncher):
    """All ranks have ended before anybody looks at them."""

    @asynccontextmanager
    async def slots(self, request: SlotRequest) -> AsyncGenerator[Sequence[LocalSlot]]:
        assert self.logs is not None
        yield [PatientSlot(name=name, log=self.logs / f"{name}.log") for name in request.names]


@pytest.mark.parametrize(
    ("of_first", "of_second", "lost", "said"),
    [
        ("kill -9 $$", "exit 0", True, "trainer-0 with exit code -9"),
        ("exit 0", "exit 0", True, "trainer-0 with exit code 0"),
        ("exit 1", f"exit {TEMPORARY}", False, "trainer-0 did not start: (nothing)"),
        (f"exit {TEMPORARY}", f"exit {TEMPORARY}", True, f"with exit code {TEMPORARY}"),
        # Ranks that lost a peer are not to blame, whatever the peer ended by.
        (f"exit {TEMPORARY}", "echo no memory >&2; exit 1", False, "trainer-1 did not start: no"),
        ("kill -6 $$", "echo no memory >&2; exit 1", False, "trainer-1 did not start: no memory"),
        (f"exit {TEMPORARY}", "kill -9 $$", True, "trainer-1 with exit code -9"),
        ("exit 1", "kill -9 $$", True, "trainer-1 with exit code -9"),
    ],
)
async def test_only_losses_of_ranks_are_tried_again(
    of_first: str, of_second: str, lost: bool, said: str, tmp_path: Path
) -> None:
    script = interpreter(tmp_path, f'if [ "$RANK" = 0 ]; then {of_first}; fi', of_second)
    command = RankCommand(module=FAILING, setup="{}", count=2, python=script)
    made, error = await attempts(command, PatientLauncher(tmp_path / "logs"))
    assert (made, isinstance(error, RanksLost)) == (3 if lost else 1, lost)
    assert said in str(error)


async def test_one_failing_rank_ends_those_that_wait_for_it(tmp_path: Path) -> None:
    waiting = f"touch {tmp_path}/waiting; exec sleep 1000"
    script = interpreter(
        tmp_path,
        f'if [ "$RANK" = 0 ]; then {waiting}; fi',
        f"while [ ! -e {tmp_path}/waiting ]; do sleep 0.05; done",
        "echo no memory >&2; exit 1",
    )
    command = RankCommand(module=FAILING, setup="{}", count=2, python=script)
    made, error = await attempts(command, LocalLauncher(tmp_path / "logs"))
    assert (made, isinstance(error, RanksLost)) == (1, False)
    assert "trainer-1 did not start: no memory" in str(error)


RANK = """
import os, sys, time
from pathlib import Path
from wideseek_rl.trainers.remote.channel import Channel, channel_ends
from wideseek_rl.trainers.remote.requests import Describe, Described, Done

if os.environ["RANK"] == "0":
    channel = Channel(0, channel_ends())
    channel.answer(Done())
    channel.request()
    Path("FOLDER/asked").touch()
    while not Path("FOLDER/ended").exists():
        time.sleep(0.02)
    raise SystemExit(LOST)  # as ranks do that have lost a peer
while not Path("FOLDER/asked").exists():
    time.sleep(0.02)
Path("FOLDER/ended").touch()
sys.stderr.write("DataError: no such file: x\\n")
raise SystemExit(CODE)
"""


@pytest.mark.parametrize(("code", "lost"), [(REFUSED, False), (1, True)])
async def test_a_rank_that_ends_with_a_reason_is_not_lost(
    code: int, lost: bool, tmp_path: Path
) -> None:
    """Whichever rank it is: another trainer would meet the same."""
    program = tmp_path / "rank.py"
    words = {
        "FOLDER": str(tmp_path),
        "CODE": str(code),
        "LOST": str(TEMPORARY),
        "STARTED": repr(frame(Kind.ANSWER, 0, PICKLE.dumps(Done()))),
    }
    text = RANK
    for word, value in words.items():
        text = text.replace(word, value)
    program.write_text(text)
    script = interpreter(tmp_path, f"exec {sys.executable} {program}")
    command = RankCommand(module=FAILING, setup="{}", count=2, python=script)
    async with open_ranks(command, LocalLauncher(tmp_path / "logs")) as group:
        with pytest.raises(TrainError, match="no such file: x") as ended:
            await group.ask(Describe(), Described)
        assert isinstance(ended.value, RanksLost) == lost
        assert ("trainer-1 ended: " in str(ended.value)) != lost
        with pytest.raises(RanksLost, match="broken off"):  # they are of no more use
            await group.ask(Describe(), Described)


def test_a_rank_whose_client_is_lost_says_that_another_attempt_may_help() -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    target = os.fdopen(theirs, "wb", buffering=0)
    channel = Channel(0, (sys.stdin.buffer, target))
    with pytest.raises(SystemExit) as ended, reported(channel):
        channel.answer(Done())
    target.close()
    assert ended.value.code == TEMPORARY


@pytest.mark.parametrize(("host", "code"), [("127.0.0.1", TEMPORARY), ("192.0.2.1", REFUSED)])
def test_only_a_port_that_was_taken_meanwhile_is_worth_another_attempt(
    host: str, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel = Channel(1, (sys.stdin.buffer, sys.stdout.buffer))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = {"MASTER_ADDR": host, "MASTER_PORT": str(taken.getsockname()[1])}
        for name, value in {**address, "RANK": "0", "WORLD_SIZE": "2"}.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(SystemExit) as ended, reported(channel):
            join_ranks("nccl")
    assert ended.value.code == code


SETTINGS = {
    "[enforce fail at gloo/device.cc:84] ifa != nullptr. Unable to find address for: eth9": (
        "GLOO_SOCKET_IFNAME=eth9"
    ),
    "NCCL error in: ProcessGroupNCCL.cpp:1, invalid usage\nncclInvalidUsage: This usually reflects "
    "invalid usage of NCCL library.\nLast error:\nBootstrap : no socket interface found": (
        "NCCL_SOCKET_IFNAME"
    ),
    "NCCL error in: x.cpp:1, invalid usage\nncclInvalidUsage: This usually reflects invalid usage."
    "\nLast error:\nDuplicate GPU detected : rank 1 and rank 0 both on CUDA device 1b000": (
        "two ranks on one GPU"
    ),
    "NCCL error in: x.cpp:1, invalid argument\nncclInvalidArgument: Invalid value.": (
        "NCCL's settings"
    ),
}


@pytest.mark.parametrize(("text", "setting"), SETTINGS.items())
def test_a_setting_that_keeps_ranks_apart_is_named(
    text: str, setting: str, capsys: pytest.CaptureFixture[str]
) -> None:
    channel = Channel(1, (sys.stdin.buffer, sys.stdout.buffer))
    kind = RuntimeError if "NCCL" not in text else torch.distributed.DistBackendError
    with pytest.raises(SystemExit) as ended, reported(channel):
        raise kind(f"{text}\nException raised from x (most recent call first):\nframe #0: y")
    assert ended.value.code == REFUSED
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"ConfigError: the trainer's ranks can't reach each other ({setting}): ")
    assert "frame" not in line


@pytest.mark.parametrize(
    "text",
    [
        "[../gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]:4242",
        "NCCL error in: x.cpp:1, remote process exited or there was a network error",
        "[1] is setting up NCCL communicator and retrieving ncclUniqueId: Connection reset by peer",
        "The client socket has failed: gai error: -3 - Temporary failure in name resolution",
    ],
)
def test_a_peer_that_is_gone_is_no_setting(text: str) -> None:
    channel = Channel(1, (sys.stdin.buffer, sys.stdout.buffer))
    kind = RuntimeError if "gloo" in text else torch.distributed.DistBackendError
    with pytest.raises(SystemExit) as ended, reported(channel):
        raise kind(text)
    assert ended.value.code == TEMPORARY


@pytest.mark.parametrize("rank", ["0", "1"])
def test_the_address_of_the_first_rank_must_be_known(
    rank: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel = Channel(1, (sys.stdin.buffer, sys.stdout.buffer))
    address = {"MASTER_ADDR": "no..host", "MASTER_PORT": "4242"}
    for name, value in {**address, "RANK": rank, "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as ended, reported(channel):
        join_ranks("nccl")
    assert ended.value.code == REFUSED


class NoStart:
    """A launcher whose places can't start anything, or are lost before they could."""

    def __init__(self, error: WorkerError) -> None:
        self.error = error

    @asynccontextmanager
    async def slots(self, request: SlotRequest) -> AsyncGenerator[Sequence[Slot]]:
        raise self.error
        yield []


@pytest.mark.parametrize(
    ("error", "made"), [(WorkerLost("a node is gone"), 3), (WorkerError("no such program"), 1)]
)
async def test_only_lost_places_are_looked_for_again(error: WorkerError, made: int) -> None:
    found = await attempts(RankCommand(module=FAILING, setup="{}"), NoStart(error))
    assert found[0] == made
    assert str(found[1]) == f"a rank of the trainer did not start: {error}"
    assert isinstance(found[1], RanksLost) == isinstance(error, WorkerLost)
