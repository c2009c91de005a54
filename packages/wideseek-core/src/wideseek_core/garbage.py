"""Python's search for cyclic garbage, beside hundreds of rollouts that are alive."""

import gc
from collections.abc import Generator
from contextlib import contextmanager

THRESHOLDS = (10_000, 50, 100)
"""Objects that make it search the young ones, and searches of an age until the next is searched.
With Python's own setting (700, 10, 10) it walks through everything that lives once a second."""

_blocks = 0
_before = gc.get_threshold()
_inside = _before
_frozen = False


@contextmanager
def rare_garbage_collection() -> Generator[None]:
    """Inside the block, Python searches for cyclic garbage less often, and only what is new.

    What has no cycles is freed at once as ever. The setting is that of the whole process: blocks
    may overlap, and the last one to end restores what was there before the first. Whoever has set
    other thresholds, also inside a block, or has switched the search off, keeps that.
    """
    global _blocks, _before, _inside, _frozen
    if not _blocks:
        _before = gc.get_threshold()
        _frozen = not gc.get_freeze_count()
        if _frozen:
            # Corpora, tasks and modules stay: no search needs to look at them. What is garbage
            # already is found afterwards: to search everything now could take a second.
            gc.freeze()
        if _before[0]:  # 0 is no search at all
            gc.set_threshold(*(max(pair) for pair in zip(_before, THRESHOLDS, strict=True)))
        _inside = gc.get_threshold()
    _blocks += 1
    try:
        yield
    finally:
        _blocks -= 1
        if not _blocks:
            if gc.get_threshold() == _inside:
                gc.set_threshold(*_before)
            if _frozen:
                gc.unfreeze()
