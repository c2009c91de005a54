"""What chat servers do that the standard does not say: fields, errors, ends, limits."""

import asyncio
import json
from typing import Any

import httpx2
import pytest

from wideseek_agents import ChatPolicy, ChatPolicyConfig
from wideseek_agents.server_limits import fitting_max_tokens, says_too_long
from wideseek_core import (
    ContextOverflow,
    Finish,
    MalformedCall,
    Message,
    PolicyUnavailable,
    Reply,
    ToolCall,
)
from wideseek_core.testing import in_simulated_time

from .chat_server import HELLO, SEARCH, Server, completion


def answer(choice: dict[str, Any], **fields: Any) -> httpx2.Response:
    return httpx2.Response(200, json={"choices": [choice], **fields})


@pytest.mark.parametrize(
    "fields",
    [
        {"reasoning_content": "hm"},
        {"reasoning": "hm"},
        {"reasoning": {"content": "hm"}},
        {"reasoning": {"summary": [{"text": "hm"}]}},
        {"reasoning_content": ["h", {"type": "text", "text": "m"}]},
        {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, "42"]},
    ],
)
async def test_reasoning_may_be_of_any_type(fields: dict[str, Any]) -> None:
    server = Server(answer({"message": {"content": "42", **fields}, "finish_reason": "stop"}))
    async with server.policy() as policy:
        reply = await policy.open(()).reply([HELLO])
    assert reply.text == "<think>\nhm\n</think>\n\n42"


@pytest.mark.parametrize("reasoning", [None, 7, {}, [], True])
async def test_reasoning_without_text_is_none(reasoning: Any) -> None:
    message = {"content": "42", "reasoning": reasoning, "reasoning_content": reasoning}
    async with Server(answer({"message": message})).policy() as policy:
        assert (await policy.open(()).reply([HELLO])).text == "42"


@pytest.mark.parametrize(
    "content",
    ["42", ["4", "2"], [{"type": "text", "text": "42"}], {"text": "42"}],
)
async def test_content_may_come_in_parts(content: Any) -> None:
    async with Server(answer({"message": {"content": content}})).policy() as policy:
        assert (await policy.open(()).reply([HELLO])).text == "42"


@pytest.mark.parametrize(
    ("usage", "counts"),
    [
        ({"prompt_tokens": 12.5, "completion_tokens": 3.0}, (12, 3)),
        ({"prompt_tokens": "12", "completion_tokens": "3"}, (12, 3)),
        ({"input_tokens": 12, "output_tokens": 3}, (12, 3)),
    ],
)
async def test_usage_is_read_as_far_as_it_goes(usage: Any, counts: tuple[int, int]) -> None:
    async with Server(answer({"message": {"content": "a"}}, usage=usage)).policy() as policy:
        reply = await policy.open(()).reply([HELLO])
    assert (reply.prompt_tokens, reply.response_tokens) == counts


@pytest.mark.parametrize("usage", [None, [], 3.5, {}, {"prompt_tokens": None}, {"total": -1}])
async def test_without_usage_tokens_are_estimated(usage: Any) -> None:
    server = Server(answer({"message": {"content": "word " * 400}}, usage=usage))
    async with server.policy(context_tokens=1000) as policy:
        conversation = policy.open(())
        reply = await conversation.reply([HELLO])
        assert 300 <= reply.response_tokens <= 700
        assert 5 <= reply.prompt_tokens <= 20
        await conversation.reply([HELLO])
        with pytest.raises(ContextOverflow, match="fill the window of 1000"):
            await conversation.reply([HELLO])


@pytest.mark.parametrize("ids", [(None, None), (1, 2), ("", ""), ("same", "same"), ({}, [])])
async def test_calls_without_identifiers_get_their_own(ids: tuple[Any, Any]) -> None:
    calls = [
        {"id": id, "function": {"name": "search", "arguments": {"query": str(number)}}}
        for number, id in enumerate(ids)
    ]
    message = {"content": None, "tool_calls": calls}
    server = Server(answer({"message": message}), completion({"content": "done"}))
    async with server.policy(native_tools=True) as policy:
        conversation = policy.open([SEARCH])
        reply = await conversation.reply([HELLO])
        found = [call.id for call in reply.native_calls]
        assert len(set(found)) == 2
        assert all(found)
        results = [Message(role="tool", content="x", call_id=id) for id in found]
        await conversation.reply(results)
    sent = server.bodies[1]["messages"]
    assert [call["id"] for call in sent[1]["tool_calls"]] == found
    assert [message["tool_call_id"] for message in sent[2:]] == found


