"""Questions with short answers: `data.kind=sums`."""

from typing import Literal

from wideseek_core import Task, TextGold
from wideseek_core.datasets import Selection, select
from wideseek_core.plugins import Plugin


class SumsData(Selection):
    """Sums of numbers with themselves; `Selection` brings `limit`, `shuffle` and `seed`."""

    kind: Literal["sums"] = "sums"
    highest: int = 10
    """The largest number."""


def load_sums(config: SumsData) -> list[Task]:
    """All tasks of the data set that the configuration asks for."""
    tasks = [
        Task(
            id=f"sum-{number}",
            question=f"What is {number} + {number}?",
            gold=TextGold(answers=(str(2 * number),)),
        )
        for number in range(config.highest + 1)
    ]
    return select(tasks, config)


SUMS = Plugin(config=SumsData, open=load_sums)
