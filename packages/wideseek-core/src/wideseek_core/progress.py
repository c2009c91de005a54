"""Progress on stderr: a bar on a terminal, one line per step elsewhere. Results go to stdout."""

import logging
import sys
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.logging import RichHandler
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from wideseek_core.redaction import hide_credentials

console = Console(stderr=True)
"""The one console of a process: the bar and the log share it."""


class ProgressBar:
    """Counts steps of one job and shows named metrics beside them.

    Use as a context manager. Off a terminal it writes a line at most every `every_s` seconds.
    """

    def __init__(self, title: str, total: int | None, *, every_s: float = 5.0) -> None:
        self._title, self._total, self._every_s = title, total, every_s
        self._done = 0
        self._metrics = ""
        self._started = time.monotonic()
        self._printed = -1e9
        self._shown = ""
        self._bar: Progress | None = None
        self._task = TaskID(0)

    def __enter__(self) -> Self:
        if console.is_terminal:
            self._bar = Progress(
                SpinnerColumn("dots" if console.encoding.startswith("utf") else "line"),
                TextColumn("{task.description}"),
                BarColumn(bar_width=24),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[metrics]}"),
                console=console,
                transient=True,
            )
            self._task = self._bar.add_task(self._title, total=self._total, metrics="")
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
        if self._shown != self._state():
            self._line()

    def advance(self, steps: int = 1, metrics: Mapping[str, float | str] | None = None) -> None:
        """Moves on by `steps`; `metrics` replace what is shown beside the bar."""
        self._done += steps
        if metrics is not None:
            self._metrics = "  ".join(f"{name} {_short(value)}" for name, value in metrics.items())
        if self._bar is not None:
            self._bar.update(self._task, completed=self._done, metrics=self._metrics)
        elif time.monotonic() - self._printed >= self._every_s:
            self._line()

    def _state(self) -> str:
        total = f"/{self._total}" if self._total is not None else ""
        return f"{self._done}{total} {self._metrics}"

    def _line(self) -> None:
        self._printed, self._shown = time.monotonic(), self._state()
        done, _, metrics = self._shown.partition(" ")
        seconds = self._printed - self._started
        line = f"{self._title}: {done} in {seconds:.0f} s  {metrics}".rstrip()
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _short(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.3g}"


@contextmanager
def logging_to_console(level: int = logging.INFO) -> Generator[None]:
    """Sends the root logger's records to the console that the bar uses, for one app's life.

    Off a terminal each record is one line, however long.
    """
    handler = _handler()
    root = logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(level)
    for client in ("httpx2", "httpx"):  # their other lines hold whole URLs
        logging.getLogger(client).setLevel(logging.WARNING)
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(before)


class _HidingFormatter(logging.Formatter):
    """Leaves users and passwords of addresses out of lines and tracebacks."""

    def format(self, record: logging.LogRecord) -> str:
        return hide_credentials(super().format(record))


def _handler() -> logging.Handler:
    if console.is_terminal:
        handler = RichHandler(console=console, show_path=False, log_time_format="%H:%M:%S")
        handler.setFormatter(_HidingFormatter("%(message)s"))
        return handler
    handler = logging.StreamHandler()
    handler.setFormatter(_HidingFormatter("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S"))
    return handler


def show(text: str) -> None:
    """Writes a result to stdout, whatever its encoding can't hold replaced."""
    sys.stdout.write(_writable(text, sys.stdout.encoding or "utf-8") + "\n")
    sys.stdout.flush()


def show_problem(text: str) -> None:
    """Writes what is no result to stderr."""
    console.print(hide_credentials(text), highlight=False, markup=False, soft_wrap=True)


_IN_ASCII = {
    **dict.fromkeys("─━═╌╍┄┅┈┉╴╶╸╺", "-"),
    **dict.fromkeys("│┃║╎╏┆┇┊┋", "|"),
    **dict.fromkeys("┌┏╔┐┓╗└┗╚┘┛╝├┣╠┡┤┫╣┩┬┳╦┴┻╩┼╋╬╇╈┯┷╪", "+"),
    **dict.fromkeys("–—−", "-"),
    "→": "->",
    "±": "+-",
    "…": "...",
}
"""Lines and signs of the reports, for terminals that have no others."""


def _writable(text: str, encoding: str) -> str:
    """The text with only what an encoding can hold."""
    if _fits(text, encoding):
        return text
    return "".join(
        character if _fits(character, encoding) else _IN_ASCII.get(character, "?")
        for character in text
    )


def _fits(text: str, encoding: str) -> bool:
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True
