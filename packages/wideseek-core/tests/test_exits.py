import errno

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