async def test_arguments_that_are_not_json_are_malformed_and_not_sent_back() -> None:
    calls: list[Any] = [
        {"id": "1", "function": {"name": "search", "arguments": '{"query": "a'}},
        {"id": "2", "function": {"name": None, "arguments": "{}"}},
        {"id": "3", "function": {"name": "search", "arguments": '"{\\"query\\": \\"a\\"}"'}},
        {"id": "4", "function": {"name": "functions.sea\x00rch:0", "arguments": "{}"}},
        "no call",
    ]
    message = {"content": "", "tool_calls": calls}
    server = Server(answer({"message": message}), completion({"content": "done"}))
    async with server.policy(native_tools=True) as policy:
        conversation = policy.open([SEARCH])
        reply = await conversation.reply([HELLO])
        await conversation.reply([HELLO])
    first, second, third, _ = reply.native_calls
    assert isinstance(first, MalformedCall)
    assert (first.problem, first.name) == ("not_json", "search")
    assert isinstance(second, MalformedCall)
    assert second.problem == "no_name"
    assert third == ToolCall(name="search", arguments={"query": "a"}, id="3")
    sent = [call["function"] for call in server.bodies[1]["messages"][1]["tool_calls"]]
    assert sent == [
        {"name": "search", "arguments": "{}"},
        {"name": "unknown", "arguments": "{}"},
        {"name": "search", "arguments": '{"query": "a"}'},
        {"name": "functions_sea_rch_0", "arguments": "{}"},
    ]


async def test_the_old_function_call_is_a_call() -> None:
    message = {"content": None, "function_call": {"name": "search", "arguments": "{}"}}
    async with Server(answer({"message": message})).policy(native_tools=True) as policy:
        (call,) = (await policy.open([SEARCH]).reply([HELLO])).native_calls
    assert isinstance(call, ToolCall)
    assert (call.name, call.arguments) == ("search", {})


PASSING_ERRORS: list[dict[str, Any]] = [
    {"choices": None, "error": {"message": "Provider returned error", "code": 429}},
    {"error": {"message": "Provider returned error", "code": "503"}},
    {"error": {"message": "Provider returned error"}},
    {"error": "Provider returned error"},
    {"error": {"message": "Provider returned error", "type": "overloaded_error"}},
    {"error": {"message": "Provider returned error", "code": "rate_limit_exceeded"}},
    {"message": "Provider returned error"},
    {"success": False, "msg": "Provider returned error"},
    {"choices": [], "error": {"message": "Provider returned error", "type": "server_error"}},
    {
        "choices": [
            {
                "message": {"content": ""},
                "error": {"message": "Provider returned error", "code": 502},
                "finish_reason": "error",
            }
        ]
    },
]


@pytest.mark.parametrize("body", PASSING_ERRORS)
async def test_an_error_inside_a_success_is_retried_and_shown(body: dict[str, Any]) -> None:
    server = Server(httpx2.Response(200, json=body), completion({"content": "at last"}))
    async with server.policy() as policy:
        assert (await policy.open(()).reply([HELLO])).text == "at last"
    server = Server(httpx2.Response(200, json=body))
    async with server.policy(max_attempts=3) as policy:
        with pytest.raises(PolicyUnavailable, match="Provider returned error"):
            await policy.open(()).reply([HELLO])
    assert len(server.bodies) == 3


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": "no such model", "code": 404}},
        {"error": {"message": "no such model", "code": 404.0}},
        {"error": {"message": "no such model", "status_code": 404}},
        {"error": {"message": "no such model", "type": "invalid_request_error"}},
        {"error": {"message": "no such model", "code": "model_not_found"}},
        {"type": "error", "error": {"message": "no such model", "type": "not_found_error"}},
        {"status": 404, "message": "no such model"},
        [{"error": {"message": "no such model", "code": 404}}],
    ],
)
async def test_a_lasting_error_inside_a_success_is_not_retried(body: Any) -> None:
    server = Server(httpx2.Response(200, json=body))
    async with server.policy() as policy:
        with pytest.raises(PolicyUnavailable, match="no such model"):
            await policy.open(()).reply([HELLO])
    assert len(server.bodies) == 1


