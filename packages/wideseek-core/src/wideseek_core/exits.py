"""How a command ends: help, one line for what the user can fix, a traceback for a bug."""

import sys
from collections.abc import Generator
from contextlib import contextmanager

from wideseek_core.errors import WideSeekError
from wideseek_core.exception_groups import first_cause, is_foreseen


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
        sys.stdout.write(f"{request}\n")
        raise SystemExit(0) from None
    except (WideSeekError, OSError) as error:
        _fail(error)
    except BaseExceptionGroup as group:
        cause = first_cause(group)
        if not is_foreseen(cause):
            raise
        _fail(cause)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        raise SystemExit(130) from None


def _fail(error: BaseException) -> None:
    line = f"{type(error).__name__}: {error}"
    if isinstance(error, OSError) and error.strerror:
        line = f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    sys.stderr.write(" ".join(line.split()) + "\n")
    raise SystemExit(2) from None
