import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from wideseek_core import WorkerError
from wideseek_core.processes import log_tail, start_child
from wideseek_core.testing import until, wait_until

STARTER = """
import asyncio, sys
from pathlib import Path
from wideseek_core.processes import start_child

async def main():
    command = (sys.executable, "-c", "import time; time.sleep(600)")
    child = await start_child(command, log=Path({log!r}))
    print(child.pid, flush=True)
    await child.wait()

asyncio.run(main())
"""


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


async def number_in(log: Path) -> str:
    await until(lambda: log_tail(log).isdecimal())
    return log_tail(log)


def wait_for_end(pid: int) -> None:
    wait_until(lambda: not is_running(pid))


async def test_a_child_writes_to_its_log_and_stops_with_its_group(tmp_path: Path) -> None:
    script = (
        "import subprocess, sys, time\n"
        "below = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "print(below.pid, flush=True); time.sleep(600)"
    )
    log = tmp_path / "logs" / "child.log"
    child = await start_child((sys.executable, "-c", script), log=log)
    text = await number_in(log)
    assert os.getpgid(child.pid) == child.pid != os.getpgid(0)
    await child.stop(60)
    assert child.returncode == -signal.SIGTERM
    wait_for_end(int(text))


async def test_a_channel_carries_bytes_and_the_environment_reaches_the_child(
    tmp_path: Path,
) -> None:
    script = "import os, sys; print(os.environ['GIVEN'] + sys.stdin.readline().strip())"
    child = await start_child(
        (sys.executable, "-c", script),
        log=tmp_path / "log",
        environment={"GIVEN": "x"},
        channel=True,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(b"y\n")
    assert await child.stdout.readline() == b"xy\n"
    assert await child.wait() == 0
    await child.stop(1)


@pytest.mark.parametrize("kind", ["starter killed", "command killed"])
def test_nothing_is_left_when_a_process_is_killed(kind: str, tmp_path: Path) -> None:
    script = STARTER.format(log=str(tmp_path / "log"))
    starter = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert starter.stdout is not None
    child = int(starter.stdout.readline())
    os.kill(starter.pid if kind == "starter killed" else child, signal.SIGKILL)
    wait_for_end(child)
    assert starter.wait(120) == (-signal.SIGKILL if kind == "starter killed" else 0)
    starter.stdout.close()


async def test_what_a_killed_command_left_in_its_group_is_killed(tmp_path: Path) -> None:
    script = (
        "import subprocess, sys, time\n"
        "below = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "print(below.pid, flush=True); time.sleep(600)"
    )
    log = tmp_path / "log"
    child = await start_child((sys.executable, "-c", script), log=log)
    text = await number_in(log)
    os.kill(child.pid, signal.SIGKILL)
    assert await child.wait() == -signal.SIGKILL
    wait_for_end(int(text))
    await child.stop(1)


async def test_a_command_that_does_not_exist_is_named_in_the_log(tmp_path: Path) -> None:
    child = await start_child(("no-such-program",), log=tmp_path / "log")
    assert await child.wait() == 127
    assert "no-such-program did not start" in log_tail(tmp_path / "log")
    await child.stop(1)
    assert log_tail(tmp_path / "none") == "(nothing)"


async def test_last_words_are_not_those_of_an_earlier_process_with_the_same_log(
    tmp_path: Path,
) -> None:
    log = tmp_path / "log"
    for words in ("print('out of memory')", "pass"):
        child = await start_child((sys.executable, "-c", words), log=log)
        await child.wait()
        await child.stop(1)
        assert child.last_words == ("out of memory" if words != "pass" else "(nothing)")
    assert log_tail(log) == "out of memory"


async def test_a_log_that_can_not_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    with pytest.raises(WorkerError, match="true did not start"):
        await start_child(("true",), log=tmp_path / "log")
