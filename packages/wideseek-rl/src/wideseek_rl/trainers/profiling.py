"""Traces of chosen updates by torch's profiler, for chrome://tracing or Perfetto."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast


@contextmanager
def profiled(folder: Path, update: int) -> Generator[None]:
    """Writes `update_NNNNNN.json` with the operators, kernels and their times of what is inside."""
    from torch import profiler

    folder.mkdir(parents=True, exist_ok=True)
    with cast(Any, profiler).profile(acc_events=True) as trace:
        yield
    trace.export_chrome_trace(str(folder / f"update_{update:06d}.json"))
