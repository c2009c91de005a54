"""What training made of single tokens: one rollout a line of `tokens/step_000012.jsonl`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from wideseek_core.files import read_records
from wideseek_core.json_text import Number
from wideseek_core.tasks import Record


class TurnTokens(Record):
    """The sampled tokens of one turn."""

    agent: int
    turn: int
    """Counted from 0."""
    texts: tuple[str, ...] = ()
    """The text of each token; empty where the tokenizer was not at hand."""
    ids: tuple[int, ...] = ()
    """The id of each token, if there are no texts."""
    logprobs: tuple[Number, ...] = ()
    """Under the distribution that sampled the token, rounded."""
    advantage: float | None = None
    """None if the turn does not train."""
    weight: float = 0.0
    """Of each token of the turn in the objective of the step; 0 if the turn does not train."""
    masked: tuple[int, ...] = ()
    """Places of tokens that do not train although the turn does."""


class TokenRecord(Record):
    """One rollout."""

    version: Literal[1] = 1
    step: int
    task_id: str
    trial: int
    turns: tuple[TurnTokens, ...]


def read_token_records(path: Path) -> Iterator[TokenRecord]:
    """The records of a file. Raises `DataError` with file:line."""
    return read_records(path, TokenRecord, growing=True)
