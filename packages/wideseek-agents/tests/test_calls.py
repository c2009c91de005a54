import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wideseek_agents import Plan, Request, Shape, plan_calls
from wideseek_core import ToolCall

SHAPES = {
    "search": Shape(subject="query", many="queries"),
    "access": Shape(subject="url", many="urls"),
}


def plan(text: str, per_call: int = 5, per_turn: int = 10) -> Plan:
    return plan_calls(text, SHAPES, per_call=per_call, per_turn=per_turn)


def block(value: object) -> str:
    return f"<tool_call>\n{json.dumps(value)}\n</tool_call>"


def search(*queries: object) -> str:
    return block({"name": "search", "arguments": {"queries": [{"query": q} for q in queries]}})


def test_all_blocks_are_read_in_order() -> None:
    access = block(
        {"name": "access", "arguments": {"urls": [{"url": "u", "info_to_extract": "i"}]}}
    )
    read = plan(f"First {search('a', 'b')} then {access}.")
    assert [call.call.name for call in read.calls] == ["search", "access"]
    assert read.calls[0].requests == (Request(subject="a"), Request(subject="b"))
    assert read.calls[1].requests == (Request(subject="u", info="i"),)
    assert read.dropped == 0


def test_a_text_without_blocks_calls_nothing() -> None:
    assert plan("The answer is 42.") == Plan(calls=(), dropped=0)


def test_calls_inside_the_reasoning_are_not_made() -> None:
    read = plan(f"<think>I could {search('a')}</think>{search('b')}")
    assert [call.requests[0].subject for call in read.calls] == ["b"]


@pytest.mark.parametrize(
    "text",
    [
        "<tool_call>{not json}</tool_call>",
        "<tool_call></tool_call>",
        '<tool_call>{"name": "search", "arguments": {"queries": [{"query": "a"}]}}',
        '<tool_call>{"name": "search", "arguments": {"queries": [{"query": "a"}]}} x</tool_call>',
        f"<tool_call>{'[' * 100_000}</tool_call>",
        f"<tool_call>{'9' * 10_000}</tool_call>",
        block(["search"]),
        block({"name": "delete", "arguments": {}}),
        block({"name": ["search"], "arguments": {"queries": [{"query": "a"}]}}),
        block({"name": "search"}),
        block({"name": "search", "arguments": "queries"}),
        block({"name": "search", "arguments": {"queries": []}}),
        block({"name": "search", "arguments": {"query": "a"}}),
        search(""),
        search("  \n"),
        search(7),
        search(None),
        search({"query": "a"}),
    ],
)
def test_a_bad_call_is_dropped_and_counted(text: str) -> None:
    assert plan(text) == Plan(calls=(), dropped=1)


def test_a_bad_call_leaves_the_others() -> None:
    read = plan(f"<tool_call>{{broken<tool_call>{search('a')}</tool_call>{search('b')}")
    assert [call.requests[0].subject for call in read.calls] == ["a", "b"]
    assert read.dropped == 2


def test_bad_requests_leave_the_good_ones_of_their_call() -> None:
    read = plan(search("a", "", 3, "b"))
    assert read.calls[0].call == ToolCall(
        name="search", arguments={"queries": [{"query": "a"}, {"query": "b"}]}
    )
    assert read.dropped == 2


def test_of_too_many_requests_the_first_are_kept() -> None:
    read = plan(search("a", "b", "c") + search("d", "e") + search("f"), per_call=2, per_turn=3)
    assert [[r.subject for r in call.requests] for call in read.calls] == [["a", "b"], ["d"]]
    assert read.dropped == 3


def test_a_closing_tag_inside_a_string_ends_nothing() -> None:
    read = plan(search("what does </tool_call> mean"))
    assert read.calls[0].requests[0].subject == "what does </tool_call> mean"


def test_count_is_a_whole_number_or_nothing() -> None:
    items = [{"query": "a", "count": count} for count in (5, True, "5", 2.5, None)]
    read = plan(block({"name": "search", "arguments": {"queries": items}}))
    assert [request.count for request in read.calls[0].requests] == [5, None, None, None, None]


def test_arguments_may_be_one_request() -> None:
    text = block({"name": "search", "arguments": {"query": " a ", "count": 4}})
    read = plan_calls(text, {"search": Shape(subject="query")}, per_call=1, per_turn=1)
    assert read.calls[0].call.arguments == {"query": "a", "count": 4}


def test_broken_unicode_is_replaced() -> None:
    read = plan(
        '<tool_call>{"name": "search", "arguments": {"queries": [{"query": "a\\ud800"}]}}'
        "</tool_call>"
    )
    assert read.calls[0].requests[0].subject == "a?"


PIECES = st.sampled_from(
    [
        *("<tool_call>", "</tool_call>", "<think>", "</think>", search("a"), search("a", "b", 1)),
        *('{"name": "search"', '"arguments": ', "{", "}", "[", '"', "\\", ",", "\ud800", "é"),
    ]
)


@given(st.lists(st.one_of(PIECES, st.text(max_size=5)), max_size=15).map("".join))
def test_any_text_reads_as_a_plan_within_its_limits(text: str) -> None:
    read = plan(text, per_call=2, per_turn=3)
    counts = [len(call.requests) for call in read.calls]
    assert all(1 <= count <= 2 for count in counts)
    assert sum(counts) <= 3


@given(
    st.lists(
        st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip),
        min_size=1,
        max_size=5,
    )
)
def test_what_is_written_is_read_back(queries: list[str]) -> None:
    requests = [Request(subject=query.strip()) for query in queries]
    text = block({"name": "search", "arguments": SHAPES["search"].write(requests)})
    assert list(plan(text).calls[0].requests) == requests
