"""Which prompts a step trains on: a function of seed and step, so that resuming needs no state."""

import hashlib
import random
from collections.abc import Sequence

from wideseek_core import Task


class PromptSampler:
    """An endless sequence of prompts: epochs of tasks, each in its own random order.

    Synchronous steps cut it into parts of equal size. A step may reach over the end of an epoch, so
    that no task is left out.
    """

    def __init__(self, tasks: Sequence[Task], *, per_step: int, seed: int) -> None:
        self._tasks, self._seed = tasks, seed
        self.per_step = per_step
        """Prompts of a step."""
        self._orders: dict[int, list[int]] = {}

    def steps(self, epochs: int) -> int:
        """How many full steps so many epochs make, at least one."""
        return max(len(self._tasks) * epochs // self.per_step, 1)

    def at(self, step: int) -> list[Task]:
        """The tasks of a synchronous step, counted from 0."""
        first = step * self.per_step
        return [self.task(position) for position in range(first, first + self.per_step)]

    def epoch(self, position: int) -> int:
        """The epoch that a position of the sequence is in, counted from 0."""
        return position // len(self._tasks)

    def task(self, position: int) -> Task:
        """The task at a position of the sequence, counted from 0."""
        epoch, index = divmod(position, len(self._tasks))
        if epoch not in self._orders:
            self._orders = {e: o for e, o in self._orders.items() if e >= epoch - 1}
            self._orders[epoch] = self._shuffled(epoch)
        return self._tasks[self._orders[epoch][index]]

    @property
    def fingerprint(self) -> str:
        """Changes with the tasks and their order."""
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
