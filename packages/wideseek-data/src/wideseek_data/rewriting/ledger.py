"""What was asked of a paid model, what it answered, and what that cost.

The file is the only memory: every request is written down before it is sent, with the most it can
cost, and every answer with what it did cost. A killed run that resumes finds all answers, and never
repeats a request whose answer it lost: it may have been paid for.
"""

from decimal import Decimal
from pathlib import Path
from typing import Literal

from pydantic import Field

from wideseek_core import Config, Record
from wideseek_core.files import append_line, drop_torn_line, read_records

MILLION = Decimal(1_000_000)


class Prices(Config):
    """What tokens cost, in any currency."""

    prompt_per_million: Decimal = Field(default=Decimal(0), ge=0)
    """Price of a million tokens of prompts."""
    response_per_million: Decimal = Field(default=Decimal(0), ge=0)
    """Price of a million tokens of responses."""

    def cost(self, prompt_tokens: int, response_tokens: int) -> Decimal:
        """The exact cost of a request."""
        prompt = self.prompt_per_million * prompt_tokens
        return (prompt + self.response_per_million * response_tokens) / MILLION


class LedgerEntry(Record):
    """One line of the ledger."""

    event: Literal["asked", "answered", "failed"]
    key: str
    """Identifies the request."""
    cost: Decimal
    """What it can cost at most, for `asked`; what it did cost, for the others."""
    text: str = ""
    prompt_tokens: int = 0
    response_tokens: int = 0


class Ledger:
    """The requests of a run, within a budget."""

    def __init__(self, path: Path, budget: Decimal | None) -> None:
        """Reads what an earlier part of the run left. Raises `DataError`."""
        self._path = path
        self._budget = budget
        self._open: dict[str, Decimal] = {}
        self._answers: dict[str, str] = {}
        self.paid = Decimal(0)
        """What all answers cost, and what failed requests may have cost."""
        self.requests = 0
        """Requests that were sent."""
        if path.exists():
            drop_torn_line(path)
            for entry in read_records(path, LedgerEntry):
                self._take(entry)
        self.lost = frozenset(self._open)
        """Requests whose answers a killed run lost: never sent again."""

    @property
    def committed(self) -> Decimal:
        """What was paid, and the most that requests without an answer can cost."""
        return self.paid + sum(self._open.values(), Decimal(0))

    def answer(self, key: str) -> str | None:
        """The text of a request that was answered before."""
        return self._answers.get(key)

    def ask(self, key: str, most: Decimal) -> bool:
        """Notes a request that is about to be sent; false if the budget does not allow it."""
        if self._budget is not None and self.committed + most > self._budget:
            return False
        self._write(LedgerEntry(event="asked", key=key, cost=most))
        return True

    def answered(
        self, key: str, text: str, cost: Decimal, prompt_tokens: int, response_tokens: int
    ) -> None:
        """Notes the answer to a request."""
        self._write(
            LedgerEntry(
                event="answered",
                key=key,
                cost=cost,
                text=text,
                prompt_tokens=prompt_tokens,
                response_tokens=response_tokens,
            )
        )

    def failed(self, key: str) -> None:
        """Notes a request without an answer, which may have cost the most it could."""
        self._write(LedgerEntry(event="failed", key=key, cost=self._open[key]))

    def _write(self, entry: LedgerEntry) -> None:
        append_line(self._path, entry)
        self._take(entry)

    def _take(self, entry: LedgerEntry) -> None:
        if entry.event == "asked":
            self._open[entry.key] = entry.cost
            self.requests += 1
            return
        self._open.pop(entry.key, None)
        self.paid += entry.cost
        if entry.event == "answered":
            self._answers[entry.key] = entry.text
