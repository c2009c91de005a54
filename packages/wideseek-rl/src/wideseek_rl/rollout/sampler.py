"""Which tasks a step trains on: a function of seed and step, so that resuming needs no state."""

import hashlib
import random
from collections.abc import Sequence

from wideseek_core import Task


class PromptSampler:
    """Epochs of tasks, each in its own random order, cut into steps of equal size.

    A step may reach over the end of an epoch, so that no task is left out.
    """

    def __init__(self, tasks: Sequence[Task], *, per_step: int, seed: int) -> None:
        self._tasks, self._per_step, self._seed = tasks, per_step, seed

    def steps(self, epochs: int) -> int:
        """How many full steps so many epochs make, at least one."""
        return max(len(self._tasks) * epochs // self._per_step, 1)

    def at(self, step: int) -> list[Task]:
        """The tasks of a step, counted from 0."""
        first = step * self._per_step
        places = [divmod(n, len(self._tasks)) for n in range(first, first + self._per_step)]
        orders = {epoch: self._shuffled(epoch) for epoch in {epoch for epoch, _ in places}}
        return [self._tasks[orders[epoch][index]] for epoch, index in places]

    @property
    def fingerprint(self) -> str:
        """Tells other tasks or another order of theirs from these."""
        ids = "\n".join(task.id for task in self._tasks)
        return hashlib.sha256(ids.encode()).hexdigest()

    def _shuffled(self, epoch: int) -> list[int]:
        order = list(range(len(self._tasks)))
        random.Random(f"{self._seed}:{epoch}").shuffle(order)
        return order


def rollout_seed(seed: int, step: int, task_id: str, trial: int) -> int:
    """A seed that is the same in every process, and another one for every rollout of a run."""
    text = f"{seed}:{step}:{task_id}:{trial}"
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest())
