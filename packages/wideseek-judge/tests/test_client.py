import asyncio
import json
from collections.abc import Callable

import httpx
import pytest

from wideseek_core import JudgeError, Message
from wideseek_core.errors import NoVerdict
from wideseek_judge import ChatClient, EndpointConfig

HELLO = [Message(role="user", content="Judge this.")]
CONFIG = EndpointConfig(base_url="http://judge.test/v1/", model="m", max_attempts=3, backoff_s=0)


def reply(text: str | None) -> httpx.Response:
    return httpx.Response(200, json={"choices": [{"message": {"content": text}}]})


def client(
    handler: Callable[[httpx.Request], httpx.Response], config: EndpointConfig = CONFIG
) -> ChatClient:
    return ChatClient(config, transport=httpx.MockTransport(handler))


async def test_requests_are_greedy_and_name_the_model() -> None:
    seen: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return reply('<think>hm</think> {"1": 1}')

    async with client(handler) as chat:
        assert await chat(HELLO) == '{"1": 1}'
    assert str(seen[0].url) == "http://judge.test/v1/chat/completions"
    body = json.loads(seen[0].content)
    assert body["temperature"] == 0
    assert body["model"] == "m"
    assert body["messages"] == [{"role": "user", "content": "Judge this."}]
    assert "authorization" not in seen[0].headers


async def test_the_key_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", "abc")
    seen: list[str] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers["authorization"])
        return reply("x")

    async with client(handler, CONFIG.model_copy(update={"api_key_env": "SOME_KEY"})) as chat:
        await chat(HELLO)
    assert seen == ["Bearer abc"]


@pytest.mark.parametrize(
    "fault",
    [
        httpx.Response(429, headers={"retry-after": "0"}),
        httpx.Response(503, text="busy"),
        httpx.Response(200, text="not json"),
        httpx.Response(200, json={"choices": []}),
    ],
)
async def test_faults_that_pass_are_tried_again(fault: httpx.Response) -> None:
    replies = [fault, reply("fine")]
    async with client(lambda _: replies.pop(0)) as chat:
        assert await chat(HELLO) == "fine"


async def test_faults_that_stay_leave_the_answer_unjudged() -> None:
    asked: list[int] = []

    def handler(_: httpx.Request) -> httpx.Response:
        asked.append(1)
        return httpx.Response(500, text="broken")

    async with client(handler) as chat:
        with pytest.raises(NoVerdict, match=r"HTTP 500: broken \(after 3 attempts\)"):
            await chat(HELLO)
    assert len(asked) == 3


@pytest.mark.parametrize("status", [401, 403, 404])
async def test_hopeless_answers_are_errors_at_once(status: int) -> None:
    asked: list[int] = []

    def handler(_: httpx.Request) -> httpx.Response:
        asked.append(1)
        return httpx.Response(status, text="no")

    async with client(handler) as chat:
        with pytest.raises(JudgeError) as caught:
            await chat(HELLO)
    assert not isinstance(caught.value, NoVerdict)
    assert len(asked) == 1


async def test_a_request_that_is_refused_for_what_it_is_leaves_one_answer_unjudged() -> None:
    async with client(lambda _: httpx.Response(400, text="too long")) as chat:
        with pytest.raises(NoVerdict, match="too long"):
            await chat(HELLO)


async def test_an_endpoint_that_never_answered_is_an_error() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    async with client(handler) as chat:
        with pytest.raises(JudgeError, match="ConnectError: refused") as caught:
            await chat(HELLO)
    assert not isinstance(caught.value, NoVerdict)


async def test_an_endpoint_that_goes_away_leaves_answers_unjudged() -> None:
    up = [True]

    def handler(request: httpx.Request) -> httpx.Response:
        if up.pop() if up else False:
            return reply("x")
        raise httpx.ConnectError("refused", request=request)

    async with client(handler) as chat:
        await chat(HELLO)
        with pytest.raises(NoVerdict):
            await chat(HELLO)


async def test_no_more_requests_are_in_flight_than_allowed() -> None:
    now, most = 0, 0

    async def handler(_: httpx.Request) -> httpx.Response:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.01)
        now -= 1
        return reply("x")

    config = CONFIG.model_copy(update={"max_concurrent": 2, "requests_per_minute": 1e6})
    async with ChatClient(config, transport=httpx.MockTransport(handler)) as chat:
        replies = await asyncio.gather(*(chat(HELLO) for _ in range(10)))
    assert replies == ["x"] * 10
    assert most == 2


async def test_requests_keep_their_pace() -> None:
    config = CONFIG.model_copy(update={"requests_per_minute": 1200.0})  # one in 50 ms
    loop = asyncio.get_running_loop()
    async with client(lambda _: reply("x"), config) as chat:
        started = loop.time()
        await asyncio.gather(*(chat(HELLO) for _ in range(4)))
        assert loop.time() - started >= 0.14
