"""Event files for TensorBoard in the run's `tensorboard/`."""

import asyncio
import importlib
import time
from pathlib import Path
from typing import Any, Literal

from wideseek_core import Config
from wideseek_rl.loop.loggers.protocol import StepReport


class TensorBoardConfig(Config):
    """TensorBoard, in the folder of the run."""

    kind: Literal["tensorboard"] = "tensorboard"


class TensorBoardLogger:
    """Writes one event file a process; a later one hides the steps that are done again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writer: Any = None

    async def start(self, step: int) -> None:
        """Opens a new event file."""
        await asyncio.to_thread(self._open, step)

    async def write(self, report: StepReport) -> None:
        """Adds one point to each curve."""
        await asyncio.to_thread(self._write, report)

    async def close(self) -> None:
        """Closes the event file."""
        if self._writer is not None:
            await asyncio.to_thread(self._writer.close)

    def _open(self, step: int) -> None:
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        self._writer = EventFileWriter(str(self._folder))
        # Readers drop events of older files from the step at which a session starts.
        messages = _messages("event_pb2")
        started = messages.SessionLog(status=messages.SessionLog.START)
        event = messages.Event(step=step + 1, wall_time=time.time(), session_log=started)
        self._writer.add_event(event)

    def _write(self, report: StepReport) -> None:
        summary = _messages("summary_pb2").Summary
        values = [summary.Value(tag=k, simple_value=v) for k, v in report.metrics.items()]
        event = _messages("event_pb2").Event(
            step=report.step, wall_time=time.time(), summary=summary(value=values)
        )
        self._writer.add_event(event)
        self._writer.flush()


def _messages(name: str) -> Any:
    """A module of TensorBoard's protocol buffers, which have no types."""
    return importlib.import_module(f"tensorboard.compat.proto.{name}")
