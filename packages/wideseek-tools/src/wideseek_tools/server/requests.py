"""The wire format: what clients may send, checked, and what they get."""

from dataclasses import dataclass
from typing import Any, cast

import orjson

from wideseek_core.errors import BadRequest
from wideseek_tools.passages import Hit, Passage
from wideseek_tools.server.config import ServeConfig


@dataclass(frozen=True, slots=True)
class Retrieve:
    """`POST /retrieve`."""

    queries: tuple[str, ...]
    topk: int
    scores: bool


def parse_retrieve(body: bytes, config: ServeConfig) -> Retrieve:
    """A checked request. Raises `BadRequest`."""
    given = _object(body)
    queries = _strings(given, "queries", config)
    topk = given.get("topk") or config.topk
    if isinstance(topk, bool) or not isinstance(topk, int) or topk < 1:
        raise BadRequest(422, "topk: expected a positive integer")
    if topk > config.max_topk:
        raise BadRequest(422, f"topk: at most {config.max_topk}")
    return Retrieve(queries, topk, bool(given.get("return_scores")))


def parse_access(body: bytes, config: ServeConfig) -> tuple[str, ...]:
    """The URLs of `POST /access`. Raises `BadRequest`."""
    return _strings(_object(body), "urls", config)


def _object(body: bytes) -> dict[str, Any]:
    try:
        given = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise BadRequest(400, "the body is not JSON") from None
    if not isinstance(given, dict):
        raise BadRequest(422, "the body is no JSON object")
    return cast(dict[str, Any], given)


def _strings(given: dict[str, Any], name: str, config: ServeConfig) -> tuple[str, ...]:
    value = given.get(name)
    if not isinstance(value, list):
        raise BadRequest(422, f"{name}: expected a list of strings")
    found = cast(list[object], value)
    if len(found) > config.max_queries:
        raise BadRequest(413, f"{name}: at most {config.max_queries} in one request")
    texts = tuple(one for one in found if isinstance(one, str))
    if len(texts) != len(found):
        raise BadRequest(422, f"{name}: expected a list of strings")
    if any(len(text) > config.max_query_chars for text in texts):
        raise BadRequest(413, f"{name}: at most {config.max_query_chars} characters each")
    return texts


def result(found: list[list[Hit]], scores: bool) -> bytes:
    """The body of a `/retrieve` answer, put together from passages that are JSON already."""
    rows = [
        b"[%b]" % b",".join([_scored(*hit) if scores else hit[0].wire for hit in each])
        for each in found
    ]
    return b'{"result":[%b]}' % b",".join(rows)


def _scored(passage: Passage, score: float) -> bytes:
    return b'{"document":%b,"score":%b}' % (passage.wire, orjson.dumps(score))


def _listing(name: str) -> dict[str, Any]:
    return {
        "type": "object",
        "required": [name],
        "properties": {name: {"type": "array", "items": {"type": "string"}}},
    }


def openapi_body(name: str, more: dict[str, Any] | None = None) -> dict[str, Any]:
    """The OpenAPI description of a request that is parsed by hand."""
    schema = _listing(name)
    schema["properties"].update(more or {})
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}
