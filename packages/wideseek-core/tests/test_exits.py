import errno
import signal
import subprocess
import sys

import pytest

from wideseek_core import ConfigError, DataError, ToolUnavailable
from wideseek_core.config import HelpRequested, exit_on_error

Captured = pytest.CaptureFixture[str]


def leave(error: BaseException) -> int:
    with pytest.raises(SystemExit) as caught, exit_on_error():
        raise error
    assert isinstance(caught.value.code, int)
    return caught.value.code


def test_success_does_not_exit() -> None:
    with exit_on_error():
        pass


def test_help_goes_to_stdout_and_exits_with_zero(capsys: Captured) -> None:
    assert leave(HelpRequested("a: int = 1")) == 0
    assert capsys.readouterr() == ("a: int = 1\n", "")


def test_an_own_error_is_one_line_and_exit_two(capsys: Captured) -> None:
    assert leave(DataError("x.jsonl:3: not\n  JSON")) == 2
    assert capsys.readouterr() == ("", "DataError: x.jsonl:3: not JSON\n")


def test_a_forbidden_file_is_named(capsys: Captured) -> None:
    assert leave(PermissionError(errno.EACCES, "Permission denied", "/x/y")) == 2
    assert capsys.readouterr().err == "Permission denied: /x/y\n"


def test_an_error_of_the_system_without_a_file_is_one_line(capsys: Captured) -> None:
    assert leave(OSError(errno.ENOSPC, "No space left on device")) == 2
    assert capsys.readouterr().err == "No space left on device\n"
    assert leave(ConnectionError("nobody there")) == 2
    assert capsys.readouterr().err == "ConnectionError: nobody there\n"


def test_an_interrupt_exits_with_130(capsys: Captured) -> None:
    assert leave(KeyboardInterrupt()) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_the_first_error_of_parallel_tasks_is_told(capsys: Captured) -> None:
    inner = ExceptionGroup("inner", [ToolUnavailable("search is down"), ConfigError("later")])
    assert leave(ExceptionGroup("outer", [inner, OSError("x")])) == 2
    assert capsys.readouterr().err == "ToolUnavailable: search is down\n"


def test_a_bug_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError), exit_on_error():
        raise ZeroDivisionError
    mixed = ExceptionGroup("tasks", [ConfigError("x"), ZeroDivisionError()])
    with pytest.raises(ExceptionGroup) as caught, exit_on_error():
        raise mixed
    assert caught.value is mixed


SCRIPT = """
import sys
from wideseek_core.exits import exit_on_error, leave_on_interrupt, raise_on_interrupt
import time
leave_on_interrupt()
if sys.argv[1] == "working":
    raise_on_interrupt()
with exit_on_error():
    try:
        print("ready", flush=True)
        time.sleep(60)
    finally:
        print("closed", flush=True)
"""


@pytest.mark.parametrize(("phase", "closed"), [("loading", ""), ("working", "closed\n")])
def test_an_interrupt_never_shows_a_traceback(phase: str, closed: str) -> None:
    running = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, phase],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert running.stdout is not None
    assert running.stdout.readline() == "ready\n"
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=60)
    assert (running.returncode, out, err) == (130, closed, "interrupted\n")


def test_a_reader_that_leaves_is_no_error() -> None:
    script = "from wideseek_core.exits import exit_on_error\n"
    script += "from wideseek_core.progress import show\n"
    script += "with exit_on_error():\n    while True: show('x' * 1000)"
    running = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert running.stdout is not None
    assert running.stderr is not None
    running.stdout.read(10)
    running.stdout.close()
    assert (running.wait(60), running.stderr.read()) == (141, b"")
    running.stderr.close()
