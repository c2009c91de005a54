"""wideseek-eval alone: resumable runs of any agent, and a comparison of two."""

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory

from wideseek_core import Episode, Score, ScoreState, Task, TextGold, TextMetrics
from wideseek_eval import RunConfig, compare, comparison_text, load_run, run_evaluation

TASKS = [
    Task(id=f"sum-{n}", question=f"What is {n} + {n}?", gold=TextGold(answers=(str(2 * n),)))
    for n in range(8)
]


class Judge:
    """Right or wrong."""

    async def score(self, task: Task, answer: str) -> Score:
        """The verdict."""
        right = isinstance(task.gold, TextGold) and answer in task.gold.answers
        metrics = TextMetrics(correct=float(right))
        return Score(state=ScoreState.SCORED, metrics=metrics, format_valid=True)


async def run(folder: Path, largest: int) -> None:
    """Evaluates an agent that can add numbers up to a largest one."""

    async def answer(task: Task, trial: int) -> Episode:
        number = int(task.id.removeprefix("sum-"))
        text = str(2 * number) if number <= largest else "unknown"
        return Episode(task_id=task.id, trial=trial, trajectories=(), answer=text)

    settings = {"largest": largest}  # what shapes answers: a resumed run has to share it
    await run_evaluation(RunConfig(folder=folder), TASKS, answer, Judge(), settings=settings)


if __name__ == "__main__":
    with TemporaryDirectory() as name:
        before, after = Path(name) / "before", Path(name) / "after"
        asyncio.run(run(before, largest=3))
        asyncio.run(run(after, largest=6))
        change = compare(load_run(before).results, load_run(after).results)
        print(comparison_text(change, "before", "after"))
