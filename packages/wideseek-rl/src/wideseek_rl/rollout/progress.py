"""Which prompts of a run have been taken, and which of them still have to be trained on."""

from collections.abc import Iterable

from wideseek_core import Record


class PromptProgress(Record):
    """How far a schedule is in the sequence of prompts; part of a checkpoint.

    A prompt is known by its position in the sequence. Those below `next_position` that are not in
    `untrained` have been trained on, or have failed and were counted; each exactly once.
    """

    next_position: int = 0
    """The first prompt that was never taken."""
    untrained: tuple[int, ...] = ()
    """Prompts that were taken and not trained on yet, oldest first."""
    finished: tuple[int, ...] = ()
    """Those of them whose rollouts are in the checkpoint."""

    @classmethod
    def of_steps(cls, steps: int, per_step: int) -> "PromptProgress":
        """After so many synchronous steps."""
        return cls(next_position=steps * per_step)


class PromptLedger:
    """Hands out positions, each of them until it is trained on."""

    def __init__(self, progress: PromptProgress, total: int) -> None:
        self._next, self._total = progress.next_position, total
        self._waiting = [p for p in progress.untrained if p not in progress.finished]
        self._taken = set(progress.finished)

    @property
    def untrained(self) -> tuple[int, ...]:
        """Positions that were taken at some time and are not trained on."""
        return tuple(sorted([*self._waiting, *self._taken]))

    @property
    def waiting(self) -> int:
        """How many positions were given back."""
        return len(self._waiting)

    @property
    def left(self) -> int:
        """How many positions can be taken, those given back included."""
        return len(self._waiting) + max(self._total - self._next, 0)

    def take(self, count: int) -> list[int]:
        """The next positions, those given back first; fewer at the end of the run."""
        again = self._waiting[:count]
        del self._waiting[:count]
        new = range(self._next, min(self._next + count - len(again), max(self._total, self._next)))
        self._next += len(new)
        self._taken.update(again, new)
        return [*again, *new]

    def take_new(self, count: int) -> list[int]:
        """The next positions that were never taken; fewer at the end of the run."""
        new = range(self._next, min(self._next + count, max(self._total, self._next)))
        self._next += len(new)
        self._taken.update(new)
        return list(new)

    def give_back(self, positions: Iterable[int]) -> None:
        """Positions that have to be taken again."""
        back = sorted(positions)
        self._taken.difference_update(back)
        self._waiting = sorted([*self._waiting, *back])

    def trained(self, positions: Iterable[int]) -> None:
        """Positions that are done with."""
        self._taken.difference_update(positions)

    def progress(self, finished: Iterable[int] = ()) -> PromptProgress:
        """What a checkpoint keeps, with the rollouts of `finished` in files of their own."""
        return PromptProgress(
            next_position=self._next, untrained=self.untrained, finished=tuple(sorted(finished))
        )
