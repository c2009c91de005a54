"""The route for plain arrays that is loaded into vLLM servers, in an application like theirs."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import pytest
from pydantic import BaseModel

from wideseek_core.testing.fake_vllm import ARRAYS
from wideseek_rl.engines.control.commands import ARRAY_ROUTE
from wideseek_rl.engines.control.vllm_route import PATH, ArrayRoute

Messages = list[MutableMapping[str, Any]]


class OutputKind(Enum):
    CUMULATIVE = 0
    FINAL_ONLY = 2


class Parameters(BaseModel):
    max_tokens: int
    logprobs: int | None = None
    flat_logprobs: bool = False
    output_kind: OutputKind = OutputKind.CUMULATIVE


class GenerateRequest(BaseModel):
    """What vLLM's own route reads; the route finds it beside the class that serves it."""

    token_ids: list[int]
    sampling_params: Parameters


class ErrorInfo(BaseModel):
    code: int
    message: str


class ErrorResponse(BaseModel):
    error: ErrorInfo


@dataclass
class Flat:
    """Two log-probabilities at the first position, one at the others."""

    logprobs: list[float]
    start_indices: list[int]


@dataclass
class Span:
    version: str
    start: int
    end: int


@dataclass
class Made:
    token_ids: tuple[int, ...]
    logprobs: Flat
    finish_reason: str
    weight_versions: list[Span] | None


@dataclass
class Output:
    outputs: list[Made]
    num_cached_tokens: int


@dataclass
class Serving:
    """As vLLM's `ServingTokens`, of which the route replaces the last step alone."""

    wait: asyncio.Event = field(default_factory=asyncio.Event)
    requests: list[GenerateRequest] = field(default_factory=list[GenerateRequest])
    started: asyncio.Event = field(default_factory=asyncio.Event)
    given_up: list[int] = field(default_factory=list[int])
    refusal: ErrorResponse | None = None
    spans: list[Span] | None = None

    async def serve_tokens(self, request: GenerateRequest, raw_request: object) -> object:
        assert raw_request is None
        self.requests.append(request)
        if self.refusal is not None:
            return self.refusal
        return await self.serve_tokens_full_generator(
            request, self._outputs(), "id", "policy", None
        )

    async def serve_tokens_full_generator(self, *_arguments: object) -> object:
        raise AssertionError("writes what nobody wants")

    async def _outputs(self) -> AsyncIterator[Output]:
        try:
            self.started.set()
            await self.wait.wait()
        except asyncio.CancelledError:
            self.given_up.append(1)
            raise
        flat = Flat(logprobs=[-0.5, -3.0, -1.25], start_indices=[0, 2])
        yield Output([Made((8, 9), flat, "stop", self.spans)], num_cached_tokens=3)


@dataclass
class State:
    serving_tokens: Serving


class App:
    """The part of a FastAPI application that the route touches."""

    def __init__(self, serving: Serving) -> None:
        self.state = State(serving)
        self.routes: dict[str, Any] = {}
        self.middleware = ArrayRoute(self._inner)

    def add_route(self, path: str, endpoint: object, methods: list[str]) -> None:
        assert methods == ["POST"]
        assert path not in self.routes
        self.routes[path] = endpoint

    async def _inner(
        self,
        scope: MutableMapping[str, Any],
        receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
        send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
    ) -> None:
        if scope["type"] == "http":
            await self.routes[scope["path"]](scope, receive, send)

    async def post(self, body: object, *, leaves: asyncio.Event | None = None) -> Messages:
        """What is sent back to a client that stays, or leaves with the event."""
        text = body if isinstance(body, bytes) else json.dumps(body).encode()
        parts: Messages = [
            {"type": "http.request", "body": text[:5], "more_body": True},
            {"type": "http.request", "body": text[5:]},
        ]
        sent: Messages = []

        async def receive() -> MutableMapping[str, Any]:
            if parts:
                return parts.pop(0)
            await (leaves or asyncio.Event()).wait()
            return {"type": "http.disconnect"}

        async def send(message: MutableMapping[str, Any]) -> None:
            sent.append(message)

        await self.middleware({"type": "lifespan", "app": self}, receive, send)
        await self.middleware({"type": "http", "path": PATH, "app": self}, receive, send)
        return sent


REQUEST = {"token_ids": [5, 6], "sampling_params": {"max_tokens": 2, "logprobs": 0}}


def content(sent: Messages) -> tuple[int, Any]:
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    length = dict(sent[0]["headers"])[b"content-length"]
    assert int(length) == len(sent[1]["body"])
    return sent[0]["status"], json.loads(sent[1]["body"])


@pytest.mark.parametrize("spans", [None, [Span("4", 0, 1), Span("5", 1, 2)]])
async def test_a_response_is_arrays(spans: list[Span] | None) -> None:
    serving = Serving(spans=spans)
    serving.wait.set()
    status, answer = content(await App(serving).post(REQUEST))
    assert status == 200
    assert answer == {
        "ids": [8, 9],
        "logprobs": [-0.5, -1.25],
        "finish_reason": "stop",
        "weight_versions": spans and [vars(span) for span in spans],
        "cached_tokens": 3,
    }
    (request,) = serving.requests
    assert request.token_ids == [5, 6]
    assert request.sampling_params.output_kind is OutputKind.FINAL_ONLY
    assert request.sampling_params.flat_logprobs is True


def test_servers_load_it_by_its_name_and_the_fake_has_the_same_path() -> None:
    assert f"{ArrayRoute.__module__}.{ArrayRoute.__name__}" == ARRAY_ROUTE
    assert PATH == ARRAYS


async def test_requests_share_nothing() -> None:
    serving = Serving()
    app = App(serving)
    running = [asyncio.create_task(app.post(REQUEST)) for _ in range(3)]
    await asyncio.sleep(0)
    serving.wait.set()
    assert [content(sent)[0] for sent in await asyncio.gather(*running)] == [200, 200, 200]
    assert list(app.routes) == [PATH]


async def test_a_request_whose_client_has_left_is_given_up() -> None:
    serving, leaves = Serving(), asyncio.Event()
    running = asyncio.create_task(App(serving).post(REQUEST, leaves=leaves))
    await serving.started.wait()
    leaves.set()
    assert await running == []
    assert serving.given_up == [1]


async def test_refusals_are_those_of_the_server() -> None:
    refusal = ErrorResponse(error=ErrorInfo(code=404, message="no such model"))
    status, answer = content(await App(Serving(refusal=refusal)).post(REQUEST))
    assert (status, answer) == (404, {"error": {"code": 404, "message": "no such model"}})


@pytest.mark.parametrize("body", [b"not JSON", {"token_ids": [1]}, [1]])
async def test_what_can_not_be_read_is_refused(body: object) -> None:
    status, answer = content(await App(Serving()).post(body))
    assert status == 400
    assert answer["error"]["code"] == 400
