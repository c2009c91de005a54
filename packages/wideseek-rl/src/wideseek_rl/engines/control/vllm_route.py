"""A route of vLLM servers that answers with plain arrays of ids and log-probabilities.

vLLM's own route makes several objects of every token and writes them as JSON: for hundreds of
responses at once that takes as long as sampling them. This one does all that vLLM's does but for
the writing. vLLM loads the class as a middleware (`--middleware`) into its own process.
"""

import asyncio
import copy
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from dataclasses import asdict
from typing import Any, cast

PATH = "/v1/wideseek/generate"
"""Below a prefix that vLLM's API key guards."""

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class ArrayRoute:
    """Adds the route to the server's application, and is otherwise not there."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._added = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes everything on."""
        if not self._added:
            self._added = True
            scope["app"].add_route(PATH, _Endpoint(), methods=["POST"])
        await self._app(scope, receive, send)


class _Endpoint:
    """Answers one request. Errors rise to the handlers of the server's application."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = b""
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        work = asyncio.ensure_future(_answer(scope["app"].state.serving_tokens, body))
        left = asyncio.ensure_future(_disconnected(receive))
        try:
            await asyncio.wait((work, left), return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                await _respond(send, *work.result())
        finally:
            # The engine gives a request up whose task is cancelled.
            work.cancel()
            left.cancel()
            await asyncio.gather(work, left, return_exceptions=True)


async def _answer(serving: Any, body: bytes) -> tuple[int, Any]:
    """Status and content. The request is read and checked by the code of vLLM's own route."""
    request_type: Any = vars(sys.modules[type(serving).__module__])["GenerateRequest"]
    try:
        request = request_type.model_validate_json(body)
    except ValueError as error:
        return 400, {"error": {"message": str(error), "type": "BadRequestError", "code": 400}}
    parameters = request.sampling_params
    parameters.output_kind = cast(Any, type(parameters.output_kind)).FINAL_ONLY
    parameters.flat_logprobs = True
    serving = copy.copy(serving)
    serving.serve_tokens_full_generator = _written
    answer = await serving.serve_tokens(request, None)
    if isinstance(answer, dict):
        return 200, cast(dict[str, object], answer)
    return answer.error.code, answer.model_dump()


async def _written(
    _request: Any, outputs: AsyncIterator[Any], *_unused: object
) -> dict[str, object]:
    """The last output of a request, which is all of it."""
    last: Any = None
    async for output in outputs:
        last = output
    made = last.outputs[0]
    spans = getattr(made, "weight_versions", None)  # older versions know of none
    return {
        "ids": list(made.token_ids),
        "logprobs": _logprobs(made),
        "finish_reason": made.finish_reason,
        "weight_versions": spans and [asdict(span) for span in spans],
        "cached_tokens": last.num_cached_tokens,
    }


def _logprobs(made: Any) -> list[float]:
    """Log-probabilities of the sampled tokens: flat, each position's first one."""
    flat = made.logprobs
    return [flat.logprobs[start] for start in flat.start_indices]


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _respond(send: Send, status: int, content: object) -> None:
    body = json.dumps(content).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
