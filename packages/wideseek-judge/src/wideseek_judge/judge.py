"""The judge that the apps open: one scorer for rewards and benchmarks."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from wideseek_core import (
    ConfigError,
    Score,
    ScoreState,
    TableGold,
    TableMetrics,
    Task,
    TextGold,
    TextMetrics,
)
from wideseek_judge.answers import contains, exact_match, find_answer, token_f1
from wideseek_judge.config import JudgeConfig
from wideseek_judge.matching import score_table
from wideseek_judge.verdicts import (
    Case,
    ExactVerdicts,
    NormalisedVerdicts,
    NoVerdict,
    Verdicts,
)


class TableJudge:
    """Scores tables and short answers; a core `Judge`. Open one with `open_judge`."""

    def __init__(self, config: JudgeConfig, verdicts: Verdicts) -> None:
        self._config, self._verdicts = config, verdicts

    async def score(self, task: Task, answer: str) -> Score:
        """The verdict on an agent's final text.

        Raises `JudgeError` when no answer can ever be judged (no such endpoint, a refused key),
        and `DataError` for an unusable reference.
        """
        case = Case(task_id=task.id, question=task.question)
        try:
            if isinstance(task.gold, TableGold):
                return await self._table(case, task.gold, answer)
            return await self._text(case, task.gold, answer)
        except NoVerdict as error:
            empty = TableMetrics() if isinstance(task.gold, TableGold) else TextMetrics()
            return Score(
                state=ScoreState.UNSCORED,
                metrics=empty,
                message=str(error),
                judge_calls=case.calls,
            )

    async def _table(self, case: Case, gold: TableGold, answer: str) -> Score:
        mode = self._config.mode
        if mode == "official":
            raise ConfigError("mode 'official' is not there yet")
        final = answer.rpartition("</think>")[2]
        return await score_table(case, gold, final, mode=mode, verdicts=self._verdicts)

    async def _text(self, case: Case, gold: TextGold, answer: str) -> Score:
        final = answer.rpartition("</think>")[2]
        found = find_answer(final, self._config.extract)
        if found is None:
            places = ", ".join(self._config.extract)
            return Score(
                state=ScoreState.FAILED,
                metrics=TextMetrics(),
                message=f"no short answer in the text (looked for: {places})",
            )
        verdict = await self._verdicts.correct(case, found, gold.answers)
        metrics = TextMetrics(
            correct=verdict.score,
            exact_match=exact_match(found, gold.answers),
            token_f1=token_f1(found, gold.answers),
            contains=contains(found, gold.answers),
        )
        return Score(
            state=ScoreState.SCORED,
            metrics=metrics,
            format_valid=True,
            message=f"answer {found!r} judged by {verdict.by}",
            judge_calls=case.calls,
        )


@asynccontextmanager
async def open_judge(config: JudgeConfig) -> AsyncGenerator[TableJudge]:
    """The judge a configuration describes, with whatever it keeps open."""
    if config.kind == "exact":
        yield TableJudge(config, ExactVerdicts())
    elif config.kind == "normalised":
        yield TableJudge(config, NormalisedVerdicts())
    else:
        raise ConfigError("kind 'llm' is not there yet")
