import asyncio
import json
import traceback
from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from wideseek_core import ConfigError, Finish, JudgeError, Message
from wideseek_core.errors import NoVerdict
from wideseek_judge import ChatClient, JudgeEndpointConfig
from wideseek_judge.llm.chat import Schema

HELLO = [Message(role="user", content="Judge this.")]
CONFIG = JudgeEndpointConfig(
    base_url="http://judge.test/v1/", model="m", max_attempts=3, backoff_s=0
)


SCHEMA: Schema = {"type": "object"}


def reply(text: object, finish: object = "stop") -> httpx2.Response:
    choice = {"message": {"content": text}, "finish_reason": finish}
    return httpx2.Response(200, content=json.dumps({"choices": [choice]}))


def client(
    handler: Callable[[httpx2.Request], httpx2.Response], config: JudgeEndpointConfig = CONFIG
) -> ChatClient:
    return ChatClient(config, transport=httpx2.MockTransport(handler))


async def test_requests_are_greedy_and_name_the_model() -> None:
    seen: list[httpx2.Request] = []

    def handler(request: httpx2.Request) -> httpx2.Response:
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

    def handler(request: httpx2.Request) -> httpx2.Response:
        seen.append(request.headers["authorization"])
        return reply("x")

    async with client(handler, CONFIG.model_copy(update={"api_key_env": "SOME_KEY"})) as chat:
        await chat(HELLO)
    assert seen == ["Bearer abc"]


@pytest.mark.parametrize(
    "fault",
    [
        httpx2.Response(429, headers={"retry-after": "0"}),
        httpx2.Response(503, text="busy"),
        httpx2.Response(200, text="not json"),
        httpx2.Response(200, json={"choices": []}),
        httpx2.Response(200, json={"choices": None, "error": {"message": "busy", "code": 429}}),
    ],
)
async def test_faults_that_pass_are_tried_again(fault: httpx2.Response) -> None:
    replies = [fault, reply("fine")]
    async with client(lambda _: replies.pop(0)) as chat:
        assert await chat(HELLO) == "fine"


async def test_faults_that_stay_leave_the_answer_unjudged() -> None:
    asked: list[int] = []

    def handler(_: httpx2.Request) -> httpx2.Response:
        asked.append(1)
        return httpx2.Response(500, text="broken")

    async with client(handler) as chat:
        with pytest.raises(NoVerdict, match=r"HTTP 500: broken \(after 3 attempts\)"):
            await chat(HELLO)
    assert len(asked) == 3


@pytest.mark.parametrize("status", [401, 403, 404])
async def test_hopeless_answers_are_errors_at_once(status: int) -> None:
    asked: list[int] = []

    def handler(_: httpx2.Request) -> httpx2.Response:
        asked.append(1)
        return httpx2.Response(status, text="no")

    async with client(handler) as chat:
        with pytest.raises(JudgeError) as caught:
            await chat(HELLO)
    assert not isinstance(caught.value, NoVerdict)
    assert len(asked) == 1


async def test_a_request_that_is_refused_for_what_it_is_leaves_one_answer_unjudged() -> None:
    async with client(lambda _: httpx2.Response(400, text="too long")) as chat:
        with pytest.raises(NoVerdict, match="too long"):
            await chat(HELLO)


async def test_an_endpoint_that_never_answered_is_an_error() -> None:
    def handler(request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("refused", request=request)

    async with client(handler) as chat:
        with pytest.raises(JudgeError, match="can't be reached: refused") as caught:
            await chat(HELLO)
    assert not isinstance(caught.value, NoVerdict)


async def test_an_endpoint_that_goes_away_leaves_answers_unjudged() -> None:
    up = [True]

    def handler(request: httpx2.Request) -> httpx2.Response:
        if up.pop() if up else False:
            return reply("x")
        raise httpx2.ConnectError("refused", request=request)

    async with client(handler) as chat:
        await chat(HELLO)
        with pytest.raises(NoVerdict):
            await chat(HELLO)


async def test_no_more_requests_are_in_flight_than_allowed() -> None:
    now, most = 0, 0

    async def handler(_: httpx2.Request) -> httpx2.Response:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.01)
        now -= 1
        return reply("x")

    config = CONFIG.model_copy(update={"max_concurrent": 2, "max_requests_per_s": 1e6})
    async with ChatClient(config, transport=httpx2.MockTransport(handler)) as chat:
        replies = await asyncio.gather(*(chat(HELLO) for _ in range(10)))
    assert replies == ["x"] * 10
    assert most == 2


async def test_the_error_inside_an_answer_is_shown() -> None:
    error = {"error": {"message": "provider is out of memory"}}
    async with client(lambda _: httpx2.Response(200, json=error)) as chat:
        with pytest.raises(NoVerdict, match="provider is out of memory"):
            await chat(HELLO)


