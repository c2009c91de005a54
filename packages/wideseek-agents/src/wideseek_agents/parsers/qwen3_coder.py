"""Tool calls of Qwen3-Coder models: XML with one element a parameter."""

import json
import re

from pydantic import JsonValue

from wideseek_agents.parsers.json_objects import is_quoted
from wideseek_core import MalformedCall, ToolCall, WrittenCall

_BLOCK = re.compile(
    r"(<tool_call>)\s*(.*?)(</function>\s*</tool_call>|(?=<tool_call>)|$)", re.DOTALL
)
_FUNCTION = re.compile(r"<function=([^>\n]*)>")
_PARAMETER = re.compile(
    r"<parameter=([^>\n]+)>\n?(.*?)\n?</parameter>\s*(?=<parameter=|</function>|$)", re.DOTALL
)


class Qwen3CoderParser:
    """`<tool_call><function=NAME><parameter=NAME>VALUE</parameter></function></tool_call>`."""

    instructions = """\
# Tools

These functions are available:

<tools>
{{tools}}
</tools>

To call a function, write it in exactly this form, one `<tool_call>` block for each call:

<tool_call>
<function=function_name>
<parameter=parameter_name>
value
</parameter>
</function>
</tool_call>

Values that are lists or objects are written as JSON. Explain before a call, never after it."""

    def parse(self, text: str) -> list[WrittenCall]:
        """The calls of all blocks. Values are strings, which argument schemas convert."""
        blocks = _BLOCK.finditer(text)
        return [self._call(block) for block in blocks if not is_quoted(text, *block.span(1))]

    def write(self, call: ToolCall) -> str:
        """A block."""
        parameters = "".join(
            f"<parameter={name}>\n{_text(value)}\n</parameter>\n"
            for name, value in call.arguments.items()
        )
        return f"<tool_call>\n<function={call.name}>\n{parameters}</function>\n</tool_call>"

    def _call(self, block: re.Match[str]) -> WrittenCall:
        body = block[2]
        function = _FUNCTION.match(body)
        if function is None:
            return MalformedCall(problem="not_json", text=body)
        name = function[1].strip()
        if not block[3]:
            return MalformedCall(problem="not_closed", text=body, name=name)
        if not name:
            return MalformedCall(problem="no_name", text=body)
        inner = body[function.end() :]
        arguments: dict[str, JsonValue] = {m[1].strip(): m[2] for m in _PARAMETER.finditer(inner)}
        if _PARAMETER.sub("", inner).strip():
            return MalformedCall(problem="bad_arguments", text=body, name=name)
        return ToolCall(name=name, arguments=arguments)


def _text(value: JsonValue) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