PASSING_REASONS = ("error", "network_error", "insufficient_system_resource")


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("stop", Finish.STOP),
        ("STOP", Finish.STOP),
        ("FinishReason.STOP", Finish.STOP),
        ("FINISH_REASON_MAX_TOKENS", Finish.LENGTH),
        ("normal", Finish.STOP),
        ("null", Finish.STOP),
        (None, Finish.STOP),
        (3, Finish.ERROR),
        (["stop"], Finish.ERROR),
        ({"type": "stop"}, Finish.STOP),
        ({"type": "length", "length": 9}, Finish.LENGTH),
        ({"type": "abort", "message": "x"}, Finish.ABORT),
        ("repetition", Finish.LENGTH),
        ("context_window_exceeded", Finish.CONTEXT),
        ("SAFETY", Finish.ERROR),
        ("network_error", Finish.ERROR),
        ("insufficient_system_resource", Finish.ERROR),
        ("length", Finish.LENGTH),
        ("max_tokens", Finish.LENGTH),
        ("MAX_TOKENS", Finish.LENGTH),
        ("model_length", Finish.CONTEXT),
        ("content_filter", Finish.ERROR),
        ("some new reason", Finish.ERROR),
        ("abort", Finish.ABORT),
        ("error", Finish.ERROR),
    ],
)
async def test_reasons_to_end_are_told_apart(reason: Any, finish: Finish) -> None:
    server = Server(answer({"message": {"content": "half"}, "finish_reason": reason}))
    async with server.policy(max_attempts=2) as policy:
        reply = await policy.open(()).reply([HELLO])
    assert (reply.finish, reply.text) == (finish, "half")
    passing = finish is Finish.ABORT or reason in PASSING_REASONS
    assert len(server.bodies) == (2 if passing else 1)


async def test_a_response_that_fills_the_window_is_told_from_one_cut_by_its_own_limit() -> None:
    async with Server(completion({"content": "a"}, "length", total=50)).policy() as policy:
        assert (await policy.open(()).reply([HELLO])).finish is Finish.LENGTH
    server = Server(completion({"content": "a"}, "length", total=50))
    async with server.policy(context_tokens=50) as policy:
        assert (await policy.open(()).reply([HELLO])).finish is Finish.CONTEXT


OVERFLOWS = [
    (400, "This model's maximum context length is 8192 tokens. However, you requested 9000"),
    (400, "the request exceeds the available context size, try increasing it"),
    (500, "the request exceeds the available context size"),
    (400, "request (10041 tokens) exceeds the available context size (4096 tokens)"),
    (400, "prompt is too long: 210000 tokens > 200000 maximum"),
    (400, "Range of input length should be [1, 30720]"),
    (400, "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576)"),
    (422, "Input validation error: `inputs` must have less than 4095 tokens. Given: 5000"),
    (
        422,
        "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. "
        "Given: 5000 `inputs` tokens and 20 `max_new_tokens`",
    ),
    (400, "input length and `max_tokens` exceed context limit: 199000 + 20000 > 200000"),
    (413, "Prompt contains 40000 tokens, too large for model with 32768 maximum context length"),
    (400, "The input (40000 tokens) is longer than the model's context length (32768 tokens)"),
    (400, "Input is too long for requested model."),
]


@pytest.mark.parametrize(("status", "message"), OVERFLOWS)
@pytest.mark.parametrize("inside", [False, True])
async def test_a_conversation_that_is_too_long_overflows(
    status: int, message: str, inside: bool
) -> None:
    error = {"error": {"message": message, "code": status}}
    server = Server(httpx2.Response(200 if inside else status, json=error))
    async with server.policy(max_attempts=2) as policy:
        with pytest.raises(ContextOverflow):
            await policy.open(()).reply([HELLO])


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (429, "Request too large: tokens per minute, context length 8192"),
        (400, "content filter"),
        (400, "'tools' is not supported by this model"),
        (401, "context window"),
    ],
)
async def test_other_refusals_are_no_overflow(status: int, message: str) -> None:
    server = Server(httpx2.Response(status, json={"error": {"message": message}}))
    async with server.policy(max_attempts=1) as policy:
        with pytest.raises(PolicyUnavailable):
            await policy.open(()).reply([HELLO])


