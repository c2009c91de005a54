"""What clients of the server get, as models: they describe answers, and do not make them."""

from typing import Literal

from pydantic import BaseModel


class PassageRow(BaseModel):
    """A passage of the index."""

    id: str
    url: str
    title: str
    contents: str
    """The text, in an index of the public layout with the quoted title as its first line."""


class ScoredPassage(BaseModel):
    """A passage where `return_scores` is true."""

    document: PassageRow
    score: float


class RetrieveAnswer(BaseModel):
    """The answer to `POST /retrieve`."""

    result: list[list[PassageRow] | list[ScoredPassage]]
    """A list for each query, in their order, best passage first."""


class PageRow(BaseModel):
    """A page of the store."""

    url: str
    title: str
    contents: str


class AccessAnswer(BaseModel):
    """The answer to `POST /access`."""

    result: list[PageRow | None]
    """A page for each URL, in their order; null for one that is unknown."""


class Health(BaseModel):
    """The answer to `GET /health`, with what is known of the index."""

    status: Literal["ok"]


class Problem(BaseModel):
    """The answer to a request that failed."""

    detail: str
    """One line that says why."""
