"""Formats of tool calls: what each reads, and that it reads what it writes."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wideseek_agents import Argument, ArgumentSchema, parse_tool_calls
from wideseek_agents.parsers import foreign_calls, parser_named
from wideseek_agents.parsers.hermes import HermesParser
from wideseek_agents.parsers.json_objects import object_at
from wideseek_core import ConfigError, MalformedCall, ToolCall, WrittenCall

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
TOOLS = ("search", "access")


def written(text: str, format: str) -> list[WrittenCall]:
    return [*parser_named(format).parse(text)] or foreign_calls(text, TOOLS)


READ = [
    f"<TOOL_CALL>{CALL}</TOOL_CALL>",
    f"<tool_call >{CALL}</ tool_call>",
    f"<tool_calls>\n{CALL}\n</tool_calls>",
    f"<tool_call>\n```json\n{CALL}\n```\n</tool_call>",
    f"<function_call>{CALL}</function_call>",
    f"<|tool_call_start|>{CALL}<|tool_call_end|>",
    f"<|python_tag|>{CALL}",
    f"[TOOL_CALLS][{CALL}]",
    f"<|action_start|><|plugin|>{CALL}<|action_end|>",
    f"&lt;tool_call&gt;{CALL}&lt;/tool_call&gt;",
    CALL,
    f"{CALL}</tool_call>",
    f"[{CALL}]",
    f"```json\n{CALL}\n```",
    f"~~~\n{CALL}\n~~~",
    f"I search first.\n{CALL}",
    f"I search first.\n\n```tool_call\n{CALL}\n```",
    CALL.replace("arguments", "parameters"),
    CALL.replace('"arguments"', '"arguments": null, "parameters"'),
    f'{{"type": "function", "function": {CALL}}}',
    f'{{"tool_calls": [{{"function": {CALL}}}]}}',
    f'{{"function_call": {CALL}}}',
]


@pytest.mark.parametrize("text", READ)
def test_a_call_with_other_marks_or_none_is_a_call_and_no_answer(text: str) -> None:
    (call,) = written(text, "hermes")
    assert isinstance(call, ToolCall)
    assert (call.name, call.arguments) == ("search", {"queries": ["a"]})
    strict = parser_named("hermes_strict").parse(text)
    assert not any(isinstance(call, ToolCall) for call in strict), "as in the reference"


@pytest.mark.parametrize("parted", ["\n", "", ", ", ";\n"])
def test_several_calls_without_marks_are_all_read(parted: str) -> None:
    assert len(written(f"{CALL}{parted}{CALL}", "hermes")) == 2


MALFORMED = [
    CALL.replace("]}", "],}"),
    CALL.replace('"', "'"),
    CALL.replace('"', "“"),
    CALL[:-3],
    f"I search. {CALL}</tool_call>",
    f"<tool_call{CALL}</tool_call>",
    "<tool_call>\n<function=search>\n<parameter=queries>[",
    "<function=search><parameter=query>a</parameter></function>",
    '<invoke name="search"><parameter name="query">a</parameter></invoke>',
    '<tool_use><name>search</name><arguments>{"query": "a"}</arguments></tool_use>',
    "<tool_call>search\n<arg_key>query</arg_key>\n<arg_value>a</arg_value>\n</tool_call>",
    '<｜tool▁call▁begin｜>function<｜tool▁sep｜>search\n```json\n{"query": "a"}\n```',
    '<|tool_call_begin|>functions.search:0<|tool_call_argument_begin|>{"query": "a"}',
    '[TOOL_CALLS]search[ARGS]{"query": "a"}',
    'search(query="a")',
    '```tool_code\nprint(default_api.search(query="a"))\n```',
    '<|python_start|>[search(query="a")]<|python_end|>',
    '<|channel|>commentary to=functions.search <|constrain|>json<|message|>{"query": "a"}<|call|>',
    '>>>search\n{"query": "a"}',
    '[search(queries=["a"]), access(url="u")]',
    'Then:\n```python\nsearch(query="a")\n```',
    'Thought: I should look.\nAction: search\nAction Input: {"query": "a"}',
    '{"action": "search", "action_input": {"query": "a"}}',
    '{\n  "tool": "search",\n  "args": {"query": "a"}\n}',
    '{"name": "search", "input": {"query": "a"}}',
]


@pytest.mark.parametrize("format", ["hermes", "llama", "qwen3_coder"])
@pytest.mark.parametrize("text", MALFORMED)
def test_a_call_that_can_not_be_read_is_malformed_and_no_answer(text: str, format: str) -> None:
    calls = written(text, format)
    assert calls
    if format == "hermes":
        (call,) = calls
        assert isinstance(call, MalformedCall)


@pytest.mark.parametrize("format", ["llama", "qwen3_coder"])
@pytest.mark.parametrize("text", READ)
def test_a_call_of_the_default_format_is_no_answer_of_another(text: str, format: str) -> None:
    assert written(text, format)


@pytest.mark.parametrize("format", ["hermes", "llama"])
@pytest.mark.parametrize("text", [CALL, f"```\n{CALL}\n```", f"Now:\n<function_call>{CALL}"])
def test_an_unknown_tool_is_called_too(text: str, format: str) -> None:
    (call,) = written(text.replace("search", "lookup"), format)
    assert call.name == "lookup"


@pytest.mark.parametrize("format", ["hermes", "llama", "qwen3_coder"])
@pytest.mark.parametrize(
    "text",
    [
        '{"moons": ["Triton"]}',
        '{"name": "Triton", "radius": 1353}',
        '{"search": "a", "results": [1]}',
        "[1, 2]",
        f"A call looks like this: {CALL}",
        "```markdown\n| name | arguments |\n| --- | --- |\n| search | b |\n```",
        "| Tag | Use |\n| --- | --- |\n| <tool_call> | begins a search |",
        "The model writes `<tool_call>` to search.",
        "The closing tag is </tool_call>.",
        "You may search (for instance) or access it.",
        "Sources\nsearch (2024)",
        "Action: none, since no search helps.",
        "[search](https://search.example)",
    ],
)
def test_other_text_is_an_answer(text: str, format: str) -> None:
    assert written(text, format) == []


@pytest.mark.parametrize(
    "text",
    [
        *("[" * 50_000, "{\n" * 50_000, "\n" * 90_000, "<tool_call " * 9000, "search(a=\n" * 9000),
        "search\n" + "[" * 900 + "]" * 900,
        "search\n" + '{"tool_calls": ' * 900 + "1" + "}" * 900,
        '{"name": "search" x' * 5000,
        *('search\n["b"c"]\n' + '["b"c"]\n' * 3000, '["\\q"]\n' * 3000),
    ],
)
def test_hostile_text_is_read_in_time(text: str) -> None:
    for ending in ("", " search"):
        assert len(foreign_calls(f"{text}{ending}", TOOLS)) <= 1


def test_arguments_that_no_record_can_hold_are_malformed() -> None:
    deep = f'{{"name": "search", "arguments": {{"queries": {"[" * 300}{"]" * 300}}}}}'
    for format in ("hermes", "hermes_strict"):
        (call,) = parser_named(format).parse(f"<tool_call>{deep}</tool_call>")
        assert isinstance(call, MalformedCall)
        assert call.problem == "bad_arguments"


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (r"\alpha decay", r"\alpha decay"),
        (r"C:\Data\2024", r"C:\Data\2024"),
        (r"'\Inq at the fair", r"'\Inq at the fair"),
        (r"\d+ \"quoted\" \\ \u00e9 \u12", '\\d+ "quoted" \\ é \\u12'),
        (r"ends with \.", r"ends with \."),
        ('the "Mars 5M" mission', 'the "Mars 5M" mission'),
        (r'\"Skit\" (The "Sagas" Of)', '"Skit" (The "Sagas" Of)'),
        ('Mars 79 ("Mars 5M)"', 'Mars 79 ("Mars 5M)"'),
        (r'\"How Did It Come to This?"', '"How Did It Come to This?"'),
        (r'C:\Data "new"', r'C:\Data "new"'),
        ('"', '"'),
    ],
)
def test_what_lacks_a_backslash_in_a_string_is_text(written: str, read: str) -> None:
    block = '<tool_call>{"name": "search", "arguments": {"query": "%s"}}</tool_call>'
    text = f"\\q {block % written} \\z {block % 'next'}"
    found = parser_named("hermes").parse(text)
    assert [getattr(call, "arguments", None) for call in found] == [
        {"query": read},
        {"query": "next"},
    ]
    assert [type(call) for call in HermesParser(strict=True).parse(text)] == [
        MalformedCall,
        ToolCall,
    ]


@given(st.text(alphabet='\\"ab nué{}:', max_size=30), st.text(alphabet="\\ab }", max_size=5))
def test_what_json_writes_is_read_as_it_was_whatever_follows(text: str, behind: str) -> None:
    written = json.dumps({"q": text, "r": "."})
    assert object_at(written + behind, 0) == ({"q": text, "r": "."}, len(written))
    for lone, read in ((r"\.", r"\."), ('a "b" c', 'a "b" c')):
        mended = written.replace('"."', f'"{lone}"')
        assert object_at(mended + behind, 0) == ({"q": text, "r": read}, len(mended))


@pytest.mark.parametrize(
    "written",
    [
        '{"q": "a "b", c"}',  # where the string ends can't be said
        '{"q": "a "b}}</tool_call> <tool_call>{"q": "c"}',
        '{"q": "a" "r": "b"}',
        *('["a" "b"]', '{"q": ["a",\n"b"\n"c"]}', '["\\q" "b"]'),  # a comma is missing
        '{"q": "%s"}' % ('a "b" ' * 40),
        '{"q": "a "b',
    ],
)
def test_what_is_not_one_value_stays_unread(written: str) -> None:
    assert object_at(written, 0) is None


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (r'{"q": "\a"}', {"q": r"\a"}),
        ('{"q": "a "b" c"}', {"q": 'a "b" c'}),
        (r'{"q": "%s \a"}' % ("x" * 500), {"q": "x" * 500 + r" \a"}),
        ('["the "A" "B" list"]', ['the "A" "B" list']),
        (r'["\"A" "B\" list \."]', ['"A" "B" list \\.']),
        ('[["a "b" x]c"], {"q": "]"}]', [['a "b" x]c'], {"q": "]"}]),
        ('["%s"]' % ('"b" ' * 30), ['"b" ' * 30]),
        ('["a "b", "c "D" "E" f"]', ['a "b', 'c "D" "E" f']),
        (r'"a \q"', r"a \q"),
    ],
)
def test_quotation_marks_behind_a_value_are_not_part_of_it(written: str, read: object) -> None:
    for behind in ("", ' and "so" on' * 100, ' {"so" on' * 100, ' "', "]}", '"', '{"'):
        assert object_at(written + behind, 0) == (read, len(written))


@pytest.mark.parametrize("length", [300, 390, 400, 410, 3000, 7900])
def test_a_long_call_has_its_backslashes_too(length: int) -> None:
    ends = [r"\alpha", 'the "A" list']
    long = [query for end in ends for query in (f"{end} {'x' * length}", f"{'x' * length} {end}")]
    for query in (*long, r"\a" * (length // 3)):
        written = f'{{"name": "search", "arguments": {{"query": "{query}"}}}}'
        assert object_at(f" {written} more", 0) == (
            {"name": "search", "arguments": {"query": query}},
            len(written) + 1,
        )
