"""Second answers: tasks are dropped where an independent answer disagrees with the gold."""

import logging
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path

from wideseek_core import Judge, Record
from wideseek_core.construction import Answerer
from wideseek_core.errors import PolicyError
from wideseek_core.files import append_line, drop_torn_line, read_records
from wideseek_data.building.config import SecondAnswerConfig
from wideseek_data.building.report import StepCounter
from wideseek_data.tasks.recipes import PlannedTask

logger = logging.getLogger(__name__)

SECOND_ANSWERS = "second_answers.jsonl"


class SecondAnswer(Record):
    """How the second answer to a task compared with the gold."""

    task: str
    question: str
    gold: str
    """Hash of the gold that it was compared with: sources may have changed since."""
    score: float | None
    """None if there was no answer."""


class SecondAnswers:
    """Asks for second answers, and remembers them in the data set's folder."""

    def __init__(self, config: SecondAnswerConfig, judge: Judge, folder: Path) -> None:
        """Reads the answers of an earlier run. Raises `DataError`."""
        self._config = config
        self._judge = judge
        self._path = folder / SECOND_ANSWERS
        drop_torn_line(self._path)
        known = read_records(self._path, SecondAnswer) if self._path.exists() else ()
        self._known = {(item.question, item.gold): item for item in known}

    async def agreed(
        self, plans: Sequence[PlannedTask], answerer: Answerer, step: StepCounter
    ) -> list[PlannedTask]:
        """The tasks without those whose second answer disagrees."""
        kept: list[PlannedTask] = []
        for plan in plans:
            if not _is_sampled(plan.task.id, self._config.share):
                step.take("")
                step.repaired["not asked"] += 1
                kept.append(plan)
                continue
            second = self._known.get((plan.task.question, _digest(plan)))
            if second is None:
                second = await self._ask(plan, answerer)
                if second.score is not None:  # without one it is asked for again by a resumed run
                    append_line(self._path, second)
            if second.score is None:
                step.repaired["no answer"] += 1
            agrees = second.score is None or second.score >= self._config.threshold
            if step.take("" if agrees else "disagrees"):
                kept.append(plan)
        return kept

    async def _ask(self, plan: PlannedTask, answerer: Answerer) -> SecondAnswer:
        try:
            score = (await self._judge.score(plan.task, await answerer.answer(plan.task))).value
        except PolicyError as problem:
            logger.warning("task %s has no second answer: %s", plan.task.id, problem)
            score = None
        return SecondAnswer(
            task=plan.task.id, question=plan.task.question, gold=_digest(plan), score=score
        )


def _digest(plan: PlannedTask) -> str:
    return blake2b(plan.task.gold.model_dump_json().encode(), digest_size=8).hexdigest()


def _is_sampled(name: str, share: float) -> bool:
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest()) / 2**64 < share
