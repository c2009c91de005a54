"""Tool calls of Llama 3 models: the whole response is JSON, several calls parted by `;`."""

import json
import re

from wideseek_agents.parsers.json_objects import is_call, object_at, read_call
from wideseek_core import MalformedCall, ToolCall, WrittenCall

_MARK = "<|python_tag|>"
_END = re.compile(r"<\|e[a-z]+_id\|>\s*$")


class LlamaParser:
    """`{"name": ..., "parameters": {...}}` as the whole response."""

    instructions = """\
You may call these functions to answer:

{{tools}}

To call a function, reply with nothing but a JSON object of its name and its parameters, such as
{"name": "function name", "parameters": {"parameter name": "value"}}
Part several calls by semicolons. Do not use variables."""

    def parse(self, text: str) -> list[WrittenCall]:
        """The calls of a response that consists of them; a response with other text is none."""
        marked = _MARK in text
        body = _END.sub("", text.rpartition(_MARK)[2]).strip()
        if not marked and not body.startswith("{"):
            return []
        calls: list[WrittenCall] = []
        end = 0
        while end < len(body):
            found = object_at(body, end)
            if found is None:
                broken = MalformedCall(problem="not_json", text=body[end:])
                return [*calls, broken] if marked or calls or '"name"' in body else []
            value, end = found
            if not marked and not calls and not is_call(value):
                return []  # A JSON answer.
            calls.append(read_call(value))
            end = len(body) - len(body[end:].lstrip("; \n\t\r"))
        return calls

    def write(self, call: ToolCall) -> str:
        """A JSON object."""
        value = {"name": call.name, "parameters": call.arguments}
        return json.dumps(value, ensure_ascii=False)
