"""The entry point of the console command `wideseek`.

From its first line Ctrl-C ends the command without a traceback, so this module imports nothing that
takes time to load.
"""

import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import NoReturn


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the sub-command that the arguments name; by default those of the process."""
    signal.signal(signal.SIGINT, _leave)
    from wideseek_apps.program import run

    run(sys.argv[1:] if arguments is None else arguments)


def _leave(_signal: int, _frame: FrameType | None) -> NoReturn:
    os.write(2, b"interrupted\n")
    os._exit(130)
