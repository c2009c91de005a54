"""Memory that was freed leaves the process."""

import sys
from pathlib import Path

import pytest

from wideseek_core.memory import return_freed_memory

BLOCKS, BYTES = 4096, 32 * 1024


def resident_mb() -> float:
    """Memory of this process that no file backs."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1000


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_holes_between_blocks_in_use_are_returned() -> None:
    # Every eighth block stays, so that no end of the heap is free.
    blocks = [bytearray(BYTES) for _ in range(BLOCKS)]
    kept = blocks[::8]
    full = resident_mb()
    blocks.clear()
    return_freed_memory()
    assert full - resident_mb() > BLOCKS * BYTES / 1e6 / 2
    assert all(len(block) == BYTES for block in kept)
