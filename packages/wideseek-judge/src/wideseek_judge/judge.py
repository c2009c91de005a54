"""The judge that the apps open: one scorer for rewards and benchmarks."""

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.metadata import version
from typing import Literal

from wideseek_core import (
    ConfigError,
    Policy,
    Score,
    ScoreState,
    TableGold,
    TableMetrics,
    Task,
    TextGold,
    TextMetrics,
)
from wideseek_core.errors import NoVerdict
from wideseek_core.text import after_thinking, clean
from wideseek_judge.config import JudgeConfig
from wideseek_judge.counts import JudgeCounts
from wideseek_judge.llm.cache import VerdictCache
from wideseek_judge.llm.chat import Chat, PolicyChat, StructuredChat
from wideseek_judge.llm.client import ChatClient
from wideseek_judge.llm.verdicts import LlmVerdicts
from wideseek_judge.offline import ExactVerdicts, NormalizedVerdicts
from wideseek_judge.rules.reward import score_for_training
from wideseek_judge.rules.short_answers import contains, exact_match, find_answer, token_f1
from wideseek_judge.rules.strict import score_strictly
from wideseek_judge.verdicts import JudgingContext, Verdicts

logger = logging.getLogger(__name__)

_INSTALL = (
    "pip install 'wideseek-judge[official]' with Python 3.11 to 3.13 (in a checkout: uv sync)"
)
_OFFICIAL_VERSIONS = {"pandas": "2.3.1", "dateparser": "1.2.2"}
"""Those that the official evaluator locks: its numbers depend on them."""

TableScorer = Callable[[JudgingContext, TableGold, str, Verdicts], Awaitable[Score]]


class TableJudge:
    """Scores tables and short answers; a core `Judge`. Open one with `open_judge`."""

    def __init__(
        self, config: JudgeConfig, verdicts: Verdicts, counts: JudgeCounts | None = None
    ) -> None:
        self._config, self._verdicts = config, verdicts
        self.counts = counts or JudgeCounts()
        """What a model judge has cost; nothing but `unscored` moves for the offline ones."""
        self._score_table = _table_scorer(config.mode)

    async def score(self, task: Task, answer: str) -> Score:
        """The verdict on an agent's final text.

        Raises `JudgeError` when no answer can ever be judged (no such endpoint, a refused key),
        and `DataError` for an unusable reference.
        """
        context = JudgingContext(task_id=task.id, question=clean(task.question))
        answer = clean(answer)
        try:
            if isinstance(task.gold, TableGold):
                gold = task.gold.model_copy(update={"text": clean(task.gold.text)})
                return await self._table(context, gold, answer)
            references = tuple(map(clean, task.gold.answers))
            return await self._text(context, TextGold(answers=references), answer)
        except NoVerdict as error:
            self.counts.unscored += 1
            empty = TableMetrics() if isinstance(task.gold, TableGold) else TextMetrics()
            return Score(
                state=ScoreState.UNSCORED,
                metrics=empty,
                message=str(error),
                judge_calls=context.calls,
                judge_usage=context.usage,
            )

    async def _table(self, context: JudgingContext, gold: TableGold, answer: str) -> Score:
        # The official rules look for the table in the whole text, thinking included.
        final = answer if self._config.mode == "official" else after_thinking(answer)
        return await self._score_table(context, gold, final, self._verdicts)

    async def _text(self, context: JudgingContext, gold: TextGold, answer: str) -> Score:
        final = after_thinking(answer)
        found = find_answer(final, self._config.extract)
        if found is None:
            places = ", ".join(self._config.extract)
            return Score(
                state=ScoreState.FAILED,
                metrics=TextMetrics(),
                message=f"no short answer in the text (looked for: {places})",
            )
        verdict = await self._verdicts.correct(context, found, gold.answers)
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
            judge_calls=context.calls,
            judge_usage=context.usage,
        )


def _table_scorer(mode: Literal["official", "strict", "reward"]) -> TableScorer:
    match mode:
        case "official":
            return _official()
        case "strict":
            return score_strictly
        case "reward":
            return score_for_training


def _official() -> TableScorer:
    """The official scorer. Raises `ConfigError` without the libraries it uses."""
    try:
        from wideseek_judge.rules.official import score_officially
    except ImportError as error:
        raise ConfigError(
            f"mode 'official' needs pandas and dateparser ({error.name} is missing): {_INSTALL}"
        ) from None
    for library, wanted in _OFFICIAL_VERSIONS.items():
        if (found := version(library)) != wanted:
            line = "%s %s is not the official evaluator's %s, the numbers may differ: %s"
            logger.warning(line, library, found, wanted, _INSTALL)
    return score_officially


@asynccontextmanager
async def open_judge(
    config: JudgeConfig, chat: Chat | StructuredChat | Policy | None = None
) -> AsyncGenerator[TableJudge]:
    """The judge a configuration describes, with whatever it keeps open.

    `chat` replaces the configured endpoint of kind `llm`: a function of messages, a client that
    takes JSON schemas, or a core `Policy`, such as the rollout engine's. Verdicts of a policy are
    not remembered on disk, since its weights may change.
    """
    if config.kind == "exact":
        yield TableJudge(config, ExactVerdicts())
    elif config.kind == "normalized":
        yield TableJudge(config, NormalizedVerdicts())
    else:
        async with AsyncExitStack() as stack:
            folder = config.cache
            if chat is None:
                chat = await stack.enter_async_context(ChatClient(config.endpoint))
            elif isinstance(chat, Policy):
                chat, folder = PolicyChat(chat), None
            cache = VerdictCache(folder) if folder else None
            if cache is not None:
                stack.callback(cache.close)
            counts = JudgeCounts()
            verdicts = LlmVerdicts(config, chat, cache, counts)
            stack.push_async_callback(verdicts.close)
            yield TableJudge(config, verdicts, counts)
