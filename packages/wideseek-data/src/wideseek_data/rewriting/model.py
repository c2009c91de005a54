"""Tasks worded by a language model, within a budget, with every reply kept."""

import asyncio
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from decimal import Decimal
from hashlib import blake2b
from pathlib import Path

from pydantic import Field

from wideseek_core import Config, Message, Policy, PolicyError, Reply
from wideseek_data.rewriting.ledger import Ledger, Prices
from wideseek_data.rewriting.prompts import rewriting_prompt
from wideseek_data.rewriting.replies import Malformed, read_rewriting
from wideseek_data.tables.table import Table
from wideseek_data.tasks.recipes import PlannedTask

logger = logging.getLogger(__name__)

LEDGER = "rewriting.jsonl"
TEMPLATE_TOKENS = 64
"""Tokens that a chat template may add to a prompt."""


class RewritingConfig(Config):
    """How a language model words questions."""

    model: str
    """Name of the model; part of what identifies a request."""
    prices: Prices = Prices()
    budget: Decimal | None = Field(default=None, ge=0)
    """The most that all requests of the run may cost, in the currency of the prices; null for no
    limit. What a request could cost at most is set aside before it is sent."""
    max_response_tokens: int = Field(default=800, ge=16)
    """Tokens of a reply that are paid for at most; the endpoint must be limited to as many."""
    max_attempts: int = Field(default=2, ge=1)
    """Requests for one task: a malformed reply is asked for again, with what was wrong."""
    max_concurrent: int = Field(default=16, ge=1)
    """Requests in flight at once."""


class ModelRewriting:
    """Words tasks by a policy's first turn. What can't be worded keeps the grammar's words."""

    def __init__(self, config: RewritingConfig, policy: Policy, folder: Path) -> None:
        self._config = config
        self._policy = policy
        self.ledger = Ledger(folder / LEDGER, config.budget)
        self.counts = Counter[str]()
        """What became of the tasks, and of malformed replies."""

    async def word_all(
        self, plans: Sequence[PlannedTask], tables: Mapping[str, Table]
    ) -> list[PlannedTask]:
        """The tasks with a model's words where it found some, in the same order."""
        slots = asyncio.Semaphore(self._config.max_concurrent)

        async def word(plan: PlannedTask) -> PlannedTask:
            async with slots:
                return await self._word(plan, tables)

        async with asyncio.TaskGroup() as group:
            running = [group.create_task(word(plan)) for plan in plans]
        return [item.result() for item in running]

    async def _word(self, plan: PlannedTask, tables: Mapping[str, Table]) -> PlannedTask:
        problem = ""
        for attempt in range(self._config.max_attempts):
            prompt = rewriting_prompt(plan, tables, problem)
            text = await self._reply(prompt, attempt)
            if text is None:
                return plan
            try:
                question = read_rewriting(text, plan, tables)
            except Malformed as error:
                problem = str(error)
                self.counts[f"malformed: {problem}"] += 1
                continue
            self.counts["worded by the model"] += 1
            return plan.model_copy(
                update={"task": plan.task.model_copy(update={"question": question})}
            )
        self.counts["kept as it was: no usable reply"] += 1
        return plan

    async def _reply(self, prompt: str, attempt: int) -> str | None:
        """The reply to a request, now or earlier; None if there is none to be had."""
        key = blake2b(
            f"{self._config.model}\n{attempt}\n{prompt}".encode(), digest_size=12
        ).hexdigest()
        known = self.ledger.answer(key)
        if known is not None:
            return known
        if key in self.ledger.lost:
            self.counts["kept as it was: reply lost"] += 1
            return None
        # A token is at least one byte, so this is the most that the prompt can be counted as.
        prompt_tokens = len(prompt.encode()) + TEMPLATE_TOKENS
        prices = self._config.prices
        if not self.ledger.ask(key, prices.cost(prompt_tokens, self._config.max_response_tokens)):
            self.counts["kept as it was: budget spent"] += 1
            return None
        try:
            reply = await self._ask(prompt)
        except PolicyError as problem:
            logger.warning("a question keeps its words: %s", problem)
            self.ledger.failed(key)
            self.counts["kept as it was: request failed"] += 1
            return None
        used = (
            reply.prompt_tokens or prompt_tokens,
            reply.response_tokens or self._config.max_response_tokens,
        )
        self.ledger.answered(key, reply.text, prices.cost(*used), *used)
        return reply.text

    async def _ask(self, prompt: str) -> Reply:
        conversation = self._policy.open(())
        try:
            return await conversation.reply([Message(role="user", content=prompt)])
        finally:
            await conversation.close()
