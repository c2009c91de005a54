"""What a group of exceptions means: the one error that should be reported for it."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import cast

from wideseek_core.errors import WideSeekError


def flatten(error: BaseException) -> list[BaseException]:
    """The errors that a group holds, at any depth, in order; a single error as itself."""
    if not isinstance(error, BaseExceptionGroup):
        return [error]
    inside = cast(tuple[BaseException, ...], error.exceptions)
    return [leaf for below in inside for leaf in flatten(below)]


def first_cause(error: BaseException) -> BaseException:
    """The error to report: a bug before a foreseen error, so that none is hidden by one.

    Foreseen are `WideSeekError` and the operating system's errors.
    """
    leaves = flatten(error)
    return next((leaf for leaf in leaves if not is_foreseen(leaf)), leaves[0])


def is_foreseen(error: BaseException) -> bool:
    """Whether an error is one of ours or the operating system's, not a bug."""
    return isinstance(error, WideSeekError | OSError)


@contextmanager
def ungrouped() -> Generator[None]:
    """Raises the first cause of a task group's failure in the place of the group."""
    try:
        yield
    except BaseExceptionGroup as group:
        raise first_cause(group) from None
