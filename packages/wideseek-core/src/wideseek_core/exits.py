"""How a command ends: help, one line for what the user can fix, a traceback for a bug."""

import os
import signal
import sys
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from wideseek_core.errors import WideSeekError
from wideseek_core.exception_groups import first_cause, is_foreseen
from wideseek_core.redaction import hide_credentials

INTERRUPTED = 130
"""Exit status after Ctrl-C."""
PIPE_CLOSED = 141
"""Exit status if the reader of the output has gone."""


class HelpRequested(Exception):
    """`--help` was given; the message is the text to show."""


@contextmanager
def exit_on_error() -> Generator[None]:
    """Turns `--help` into exit 0, and WideSeek's own errors into one line and exit 2.

    Errors of the system count among them: a full disk, a forbidden folder. Ctrl-C exits with 130.
    """
    try:
        yield
    except HelpRequested as request:
        _write(f"{request}\n")
        raise SystemExit(0) from None
    except BrokenPipeError:
        _leave_pipe()
    except (WideSeekError, OSError) as error:
        _fail(error)
    except BaseExceptionGroup as group:
        cause = first_cause(group)
        if not is_foreseen(cause):
            raise
        _fail(cause)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        raise SystemExit(INTERRUPTED) from None


def leave_on_interrupt() -> None:
    """From here on Ctrl-C ends the process at once, in one line and without a traceback.

    For the seconds in which libraries are loaded and there is nothing to clean up.
    """
    signal.signal(signal.SIGINT, _leave)


def raise_on_interrupt() -> None:
    """From here on Ctrl-C raises `KeyboardInterrupt`, so that open files and runs are closed."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _leave(_signal: int, _frame: FrameType | None) -> NoReturn:
    os.write(2, b"interrupted\n")
    os._exit(INTERRUPTED)


def _write(text: str) -> None:
    """Writes to stdout whatever its encoding can hold."""
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(text.encode(encoding, "replace").decode(encoding))


def _leave_pipe() -> NoReturn:
    # Python flushes stdout once more at exit, which would fail again.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    raise SystemExit(PIPE_CLOSED) from None


def _fail(error: BaseException) -> None:
    line = f"{type(error).__name__}: {error}"
    if isinstance(error, OSError) and error.strerror:
        line = f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    sys.stderr.write(hide_credentials(" ".join(line.split())) + "\n")
    raise SystemExit(2) from None