TOO_MANY = [
    (
        "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens "
        "(1000 in the messages, 4000 in the completion). Please reduce the length of the messages.",
        3096,
    ),
    (
        "'max_tokens' or 'max_completion_tokens' is too large: 4000. This model's maximum context "
        "length is 4096 tokens and your request has 1000 input tokens (4000 > 4096 - 1000).",
        3096,
    ),
    (
        "Requested token count exceeds the model's maximum context length of 4096 tokens. You "
        "requested a total of 5000 tokens: 1000 tokens from the input messages and 4000 tokens "
        "for the completion.",
        3096,
    ),
    ("input length and `max_tokens` exceed context limit: 1000 + 4000 > 4096", 3096),
    (
        "max_tokens is too large: 4000. This model supports at most 1,024 completion tokens, "
        "whereas you provided 4000.",
        1024,
    ),
    ("Invalid max_tokens value, the valid range of max_tokens is [1, 2048]", 2048),
    ("Range of max_tokens should be [1, 2048]", 2048),
    ("`max_tokens` must be less than or equal to `2048`", 2048),
    ("max_tokens: 4000 > 2048, which is the maximum allowed number of output tokens for m", 2048),
]


@pytest.mark.parametrize(("message", "fits"), TOO_MANY)
async def test_too_many_tokens_are_asked_for_again_with_what_fits(message: str, fits: int) -> None:
    refusal = httpx2.Response(400, json={"error": {"message": message}})
    server = Server(refusal, completion({"content": "a"}))
    async with server.policy(max_tokens=4000) as policy:
        assert (await policy.open(()).reply([HELLO])).text == "a"
    assert [body["max_tokens"] for body in server.bodies] == [4000, fits]


async def test_a_prompt_that_leaves_no_token_overflows() -> None:
    message = (
        "This model's maximum context length is 4096 tokens. However, you requested 9000 tokens "
        "(5000 in the messages, 4000 in the completion)."
    )
    server = Server(httpx2.Response(400, json={"error": {"message": message}}))
    async with server.policy(max_tokens=4000) as policy:
        with pytest.raises(ContextOverflow):
            await policy.open(()).reply([HELLO])
    assert len(server.bodies) == 1


@pytest.mark.parametrize(("send", "kept"), [(False, "42"), (True, "<think>hm</think>42")])
async def test_inline_thinking_is_sent_back_only_if_asked_for(send: bool, kept: str) -> None:
    server = Server(completion({"content": "<think>hm</think>42"}))
    async with server.policy(send_thinking=send) as policy:
        conversation = policy.open(())
        reply = await conversation.reply([HELLO])
        await conversation.reply([HELLO])
    assert reply.text == "<think>hm</think>42"
    assert server.bodies[1]["messages"][1]["content"] == kept


async def test_the_seed_can_be_left_out() -> None:
    server = Server(completion({"content": "a"}))
    async with server.policy(send_seed=False) as policy:
        await policy.open((), seed=3).reply([HELLO])
    assert "seed" not in server.bodies[0]


async def test_a_closing_tag_inside_the_reasoning_does_not_end_it() -> None:
    message = {"content": "| A |\n| --- |\n| </think> |", "reasoning": "the tag </think> closes"}
    async with Server(completion(message)).policy() as policy:
        reply = await policy.open(()).reply([HELLO])
    assert reply.text.count("</think>\n") == 1
    assert reply.text.endswith("| </think> |")


@in_simulated_time
async def test_waiting_for_a_slot_does_not_count_against_the_deadline() -> None:
    """The first request holds the only slot for as long as the deadlines of both."""
    calls = 0

    async def serve(request: httpx2.Request) -> httpx2.Response:
        nonlocal calls
        calls += 1
        if calls == 1:
            await asyncio.Event().wait()
        return completion({"content": "a"})

    config = ChatPolicyConfig(
        model="m", max_concurrent=1, deadline_s=2.5, timeout_s=2.5, max_attempts=1
    )
    async with ChatPolicy(config, transport=httpx2.MockTransport(serve)) as policy:
        first, second = await asyncio.gather(
            *(policy.open(()).reply([HELLO]) for _ in range(2)), return_exceptions=True
        )
    assert isinstance(first, PolicyUnavailable)
    assert isinstance(second, Reply)


