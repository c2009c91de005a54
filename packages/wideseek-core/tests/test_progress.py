import logging
import os
import subprocess
import sys

import pytest

from wideseek_core.progress import ProgressBar, logging_to_console, show

Captured = pytest.CaptureFixture[str]


def test_without_a_terminal_progress_is_lines_on_stderr(capsys: Captured) -> None:
    with ProgressBar("training", 2, every_s=0) as bar:
        bar.advance(metrics={"reward": 0.12345, "state": "warm"})
        bar.advance(metrics={"reward": 1234567.0})
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "training: 1/2 in 0 s  reward 0.123  state warm",
        "training: 2/2 in 0 s  reward 1.23e+06",
    ]


def test_lines_come_at_most_so_often_and_the_last_state_always(capsys: Captured) -> None:
    with ProgressBar("reading", None, every_s=1000) as bar:
        for _ in range(500):
            bar.advance(2)
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["reading: 2 in 0 s", "reading: 1000 in 0 s"]


def fail_after(bar: ProgressBar, steps: int) -> None:
    with bar:
        for _ in range(steps):
            bar.advance()
        raise RuntimeError


def test_a_job_that_fails_says_how_far_it_came(capsys: Captured) -> None:
    with pytest.raises(RuntimeError):
        fail_after(ProgressBar("reading", 9, every_s=1000), 2)
    assert capsys.readouterr().err.splitlines()[-1] == "reading: 2/9 in 0 s"


def test_metrics_are_not_taken_for_markup(capsys: Captured) -> None:
    with ProgressBar("[red]x[/red]", 1) as bar:
        bar.advance(metrics={"a": "[b]"})
    assert "[red]x[/red]: 1/1 in 0 s  a [b]" in capsys.readouterr().err


def test_a_log_record_is_one_line_on_stderr_however_long(capsys: Captured) -> None:
    before = logging.getLogger().handlers[:]
    with logging_to_console():
        logging.getLogger("wideseek.test").info("read %s", "word " * 100)
        logging.getLogger("wideseek.test").debug("not shown")
        logging.getLogger("httpx2").info("not shown either")
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert " INFO read word word" in err
    assert logging.getLogger().handlers == before


def test_results_go_to_stdout(capsys: Captured) -> None:
    show("| a |")
    assert capsys.readouterr() == ("| a |\n", "")


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [
        ("utf-8", "│ Łódź ? ± │"),
        ("cp1252", "| ?ód? ? ± |"),
        ("ascii", "| ??d? ? +- |"),
        ("gbk", "│ ?ód? ? ± │"),
    ],
)
def test_a_result_is_shown_in_any_encoding(encoding: str, shown: str) -> None:
    script = r"from wideseek_core.progress import show; show('│ Łódź \ud800 ± │')"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONIOENCODING": encoding},
        capture_output=True,
    )
    assert done.stderr == b""
    assert done.stdout.decode(encoding) == f"{shown}\n"


def test_a_log_record_shows_no_password_of_an_address(capsys: Captured) -> None:
    with logging_to_console():
        logging.getLogger("x").warning("%s has ended", "http://me:hunter2@a.example")
        try:
            raise ValueError("no http://me:hunter2@a.example")
        except ValueError:
            logging.getLogger("x").exception("a bug")
    shown = capsys.readouterr().err
    assert "http://[redacted]@a.example has ended" in shown
    assert "ValueError: no http://[redacted]@a.example" in shown
