"""The server as an ASGI application.

`/retrieve` and `/access` are answered before the framework sees them. It keeps the rest, and
describes all routes.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import orjson
from fastapi import FastAPI, Response

from wideseek_core.errors import BadRequest
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
            return BadRequest(413, f"the body is larger than {limit} bytes")
        if not message.get("more_body", False):
            return bytes(body)


def _described(routes: Routes, about: dict[str, str | int]) -> FastAPI:
    """The routes that the framework answers, and the description of all."""
    app = FastAPI(title="WideSeek retrieval", docs_url="/docs", redoc_url=None)

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

    app.post("/retrieve", openapi_extra=openapi_body(Retrieve))(retrieve)
    app.post("/access", openapi_extra=openapi_body(Access))(access)
    app.get("/health", response_class=Response)(health)
    app.get("/metrics", response_class=Response)(metrics)
    return app
