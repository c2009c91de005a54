"""The wire format: what clients may send, and what they get."""

from typing import Annotated, Any, TypeVar

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from wideseek_core.errors import BadRequest, DataError
from wideseek_core.json_text import parse_json
from wideseek_tools.passages import Hit, Passage
from wideseek_tools.server.config import ServeConfig

B = TypeVar("B", bound=BaseModel)


class Retrieve(BaseModel):
    """The body of `POST /retrieve`, as lenient about spellings as the public servers."""

    model_config = ConfigDict(extra="ignore")

    queries: list[str]
    topk: Annotated[int, Field(ge=0)] | None = None
    """Passages for each query; 0 and null for the server's usual number."""
    return_scores: bool = False


class Access(BaseModel):
    """The body of `POST /access`."""

    model_config = ConfigDict(extra="ignore")

    urls: list[str]


def parse_retrieve(body: bytes, config: ServeConfig) -> Retrieve:
    """A checked request, cut to what the server does. Raises `BadRequest`."""
    request = _parsed(Retrieve, body)
    return Retrieve(
        queries=[query[: config.max_query_chars] for query in request.queries],
        topk=min(request.topk or config.topk, config.max_topk),
        return_scores=request.return_scores,
    )


def parse_access(body: bytes, config: ServeConfig) -> list[str]:
    """The URLs of `POST /access`. Raises `BadRequest`."""
    urls = _parsed(Access, body).urls
    if len(urls) > config.max_urls:
        raise BadRequest(413, f"urls: at most {config.max_urls} in one request")
    return urls


def _parsed(model: type[B], body: bytes) -> B:
    try:
        return model.model_validate(_object(body))
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, problem["loc"]))
        raise BadRequest(422, f"{where or 'the body'}: {problem['msg']}") from None


def _object(body: bytes) -> object:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        pass
    try:  # it takes halves of surrogate pairs and NaN, which Python's clients write
        return parse_json(body)
    except DataError:
        raise BadRequest(400, "the body is not JSON") from None


def result(found: list[list[Hit]], scores: bool) -> bytes:
    """The body of a `/retrieve` answer, put together from passages that are JSON already."""
    rows = [
        b"[%b]" % b",".join([_scored(*hit) if scores else hit[0].wire for hit in hits])
        for hits in found
    ]
    return b'{"result":[%b]}' % b",".join(rows)


def _scored(passage: Passage, score: float) -> bytes:
    return b'{"document":%b,"score":%b}' % (passage.wire, orjson.dumps(score))


def openapi_body(model: type[BaseModel]) -> dict[str, Any]:
    """The OpenAPI description of a request that the framework does not parse."""
    content = {"application/json": {"schema": model.model_json_schema()}}
    return {"requestBody": {"required": True, "content": content}}
