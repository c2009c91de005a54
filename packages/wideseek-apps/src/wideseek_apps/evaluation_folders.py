"""Evaluations in the folder of a training run: each is of the weights after one step."""

import asyncio
import os
import shutil
from pathlib import Path

from wideseek_eval.runs.folder import RunFolder, read_header
from wideseek_rl.loop.loggers.protocol import StepReport


def set_aside(folder: Path, step: int) -> None:
    """Renames an evaluation of another step: a run that trains further is measured anew."""
    other = _step(folder)
    if other not in (None, step):
        target = folder.with_name(f"{folder.name}_step_{other}")
        if target.exists():  # the run had come to that step once before, and went back
            shutil.rmtree(target)
        os.rename(folder, target)


class LaterEvaluations:
    """Removes evaluations of steps that are done again; a `MetricLogger` that logs nothing.

    A resumed run need not come to the same weights, and would take what is there for its own.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def start(self, step: int) -> None:
        """Nothing is kept of later steps."""
        await asyncio.to_thread(self._remove_after, step)

    async def write(self, report: StepReport) -> None:
        """Evaluations are written by whoever makes them."""

    async def close(self) -> None:
        """Nothing is buffered."""

    def _remove_after(self, step: int) -> None:
        for folder in (*self._folder.glob("after*"), *self._folder.glob("validation/*/*")):
            if (_step(folder) or 0) > step:
                shutil.rmtree(folder)


def _step(folder: Path) -> int | None:
    """The step that an evaluation is of; None if there is no evaluation."""
    header = RunFolder(path=folder).header
    step = read_header(header).settings.get("step") if header.exists() else None
    return step if isinstance(step, int) else None
