"""`metrics.jsonl`: one JSON object a report, with `version` and `step`."""

import asyncio
import json
import math
from pathlib import Path

from wideseek_core.files import append_text, drop_torn_line, read_objects, write_atomically
from wideseek_rl.loop.loggers.protocol import StepReport


class JsonLinesLogger:
    """Appends reports to a file. Numbers that are not finite become null, as JSON has none."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def start(self, step: int) -> None:
        """Drops the lines of steps that will be done again; of a run that starts, all of them."""
        await asyncio.to_thread(self._drop_after, step)

    async def write(self, report: StepReport) -> None:
        """Appends a line."""
        metrics = {k: v if math.isfinite(v) else None for k, v in report.metrics.items()}
        line = json.dumps({"version": 1, "step": report.step, **metrics})
        await asyncio.to_thread(append_text, self._path, line)

    async def close(self) -> None:
        """Nothing is buffered."""

    def _drop_after(self, step: int) -> None:
        if self._path.exists():
            drop_torn_line(self._path)
            kept = [
                json.dumps(o) for _, o in read_objects(self._path) if 0 < step >= o.get("step", 0)
            ]
            write_atomically(self._path, "".join(f"{line}\n" for line in kept))