async def test_the_queue_has_a_bound_of_its_own() -> None:
    begun, refused = asyncio.Event(), asyncio.Event()

    async def serve(request: httpx2.Request) -> httpx2.Response:
        begun.set()
        await refused.wait()
        return completion({"content": "a"})

    config = ChatPolicyConfig(model="m", max_concurrent=1, queue_timeout_s=0.05)
    async with ChatPolicy(config, transport=httpx2.MockTransport(serve)) as policy:
        first = asyncio.create_task(policy.open(()).reply([HELLO]))
        await begun.wait()
        with pytest.raises(PolicyUnavailable, match="no free slot"):
            await policy.open(()).reply([HELLO])
        refused.set()
        assert (await first).text == "a"


@pytest.mark.parametrize(
    ("body", "error", "words"),
    [
        ({"object": "error", "message": "too many", "code": 429}, PolicyUnavailable, "too many"),
        ({"code": 429, "msg": "rate limited"}, PolicyUnavailable, "rate limited"),
        ({"detail": "no such model"}, PolicyUnavailable, "no such model"),
        ({"errors": [{"message": "bad thing"}]}, PolicyUnavailable, "bad thing"),
        (
            {"code": "InvalidParameter", "message": "Range of input length should be [1, 30720]"},
            ContextOverflow,
            "30720",
        ),
    ],
)
async def test_an_error_may_be_the_whole_answer(
    body: dict[str, Any], error: type[Exception], words: str
) -> None:
    server = Server(httpx2.Response(200, json=body))
    async with server.policy(max_attempts=1) as policy:
        with pytest.raises(error, match=words):
            await policy.open(()).reply([HELLO])


@pytest.mark.parametrize("is_text", [False, True])
async def test_calls_may_come_alone_or_as_text(is_text: bool) -> None:
    call = {"id": "a", "function": {"name": "search", "arguments": '{"query": "x"}'}}
    message = {"content": "", "tool_calls": json.dumps([call]) if is_text else call}
    async with Server(answer({"message": message})).policy() as policy:
        reply = await policy.open(()).reply([HELLO])
    assert reply.native_calls == (ToolCall(name="search", arguments={"query": "x"}, id="a"),)


@pytest.mark.parametrize("content", [None, "I search for it."])
@pytest.mark.parametrize(
    "reason",
    ["tool_calls", "MALFORMED_FUNCTION_CALL", "function_call_filter: UNEXPECTED_TOOL_CALL"],
)
async def test_a_call_that_is_announced_and_missing_is_no_answer(
    content: str | None, reason: str
) -> None:
    message = {"content": content, "tool_calls": None}
    server = Server(answer({"message": message, "finish_reason": reason}))
    async with server.policy() as policy:
        reply = await policy.open(()).reply([HELLO])
    (call,) = reply.native_calls
    assert isinstance(call, MalformedCall)
    assert reply.finish is Finish.STOP


TRIVIAL = {"content": "42"}


@pytest.mark.parametrize(
    "body",
    [
        [{"choices": [{"message": TRIVIAL}]}],
        {"choices": {"message": TRIVIAL}},
        {"choices": [None, {"message": TRIVIAL}]},
        {"choices": [{"message": "42"}]},
        {"choices": [{"delta": TRIVIAL}]},
        {"choices": [{"text": "42"}]},
        {"choices": [{"message": {"content": 42}}]},
        {"choices": [{"message": {"content": [{"type": "refusal", "refusal": "42"}]}}]},
        {"choices": [{"message": TRIVIAL}], "error": {"code": 0, "message": ""}},
    ],
)
async def test_a_completion_may_be_wrapped_otherwise(body: Any) -> None:
    async with Server(httpx2.Response(200, json=body)).policy() as policy:
        assert (await policy.open(()).reply([HELLO])).text == "42"