@pytest.mark.parametrize(
    ("finish", "expected"),
    [
        ("stop", Finish.STOP),
        (None, Finish.STOP),
        ("length", Finish.LENGTH),
        ("model_length", Finish.LENGTH),
        ("max_tokens", Finish.LENGTH),
        ("abort", Finish.LENGTH),
        ("content_filter", Finish.LENGTH),
        ({"type": "length"}, Finish.STOP),
    ],
)
async def test_replies_that_did_not_end_by_themselves_are_cut(
    finish: object, expected: Finish
) -> None:
    async with client(lambda _: reply("x", finish)) as chat:
        assert (await chat.complete(HELLO)).finish is expected


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (None, ""),
        ([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}, "c"], "abc"),
        (5, ""),
        ("a\ud83d", "a\ufffd"),
    ],
)
async def test_content_of_any_kind_is_text(content: object, text: str) -> None:
    async with client(lambda _: reply(content)) as chat:
        assert (await chat.complete(HELLO)).text == text


async def test_a_schema_is_asked_for() -> None:
    bodies: list[dict[str, Any]] = []

    def handler(request: httpx2.Request) -> httpx2.Response:
        bodies.append(json.loads(request.content))
        return reply("{}")

    async with client(handler) as chat:
        await chat.complete(HELLO, SCHEMA)
        await chat.complete(HELLO)
    wanted = bodies[0]["response_format"]
    assert wanted["type"] == "json_schema"
    assert wanted["json_schema"]["schema"] == SCHEMA
    assert "response_format" not in bodies[1]


@pytest.mark.parametrize("status", [400, 404, 415, 422, 500, 501])
async def test_a_server_that_refuses_schemas_is_asked_without(status: int) -> None:
    schemas: list[bool] = []

    def handler(request: httpx2.Request) -> httpx2.Response:
        schemas.append("response_format" in json.loads(request.content))
        return httpx2.Response(status, text="response_format?") if schemas[-1] else reply("{}")

    async with client(handler, CONFIG.model_copy(update={"max_attempts": 1})) as chat:
        for _ in range(3):
            assert (await chat.complete(HELLO, SCHEMA)).text == "{}"
    assert schemas == [True, False, False, False]


async def test_a_refusal_for_another_reason_leaves_schemas_on() -> None:
    schemas: list[bool] = []

    def handler(request: httpx2.Request) -> httpx2.Response:
        schemas.append("response_format" in json.loads(request.content))
        return reply("{}") if len(schemas) > 2 else httpx2.Response(400, text="too long")

    async with client(handler) as chat:
        with pytest.raises(NoVerdict, match="too long"):
            await chat.complete(HELLO, SCHEMA)
        await chat.complete(HELLO, SCHEMA)
    assert schemas == [True, False, True]


async def test_a_schema_that_is_refused_after_others_were_taken_leaves_them_on() -> None:
    schemas: list[bool] = []

    def handler(request: httpx2.Request) -> httpx2.Response:
        schemas.append("response_format" in json.loads(request.content))
        return httpx2.Response(400, text="schema too large") if len(schemas) == 2 else reply("{}")

    async with client(handler) as chat:
        for _ in range(3):
            assert (await chat.complete(HELLO, SCHEMA)).text == "{}"
    assert schemas == [True, True, False, True]


async def test_schemas_can_be_switched_off() -> None:
    config = CONFIG.model_copy(update={"structured_output": False})

    def handler(request: httpx2.Request) -> httpx2.Response:
        assert "response_format" not in json.loads(request.content)
        return reply("{}")

    async with client(handler, config) as chat:
        await chat.complete(HELLO, SCHEMA)


@pytest.mark.parametrize("status", [200, 400, 401, 429, 500])
async def test_a_server_that_echoes_the_key_reveals_it_to_nobody(
    status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_KEY", "sk-very-secret-0123456789")

    def handler(request: httpx2.Request) -> httpx2.Response:
        if status == 200:
            return reply(f"you sent {request.headers['authorization']}")
        return httpx2.Response(status, text=f"bad key {request.headers['authorization']}")

    config = CONFIG.model_copy(update={"api_key_env": "SOME_KEY"})
    async with client(handler, config) as chat:
        try:
            shown = await chat(HELLO)
        except JudgeError as error:
            shown = "".join(traceback.format_exception(error))
    assert "very-secret" not in shown
    assert "0123456789" not in shown


@pytest.mark.parametrize("key", ["two\nlines", "curly’quote", "tab\tkey"])
def test_a_key_that_no_header_can_hold_is_named_by_its_variable(
    key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_KEY", key)
    with pytest.raises(ConfigError, match="SOME_KEY") as caught:
        ChatClient(CONFIG.model_copy(update={"api_key_env": "SOME_KEY"}))
    assert key not in str(caught.value)
