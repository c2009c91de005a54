"""Event files for TensorBoard in the run's `tensorboard/`."""

import asyncio
import importlib
import json
import time
from typing import Any, Literal

from wideseek_core import Config
from wideseek_rl.loop.loggers.protocol import LoggedRun, StepReport


class TensorBoardConfig(Config):
    """TensorBoard, in the folder of the run."""

    kind: Literal["tensorboard"] = "tensorboard"
    name: str | None = None
    """Name of the run, a folder below `tensorboard/`; null for that of the run's folder."""


class TensorBoardLogger:
    """Writes one event file a process; a later one hides the steps that are done again."""

    def __init__(self, config: TensorBoardConfig, run: LoggedRun) -> None:
        self._folder = run.folder / "tensorboard" / (config.name or run.name)
        self._settings = run.settings
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
        event = messages.Event(
            step=step + 1 if step else 0, wall_time=time.time(), session_log=started
        )
        self._writer.add_event(event)
        if self._settings:
            value = _text_value("config", json.dumps(self._settings, indent=2))
            self._add(step, _messages("summary_pb2").Summary(value=[value]))

    def _write(self, report: StepReport) -> None:
        summary = _messages("summary_pb2").Summary
        values = [summary.Value(tag=k, simple_value=v) for k, v in report.metrics.items()]
        self._add(report.step, summary(value=values))

    def _add(self, step: int, summary: Any) -> None:
        event = _messages("event_pb2").Event(step=step, wall_time=time.time(), summary=summary)
        self._writer.add_event(event)
        self._writer.flush()


def _text_value(tag: str, text: str) -> Any:
    """A value for the text dashboard, which shows Markdown: indented lines are shown as written."""
    summary, tensors = _messages("summary_pb2"), _messages("tensor_pb2")
    shown = "".join(f"    {line}\n" for line in text.splitlines())
    plugin = summary.SummaryMetadata.PluginData(plugin_name="text")
    return summary.Summary.Value(
        tag=tag,
        metadata=summary.SummaryMetadata(plugin_data=plugin),
        tensor=tensors.TensorProto(dtype="DT_STRING", string_val=[shown.encode()]),
    )


def _messages(name: str) -> Any:
    """A module of TensorBoard's protocol buffers, which have no types."""
    return importlib.import_module(f"tensorboard.compat.proto.{name}")
