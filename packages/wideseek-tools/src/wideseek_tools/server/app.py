"""The server as an ASGI application.

`/retrieve` and `/access` are answered before the framework sees them. It keeps the rest, and
describes all routes.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import orjson
from fastapi import FastAPI, Response
from pydantic import BaseModel

from wideseek_core.counting import counted
from wideseek_core.errors import BadRequest
from wideseek_tools.server.answers import AccessAnswer, Health, Problem, RetrieveAnswer
from wideseek_tools.server.docs_page import docs_page
from wideseek_tools.server.requests import Access, Retrieve, openapi_body
from wideseek_tools.server.routes import Routes

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_JSON = (b"content-type", b"application/json")


def make_app(routes: Routes, about: dict[str, str | int]) -> App:
    """The application; `about` is what `/health` tells of the index."""
    rest = _described(routes, about)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if (
            scope["type"] != "http"
            or scope["method"] != "POST"
            or scope["path"] not in routes.posts
        ):
            await rest(scope, receive, send)
            return
        body = await _body(receive, routes.config.max_body_bytes)
        answer = await routes.answer(scope["path"], body)
        headers = [_JSON, (b"content-length", b"%d" % len(answer.body))]
        if answer.retry_after_s:
            headers.append((b"retry-after", b"%d" % answer.retry_after_s))
        start = {"type": "http.response.start", "status": answer.status, "headers": headers}
        await send(start)
        await send({"type": "http.response.body", "body": answer.body})

    return app


async def _body(receive: Receive, limit: int) -> bytes | BadRequest:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return BadRequest(400, "the client left")
        body += message.get("body", b"")
        if len(body) > limit:
            return BadRequest(413, f"the body is larger than {counted(limit, 'byte')}")
        if not message.get("more_body", False):
            return bytes(body)


def _described(routes: Routes, about: dict[str, str | int]) -> FastAPI:
    """The routes that the framework answers, and the description of all."""
    app = FastAPI(title="WideSeek retrieval", docs_url=None, redoc_url=None)

    async def retrieve() -> Response:
        """Passages for each query."""
        raise AssertionError("answered before")

    async def access() -> Response:
        """The pages at URLs, null for unknown ones."""
        raise AssertionError("answered before")

    async def health() -> Response:
        """What is served."""
        return Response(orjson.dumps({"status": "ok", **about}), media_type="application/json")

    async def metrics() -> Response:
        """Counts and times for Prometheus."""
        return Response(routes.metrics.text(), media_type="text/plain; version=0.0.4")

    async def docs() -> Response:
        return Response(docs_page(app.openapi()), media_type="text/html; charset=utf-8")

    app.post("/retrieve", openapi_extra=openapi_body(Retrieve), **_answers(RetrieveAnswer))(
        retrieve
    )
    app.post("/access", openapi_extra=openapi_body(Access), **_answers(AccessAnswer))(access)
    app.get("/health", response_class=Response, responses={200: {"model": Health}})(health)
    app.get("/docs", include_in_schema=False)(docs)
    app.get("/metrics", response_class=Response)(metrics)
    return app


def _answers(model: type[BaseModel]) -> dict[str, Any]:
    """How a `POST` may be answered."""
    problems = {
        400: "The body is not JSON.",
        413: "The body, or what it asks for, is too large.",
        422: "The body lacks something.",
        500: "The search failed.",
        503: "Too many requests are waiting; `Retry-After` says when to come again.",
    }
    described = {code: {"model": Problem, "description": text} for code, text in problems.items()}
    return {"response_class": Response, "responses": {200: {"model": model}} | described}
