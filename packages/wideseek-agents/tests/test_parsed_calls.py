"""From the text of a response to the calls that are made."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wideseek_agents import Argument, ArgumentSchema, ParsedCalls, Request, parse_tool_calls
from wideseek_agents.parsers import parser_named
from wideseek_core import ToolCall

SCHEMAS = {
    "search": ArgumentSchema(
        subject="query", options=(Argument(name="count", type="integer"),), many="queries"
    ),
    "access": ArgumentSchema(
        subject="url", options=(Argument(name="info_to_extract"),), many="urls"
    ),
}


def strict(text: str, per_call: int = 5, per_turn: int = 10) -> ParsedCalls:
    """As the reference reads calls."""
    written = parser_named("hermes_strict").parse(text)
    return parse_tool_calls(written, SCHEMAS, per_call=per_call, per_turn=per_turn, lenient=False)


def lenient(text: str, per_call: int = 5, per_turn: int = 10) -> ParsedCalls:
    written = parser_named("hermes").parse(text)
    return parse_tool_calls(written, SCHEMAS, per_call=per_call, per_turn=per_turn)


def subjects(parsed: ParsedCalls) -> list[list[str]]:
    return [[r.subject for r in call.requests] for call in parsed.written if call.call]


def problems(parsed: ParsedCalls) -> list[str]:
    return [problem.kind.value for call in parsed.written for problem in call.problems]


def block(value: object) -> str:
    return f"<tool_call>\n{json.dumps(value)}\n</tool_call>"


def search(*queries: object) -> str:
    return block({"name": "search", "arguments": {"queries": [{"query": q} for q in queries]}})


def test_all_blocks_are_read_in_order() -> None:
    access = block(
        {"name": "access", "arguments": {"urls": [{"url": "u", "info_to_extract": "i"}]}}
    )
    read = strict(f"First {search('a', 'b')} then {access}.")
    assert [call.name for call in read.calls] == ["search", "access"]
    assert read.written[0].requests == (Request(subject="a"), Request(subject="b"))
    assert read.written[1].requests[0].text("info_to_extract") == "i"
    assert (read.dropped, read.requests) == (0, 3)


def test_a_text_without_blocks_calls_nothing() -> None:
    assert strict("The answer is 42.") == lenient("The answer is 42.") == ParsedCalls()


MALFORMED = [
    ("<tool_call>{not json}</tool_call>", "not_json"),
    ("<tool_call></tool_call>", "not_json"),
    ('<tool_call>{"name": "search", "arguments": {"queries": [{"query": "a"}]}}', "not_closed"),
    ('<tool_call>{"name": "search", "arguments": {"queries": [{"query": "a"}', "not_json"),
    (
        '<tool_call>{"name": "search", "arguments": {"queries": [{"query": "a"}]}} x</tool_call>',
        "not_json",
    ),
    (f"<tool_call>{'[' * 100_000}</tool_call>", "not_json"),
    (f"<tool_call>{'9' * 10_000}</tool_call>", "not_json"),
    (block(["search"]), "not_json"),
    (block({"name": "delete", "arguments": {}}), "unknown_tool"),
    (block({"name": "delete", "arguments": "{"}), "unknown_tool"),
    (
        block({"name": ["search"], "arguments": {"queries": [{"query": "a"}]}}),
        "no_name",
    ),
    (block({"arguments": {"queries": [{"query": "a"}]}}), "no_name"),
    (block({"name": "search"}), "bad_arguments"),
    (block({"name": "search", "arguments": "queries"}), "bad_arguments"),
    (block({"name": "search", "arguments": {"queries": []}}), "bad_arguments"),
    (block({"name": "search", "arguments": {"q": "a"}}), "bad_arguments"),
    (search(""), "bad_arguments"),
    (search("  \n"), "bad_arguments"),
    (search(7), "bad_arguments"),
    (search(None), "bad_arguments"),
    (search({"query": "a"}), "bad_arguments"),
]


@pytest.mark.parametrize(("text", "problem"), MALFORMED)
def test_a_malformed_call_is_a_problem_of_its_kind(text: str, problem: str) -> None:
    read = lenient(text)
    assert (problems(read), read.calls, read.dropped) == ([problem], (), 1)
    reference = strict(text)
    assert (reference.calls, reference.dropped) == ((), 1)


READABLE = [
    {"name": "search", "parameters": {"queries": [{"query": "a"}]}},
    {"name": "search", "arguments": '{"queries": [{"query": "a"}]}'},
    {"name": "search", "arguments": json.dumps('{"queries": [{"query": "a"}]}')},
    {"name": "search", "arguments": {"queries": '[{"query": "a"}]'}},
    {"name": "search", "arguments": {"queries": ["a"]}},
    {"name": "search", "arguments": {"queries": {"query": "a"}}},
    {"name": "search", "arguments": {"query": "a"}},
    {"type": "function", "function": {"name": "search", "arguments": {"query": "a"}}},
    [{"name": "search", "arguments": {"queries": [{"query": "a"}]}}],
]


@pytest.mark.parametrize("value", READABLE)
def test_what_can_be_read_without_guessing_is_a_call(value: object) -> None:
    read = lenient(block(value))
    assert (subjects(read), problems(read)) == ([["a"]], [])
    assert read.calls[0].arguments == {"queries": [{"query": "a"}]}


def test_two_objects_in_a_block_are_two_calls() -> None:
    one = json.dumps({"name": "search", "arguments": {"queries": [{"query": "a"}]}})
    assert subjects(lenient(f"<tool_call>{one}\n{one}</tool_call>")) == [["a"], ["a"]]


def test_a_line_break_inside_a_string_is_read() -> None:
    text = '<tool_call>{"name": "search", "arguments": {"query": "moons\nof Neptune"}}</tool_call>'
    assert subjects(lenient(text)) == [["moons\nof Neptune"]]


def test_a_list_may_stand_where_one_request_is_expected() -> None:
    schema = {"search": SCHEMAS["search"].unbatched()}
    read = parse_tool_calls(
        parser_named("hermes").parse(search("a", "b")), schema, per_call=1, per_turn=1
    )
    assert read.calls[0].arguments == {"query": "a"}
    assert problems(read) == ["surplus"]


def test_a_bad_call_leaves_the_others() -> None:
    text = f"<tool_call>{{broken<tool_call>{search('a')}</tool_call>{search('b')}"
    for read in (strict(text), lenient(text)):
        assert subjects(read) == [["a"], ["b"]]
        assert read.dropped == 2


def test_bad_requests_leave_the_good_ones_of_their_call() -> None:
    read = strict(search("a", "", 3, "b"))
    assert read.calls[0] == ToolCall(
        name="search", arguments={"queries": [{"query": "a"}, {"query": "b"}]}
    )
    assert read.dropped == 2
    assert problems(read) == ["bad_requests"]


def test_of_too_many_requests_the_first_are_kept() -> None:
    text = search("a", "b", "c") + search("d", "e") + search("f")
    read = strict(text, per_call=2, per_turn=3)
    assert subjects(read) == [["a", "b"], ["d"]]
    assert read.dropped == 3
    assert problems(read) == ["surplus"] * 3


def test_a_closing_tag_inside_a_string_ends_nothing() -> None:
    assert subjects(strict(search("what does </tool_call> mean"))) == [
        ["what does </tool_call> mean"]
    ]


def test_count_is_a_whole_number_or_nothing() -> None:
    items = [{"query": "a", "count": count} for count in (5, True, "5", 2.5, None)]
    text = block({"name": "search", "arguments": {"queries": items}})
    counts = [request.integer("count") for request in strict(text).written[0].requests]
    assert counts == [5, None, None, None, None]
    counts = [request.integer("count") for request in lenient(text).written[0].requests]
    assert counts == [5, None, 5, None, None]


def test_arguments_may_be_one_request() -> None:
    text = block({"name": "search", "arguments": {"query": " a ", "count": 4}})
    schemas = {"search": SCHEMAS["search"].unbatched()}
    read = parse_tool_calls(
        parser_named("hermes").parse(text), schemas, per_call=1, per_turn=1, lenient=False
    )
    assert read.calls[0].arguments == {"query": "a", "count": 4}


def test_broken_unicode_is_replaced() -> None:
    text = '<tool_call>{"name": "search", "arguments": {"query": "a\\ud800"}}</tool_call>'
    assert subjects(lenient(text)) == [["a\ufffd"]]


PIECES = st.sampled_from(
    [
        *("<tool_call>", "</tool_call>", "<think>", "</think>", search("a"), search("a", "b", 1)),
        *('{"name": "search"', '"arguments": ', "{", "}", "[", '"', "\\", ",", "\ud800", "é"),
        *("<function=search>", "<parameter=query>", "</parameter>", "</function>", ";"),
    ]
)


@pytest.mark.parametrize("format", ["hermes", "hermes_strict", "llama", "qwen3_coder"])
@given(text=st.lists(st.one_of(PIECES, st.text(max_size=5)), max_size=15).map("".join))
def test_any_text_reads_as_calls_within_the_limits(format: str, text: str) -> None:
    written = parser_named(format).parse(text)
    read = parse_tool_calls(written, SCHEMAS, per_call=2, per_turn=3)
    counts = [len(call.requests) for call in read.written]
    assert all(count <= 2 for count in counts)
    assert sum(counts) <= 3
    assert all(call.call is not None or call.problems for call in read.written)


QUERIES = st.lists(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip),
    min_size=1,
    max_size=5,
)


@given(queries=QUERIES)
def test_what_is_written_is_read_back(queries: list[str]) -> None:
    requests = [Request(subject=query.strip()) for query in queries]
    arguments = SCHEMAS["search"].write(requests)
    text = block({"name": "search", "arguments": arguments})
    assert list(strict(text).written[0].requests) == requests
    assert list(lenient(text).written[0].requests) == requests
