"""After which steps a run has reported its held-out tasks.

They are measured after the last checkpoint, which therefore can't say whether they were: without a
file of its own, a run that has ended and is started again would report them once more.
"""

from pathlib import Path

from wideseek_core import Record
from wideseek_core.files import write_atomically
from wideseek_rl.models.manifest import read_record

HELD_OUT = "eval/held_out/"
"""Begins the names of metrics from before the first step and after the last."""


class _Reported(Record):
    """What the file says."""

    steps: tuple[int, ...] = ()


class HeldOutReports:
    """The reports of one run, in a file of its folder."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._steps: tuple[int, ...] = ()

    def start(self, step: int) -> None:
        """Begins after `step` steps: reports of later ones are void, as they are for loggers.

        A run that starts has none. Raises `CheckpointError` if the file can't be read.
        """
        known = read_record(self._path, _Reported).steps if self._path.exists() else ()
        self._steps = tuple(one for one in known if 0 < one <= step)

    def due(self, step: int) -> bool:
        """Whether the tasks have to be reported after so many steps."""
        return step not in self._steps

    def done(self, step: int) -> None:
        """The report was written by all loggers."""
        self._steps = (*self._steps, step)
        write_atomically(self._path, _Reported(steps=self._steps).model_dump_json() + "\n")
