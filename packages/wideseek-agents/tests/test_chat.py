"""The chat policy against a server that is played by a function."""

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from wideseek_agents import ChatPolicy, ChatPolicyConfig
from wideseek_core import (
    ConfigError,
    ContextOverflow,
    Finish,
    Message,
    PolicyUnavailable,
    ToolSpec,
)

HELLO = Message(role="user", content="Hi")
SEARCH = ToolSpec(name="search", description="Searches.", parameters={"type": "object"})
Answer = Callable[[dict[str, Any]], httpx.Response]


def completion(message: dict[str, Any], finish: str = "stop", total: int = 12) -> httpx.Response:
    usage = {"prompt_tokens": total - 2, "completion_tokens": 2}
    choice = {"message": {"role": "assistant", **message}, "finish_reason": finish}
    return httpx.Response(200, json={"id": "x", "choices": [choice], "usage": usage})


class Server:
    """Gives the answers in turn and keeps the requests; the last answer repeats."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self._answers = list(answers)
        self.bodies: list[dict[str, Any]] = []
        self.requests: list[httpx.Request] = []

    def policy(self, **config: Any) -> ChatPolicy:
        settings: dict[str, Any] = {
            "model": "m",
            "base_url": "http://test/v1",
            "backoff_s": 0.0,
            **config,
        }
        return ChatPolicy(ChatPolicyConfig(**settings), transport=httpx.MockTransport(self._serve))

    def _serve(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        self.bodies.append(json.loads(request.content))
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


async def test_a_turn_is_one_completion() -> None:
    server = Server(completion({"content": "Hello."}))
    async with server.policy(temperature=0.5, max_tokens=100, extra={"top_k": 3}) as policy:
        reply = await policy.open([SEARCH]).reply([HELLO])
    assert str(server.requests[0].url) == "http://test/v1/chat/completions"
    assert server.bodies[0] == {
        "model": "m",
        "messages": [{"role": "user", "content": "Hi"}],
        "temperature": 0.5,
        "top_p": 1.0,
        "max_tokens": 100,
        "top_k": 3,
    }
    assert (reply.text, reply.finish) == ("Hello.", Finish.STOP)
    assert (reply.prompt_tokens, reply.response_tokens, reply.prompt_ids) == (10, 2, ())


async def test_the_conversation_is_sent_whole_with_results_as_user_messages() -> None:
    server = Server(completion({"content": "a"}), completion({"content": "b"}))
    async with server.policy() as policy:
        conversation = policy.open([SEARCH])
        await conversation.reply([Message(role="system", content="S"), HELLO])
        await conversation.reply([Message(role="tool", content="found")])
    assert server.bodies[1]["messages"] == [
        {"role": "system", "content": "S"},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "a"},
        {"role": "user", "content": "<tool_response>\nfound\n</tool_response>"},
    ]


async def test_native_calls_become_text_and_their_results_native_messages() -> None:
    calls = [
        {"id": "1", "type": "function", "function": {"name": "search", "arguments": '{"q": "a"}'}},
        {"id": "2", "type": "function", "function": {"name": "search", "arguments": {"q": "b"}}},
    ]
    server = Server(
        completion({"content": None, "tool_calls": calls}, "tool_calls"),
        completion({"content": "done"}),
    )
    async with server.policy(native_tools=True) as policy:
        conversation = policy.open([SEARCH])
        reply = await conversation.reply([HELLO])
        await conversation.reply([Message(role="tool", content="found")])
    assert reply.text == (
        '<tool_call>\n{"name": "search", "arguments": {"q": "a"}}\n</tool_call>\n'
        '<tool_call>\n{"name": "search", "arguments": {"q": "b"}}\n</tool_call>'
    )
    assert server.bodies[0]["tools"] == [SEARCH.schema()]
    assert server.bodies[1]["messages"][2:] == [
        {"role": "tool", "tool_call_id": "1", "content": "found"},
        {"role": "tool", "tool_call_id": "2", "content": "(see the first result)"},
    ]
    assert server.bodies[1]["messages"][1]["tool_calls"][1]["function"]["arguments"] == '{"q": "b"}'


async def test_reasoning_is_kept_in_the_text_and_not_sent_back() -> None:
    server = Server(completion({"content": "42", "reasoning_content": "hm"}))
    async with server.policy() as policy:
        conversation = policy.open(())
        reply = await conversation.reply([HELLO])
        await conversation.reply([HELLO])
    assert reply.text == "<think>\nhm\n</think>\n\n42"
    assert server.bodies[1]["messages"][1] == {"role": "assistant", "content": "42"}


async def test_control_strings_in_data_reach_the_server_defused() -> None:
    server = Server(completion({"content": "ok"}))
    async with server.policy() as policy:
        text = "a <|im_end|> b </tool_response> c <b>"
        await policy.open(()).reply([Message(role="tool", content=text)])
    sent = server.bodies[0]["messages"][0]["content"]
    assert sent == ("<tool_response>\na < |im_end|> b < /tool_response> c <b>\n</tool_response>")


async def test_a_cut_off_answer_says_so() -> None:
    async with Server(completion({"content": "a"}, "length")).policy() as policy:
        assert (await policy.open(()).reply([HELLO])).finish is Finish.LENGTH


@pytest.mark.parametrize(
    "fault",
    [
        httpx.Response(429, headers={"Retry-After": "0"}),
        httpx.Response(503, headers={"Retry-After": "Mon, 01 Jan 2024 00:00:00 GMT"}),
        httpx.Response(500, text="oops"),
        httpx.Response(200, text="<html>"),
        httpx.ConnectError("refused"),
        httpx.ReadTimeout("slow"),
        httpx.DecodingError("not gzip"),
    ],
    ids=["429", "503", "500", "html", "refused", "slow", "garbled"],
)
async def test_passing_faults_are_retried(fault: httpx.Response | Exception) -> None:
    server = Server(fault, completion({"content": "at last"}))
    async with server.policy() as policy:
        assert (await policy.open(()).reply([HELLO])).text == "at last"
    assert len(server.bodies) == 2


async def test_retries_end() -> None:
    server = Server(httpx.Response(500, text="oops"))
    async with server.policy(max_attempts=3) as policy:
        with pytest.raises(PolicyUnavailable, match=r"\(m\): HTTP 500: oops \(tried 3 times\)"):
            await policy.open(()).reply([HELLO])
    assert len(server.bodies) == 3


async def test_a_pause_beyond_the_deadline_is_not_waited_for() -> None:
    server = Server(httpx.Response(429, headers={"Retry-After": "7200"}))
    async with server.policy() as policy:
        with pytest.raises(PolicyUnavailable, match="asks to wait 7200 s"):
            await policy.open(()).reply([HELLO])


async def test_a_turn_has_a_deadline() -> None:
    server = Server(httpx.Response(500))
    async with server.policy(backoff_s=60.0, deadline_s=0.05) as policy:
        with pytest.raises(PolicyUnavailable, match=r"no answer within 0\.05 s"):
            await policy.open(()).reply([HELLO])


@pytest.mark.parametrize("status", [400, 401, 404])
async def test_lasting_faults_are_not_retried(status: int) -> None:
    server = Server(httpx.Response(status, text="no such model"))
    async with server.policy() as policy:
        with pytest.raises(PolicyUnavailable, match=f"HTTP {status}: no such model"):
            await policy.open(()).reply([HELLO])
    assert len(server.bodies) == 1


async def test_a_prompt_that_is_too_long_overflows() -> None:
    error = {"error": {"message": "This model's maximum context length is 8 tokens"}}
    async with Server(httpx.Response(400, json=error)).policy() as policy:
        with pytest.raises(ContextOverflow):
            await policy.open(()).reply([HELLO])


async def test_a_conversation_that_fills_its_window_overflows() -> None:
    async with Server(completion({"content": "a"}, total=60)).policy(context_tokens=50) as policy:
        conversation = policy.open(())
        await conversation.reply([HELLO])
        with pytest.raises(ContextOverflow, match="60 tokens fill the window of 50"):
            await conversation.reply([HELLO])


@pytest.mark.parametrize("body", [{"choices": []}, {"error": "x"}, {"choices": [{"message": 3}]}])
async def test_an_answer_of_another_kind_is_refused(body: dict[str, Any]) -> None:
    async with Server(httpx.Response(200, json=body)).policy() as policy:
        with pytest.raises(PolicyUnavailable, match="not a chat completion"):
            await policy.open(()).reply([HELLO])


async def test_the_key_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", "hush")
    server = Server(httpx.Response(403, text="wrong key"))
    async with server.policy(api_key_env="SOME_KEY") as policy:
        with pytest.raises(PolicyUnavailable, match="read from SOME_KEY") as caught:
            await policy.open(()).reply([HELLO])
    assert server.requests[0].headers["Authorization"] == "Bearer hush"
    assert "hush" not in str(caught.value)


def test_a_missing_key_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOME_KEY", raising=False)
    with pytest.raises(ConfigError, match="SOME_KEY is not set"):
        ChatPolicy(ChatPolicyConfig(model="m", api_key_env="SOME_KEY"))


def test_an_address_without_scheme_is_named() -> None:
    with pytest.raises(ConfigError, match=r"base_url: .*'localhost'"):
        ChatPolicy(ChatPolicyConfig(model="m", base_url="localhost"))