@pytest.mark.parametrize("place", ["content", "reasoning"])
async def test_parts_that_are_nested_without_end_hold_no_text(place: str) -> None:
    nested = "[" * 900 + '"x"' + "]" * 900
    body = f'{{"choices": [{{"message": {{"content": "", "{place}": {nested}}}}}]}}'
    async with Server(httpx2.Response(200, content=body)).policy() as policy:
        assert (await policy.open(()).reply([HELLO])).text == ""


@pytest.mark.parametrize(
    ("content", "content_type", "text"),
    [
        (b'{"choices": [{"message": {"content": "caf\xc3"}}]}', "application/json", "caf\ufffd"),
        (
            '{"choices": [{"message": {"content": "海"}}]}'.encode("gbk"),
            "application/json; charset=gbk",
            "海",
        ),
    ],
)
async def test_an_answer_that_is_not_utf_8_is_read(
    content: bytes, content_type: str, text: str
) -> None:
    headers = {"content-type": content_type}
    server = Server(httpx2.Response(200, content=content, headers=headers))
    async with server.policy() as policy:
        assert (await policy.open(()).reply([HELLO])).text == text


@pytest.mark.parametrize(
    ("item", "arguments"),
    [
        ({"function": '{"name": "search", "arguments": {"query": "a"}}'}, {"query": "a"}),
        ({"name": "search", "input": {"query": "a"}}, {"query": "a"}),
        ({"function": {"name": "search", "arguments": None}}, {}),
    ],
)
async def test_calls_may_be_laid_out_otherwise(item: Any, arguments: Any) -> None:
    server = Server(answer({"message": {"content": None, "tool_calls": [item]}}))
    async with server.policy() as policy:
        (call,) = (await policy.open(()).reply([HELLO])).native_calls
    assert isinstance(call, ToolCall)
    assert (call.name, call.arguments) == ("search", arguments)


@pytest.mark.parametrize("arguments", [["a"], 5, "null", {"query": ["a"]}])
async def test_arguments_of_another_type_are_malformed_or_an_object(arguments: Any) -> None:
    item = {"function": {"name": "search", "arguments": arguments}}
    server = Server(answer({"message": {"content": None, "tool_calls": [item]}}))
    async with server.policy() as policy:
        (call,) = (await policy.open(()).reply([HELLO])).native_calls
    assert isinstance(call, ToolCall) == isinstance(arguments, dict)


async def test_a_refusal_is_the_answer() -> None:
    server = Server(answer({"message": {"content": None, "refusal": "I can't."}}))
    async with server.policy() as policy:
        assert (await policy.open(()).reply([HELLO])).text == "I can't."


@pytest.mark.parametrize(
    "text",
    [
        "Prompt exceeds max length",
        "maximum sequence length is 4096 but got 5000 tokens",
        "tokens in request exceed max tokens for model",
        "Prompt 超长",
        "输入tokens超限",
        "prompt tokens too long",
        "the max input characters is 24000",
        "The sum of prompt length (5000) should not exceed max_num_tokens (4096)",
        "Prompt length 9000 is greater than max_seq_len 8192",
        "Input tokens exceed the configured limit of 272000 tokens.",
        "max_tokens + prompt tokens exceed the limit of 4096",
        "Total tokens of image and text exceed max message tokens",
        "string_above_max_length: Invalid 'messages[0].content': string too long.",
    ],
)
def test_further_words_for_too_long(text: str) -> None:
    assert says_too_long(text)


@pytest.mark.parametrize(
    "text",
    [
        "Request too large for model `x` on tokens per minute (TPM): Limit 6000, Requested 8000",
        "too many tokens per minute",
        "daily token limit reached, try again tomorrow",
        "max_tokens must be at least 1",
    ],
)
def test_other_limits_of_tokens_are_not_too_long(text: str) -> None:
    assert not says_too_long(text)


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("The value of max_tokens must be in the range 1 to 8192", 8192),
        (
            "This endpoint's maximum context length is 32768 tokens. However, you requested about "
            "33768 tokens (1768 of text input, 32000 in the output).",
            31000,
        ),
        ("Invalid value for max_tokens: 0", None),
    ],
)
def test_further_words_for_what_fits(text: str, fits: int | None) -> None:
    assert fitting_max_tokens(text, 32000) == fits
