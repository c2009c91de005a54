"""Formats of tool calls: what each reads, and that it reads what it writes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wideseek_agents import Argument, ArgumentSchema, parse_tool_calls
from wideseek_agents.parsers import parser_named
from wideseek_core import ConfigError, MalformedCall, ToolCall

SCHEMA = ArgumentSchema(
    subject="query", options=(Argument(name="count", type="integer"),), many="queries"
)

CODER = """<think>draft</think>
<tool_call>
<function=search>
<parameter=queries>
[{"query": "moons of Neptune", "count": 5}]
</parameter>
</function>
</tool_call>
<tool_call>
<function=access>
<parameter=url>
https://moons.example
</parameter>
<parameter=info_to_extract>
radius of </parameter> or
two lines
</parameter>
</function>
</tool_call>"""


def test_qwen3_coder_calls_are_elements() -> None:
    search, access = parser_named("qwen3_coder").parse(CODER)
    assert search == ToolCall(
        name="search", arguments={"queries": '[{"query": "moons of Neptune", "count": 5}]'}
    )
    assert isinstance(access, ToolCall)
    assert access.arguments["info_to_extract"] == "radius of </parameter> or\ntwo lines"
    parsed = parse_tool_calls([search], {"search": SCHEMA}, per_call=5, per_turn=5)
    assert parsed.calls[0].arguments == {"queries": [{"query": "moons of Neptune", "count": 5}]}


def test_a_number_as_query_of_qwen3_coder_stays_text() -> None:
    text = (
        "<tool_call><function=search><parameter=query>2024</parameter>"
        "<parameter=count>5</parameter></function></tool_call>"
    )
    written = parser_named("qwen3_coder").parse(text)
    parsed = parse_tool_calls(written, {"search": SCHEMA.unbatched()}, per_call=1, per_turn=1)
    assert parsed.calls[0].arguments == {"query": "2024", "count": 5}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("<tool_call>\n<function=search>\n<parameter=query>\na\n</parameter>\n", "not_closed"),
        ("<tool_call>\nsearch\n</function>\n</tool_call>", "not_json"),
        ("<tool_call><function=search>query: a</function></tool_call>", "bad_arguments"),
        ("<tool_call><function=></function></tool_call>", "no_name"),
    ],
)
def test_a_malformed_qwen3_coder_call_is_named(text: str, problem: str) -> None:
    (call,) = parser_named("qwen3_coder").parse(text)
    assert isinstance(call, MalformedCall)
    assert call.problem == problem


@pytest.mark.parametrize(
    "text",
    [
        '{"name": "search", "parameters": {"query": "a"}}',
        '<|python_tag|>{"name": "search", "parameters": {"query": "a"}}<|eom_id|>',
        'Let me look.<|python_tag|>{"name": "search", "arguments": {"query": "a"}}',
    ],
)
def test_llama_calls_are_the_whole_response(text: str) -> None:
    assert parser_named("llama").parse(text) == [ToolCall(name="search", arguments={"query": "a"})]


def test_llama_calls_are_parted_by_semicolons() -> None:
    one = '{"name": "search", "parameters": {"query": "a"}}'
    assert len(parser_named("llama").parse(f"{one}; {one};\n{one}")) == 3


@pytest.mark.parametrize("text", ["The answer is 42.", '{"moons": ["Triton"]}', "{a | b}"])
def test_other_text_of_llama_is_an_answer(text: str) -> None:
    assert parser_named("llama").parse(text) == []


def test_a_broken_llama_call_is_malformed() -> None:
    (call,) = parser_named("llama").parse('{"name": "search", "parameters": {"query": "a"}')
    assert isinstance(call, MalformedCall)
    assert call.problem == "not_json"


WORDS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=9)


@pytest.mark.parametrize("format", ["hermes", "llama", "qwen3_coder"])
@given(query=WORDS.filter(lambda text: text.strip() == text and "parameter" not in text))
def test_a_format_reads_what_it_writes(format: str, query: str) -> None:
    parser = parser_named(format)
    call = ToolCall(name="search", arguments={"query": query})
    assert list(parser.parse(parser.write(call))) == [call]


def test_an_unknown_format_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"no parser of tool calls 'xml': .* qwen3_coder"):
        parser_named("xml")


CALL = '{"name": "search", "arguments": {"queries": ["a"]}}'


@pytest.mark.parametrize(
    "text",
    [
        f"<TOOL_CALL>{CALL}</TOOL_CALL>",
        f"<tool_call >{CALL}</ tool_call>",
        f"<tool_calls>\n{CALL}\n</tool_calls>",
        CALL,
        f"```json\n{CALL}\n```",
        CALL.replace("arguments", "parameters"),
    ],
)
def test_a_call_with_other_tags_or_none_is_a_call_and_no_answer(text: str) -> None:
    (call,) = parser_named("hermes").parse(text)
    assert isinstance(call, ToolCall)
    assert (call.name, call.arguments) == ("search", {"queries": ["a"]})
    assert parser_named("hermes_strict").parse(text) == [], "as in the reference"


def test_a_call_without_its_opening_tag_is_malformed() -> None:
    (call,) = parser_named("hermes").parse(f"{CALL}</tool_call>")
    assert isinstance(call, MalformedCall)
    assert (call.problem, call.name) == ("not_json", "search")


@pytest.mark.parametrize(
    "text",
    [
        '{"moons": ["Triton"]}',
        '{"name": "Triton", "radius": 1353}',
        f"A call looks like this: {CALL}",
        "```markdown\n| name | arguments |\n| --- | --- |\n| a | b |\n```",
        "The closing tag is </tool_call>.",
    ],
)
def test_other_text_is_an_answer(text: str) -> None:
    assert parser_named("hermes").parse(text) == []
