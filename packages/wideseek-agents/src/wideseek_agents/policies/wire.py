"""Chat API messages: how a conversation is written for them, and how their answers read.

Servers differ: what is not needed may be anything, and what is there is read as far as it can be.
"""

import json
import re
from dataclasses import dataclass

from pydantic import JsonValue

from wideseek_agents.parsers import parser_named
from wideseek_agents.parsers.json_objects import call_of, object_at
from wideseek_core import Finish, MalformedCall, Message, ToolCall, WrittenCall
from wideseek_core.text import after_thinking, clean, without_control_tokens
from wideseek_core.usage import token_count

Json = dict[str, JsonValue]

_CALLING = ("tool_calls", "tool_call", "tool_use", "function_call")
"""Reasons to end that announce a call."""
_BROKEN_CALLS = ("malformed_function_call", "unexpected_tool_call", "malformed_tool_call")
"""Those that say that the model wrote a call which the server could not read."""
_REASONS: dict[Finish, tuple[str, ...]] = {
    Finish.STOP: (
        *("", "null", "none", "stop", "stopped", "stop_sequence", "stop_token", "eos"),
        *("eos_token", "end", "end_turn", "complete", "completed", "normal", "done", "finished"),
        *_CALLING,
    ),
    Finish.LENGTH: (
        *("length", "max_tokens", "max_token", "max_length", "max_output_tokens", "repetition"),
        *("max_completion_tokens", "max_new_tokens", "token_limit", "length_limit"),
    ),
    Finish.CONTEXT: (
        *("model_length", "context_length", "context_length_exceeded", "context_limit"),
        *("model_context_window_exceeded", "context_window_exceeded"),
    ),
    Finish.ABORT: ("abort", "aborted", "cancel", "cancelled", "canceled"),
}
_FINISHES = {reason: finish for finish, reasons in _REASONS.items() for reason in reasons}
"""What servers call the reasons why a response ended; any other is an error."""
_PASSING = frozenset(
    {"error", "network_error", "server_error", "timeout", "insufficient_system_resource"}
)
"""Errors that may be gone at the next attempt."""
_LASTING_ERRORS = re.compile(
    r"invalid|insufficient_quota|not_found|authentication|permission|billing|unsupported"
    r"|access_denied|unauthorized|forbidden|content_(?:filter|policy)|context_length",
    re.IGNORECASE,
)
"""Kinds of errors, as words, that no further attempt changes."""
_MAX_NESTING = 50
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_-]")
_MAX_NAME_CHARS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """The first choice of a chat completion."""

    content: str
    thinking: str
    """Reasoning that the server parted from the content."""
    calls: tuple[WrittenCall, ...]
    finish: Finish
    reason: str
    """The server's word for `finish`."""
    model: str
    prompt_tokens: int | None
    """None where the server does not count."""
    response_tokens: int | None

    @property
    def may_pass(self) -> bool:
        """Whether the server broke the response off for a reason that may be gone next time."""
        return self.finish is Finish.ABORT or _normal(self.reason) in _PASSING

    @property
    def text(self) -> str:
        """Thinking, content and calls as a local model would write them."""
        thinking = without_control_tokens(self.thinking.strip())
        parts = [f"<think>\n{thinking}\n</think>\n"] if thinking else []
        parts += [self.content] if self.content else []
        parts += [_call_text(call) for call in self.calls]
        return "\n".join(parts)


def read_completion(answer: Json, call_prefix: str) -> Completion | None:
    """The first choice of an answer; None if it has none.

    Calls without an identifier of their own get one that begins with `call_prefix`.
    """
    choice = _choice(answer)
    message = _message(choice)
    if message is None:
        return None
    reason = _reason(choice.get("finish_reason"))
    normal = _normal(reason)
    broken = normal.endswith(_BROKEN_CALLS)
    usage = answer.get("usage")
    model = answer.get("model")
    content = _content(message.get("content")) or _content(message.get("refusal"))
    calls = _calls(message, call_prefix)
    if not calls and (broken or (normal in _CALLING and "<tool_call>" not in content)):
        # The server saw a call that it could not read: the model has to write it again.
        calls = (MalformedCall(problem="not_json", text="", id=f"{call_prefix}0"),)
    return Completion(
        content=content,
        thinking=_thinking(message),
        calls=calls,
        finish=Finish.STOP if broken else _FINISHES.get(normal, Finish.ERROR),
        reason=reason,
        model=model if isinstance(model, str) else "",
        prompt_tokens=token_count(usage, "prompt_tokens", "input_tokens"),
        response_tokens=token_count(usage, "completion_tokens", "output_tokens"),
    )


def error_of(answer: Json) -> tuple[str, int | None]:
    """The error that an answer reports, in words, and its code; empty if it reports none.

    A kind of error that is a word and lasts has the code 400.
    """
    choice = _choice(answer)
    error = answer.get("error") or choice.get("error")
    if not error and not choice:
        error = _bare_error(answer)
    if not error:
        return "", None
    if not isinstance(error, dict):
        return _all_text(error) or json.dumps(error), _code(error)
    message = _all_text(error.get("message")) or json.dumps(error, ensure_ascii=False)
    names = ("code", "status", "status_code", "type")
    codes = (_code(error.get(name)) for name in names)
    kinds = [kind for name in names if isinstance(kind := error.get(name), str) and kind]
    code = next((code for code in codes if code is not None), None)
    if code is not None or not kinds:
        return message, code
    lasts = any(map(_LASTING_ERRORS.search, kinds))
    return f"{kinds[0]}: {message}", 400 if lasts else None


def _code(value: JsonValue) -> int | None:
    """The number that a code is, also one that is written as text or as a fraction."""
    if isinstance(value, str) and value.isdecimal() and len(value) < 12:
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if abs(value) < 1e12 else None


def _bare_error(answer: Json) -> JsonValue:
    """An error that is the whole answer: `{"code": 429, "msg": ...}` and the like."""
    message = answer.get("message") or answer.get("msg")
    for name in ("errors", "detail"):
        message = message or answer.get(name)
    if not message and "code" not in answer and answer.get("object") != "error":
        return None
    return {"message": message, "code": answer.get("code"), "status": answer.get("status")}


def _choice(answer: Json) -> Json:
    """The first choice of an answer; empty if it has none."""
    choices = answer.get("choices")
    for choice in choices if isinstance(choices, list) else [choices]:
        if isinstance(choice, dict):
            return choice
    return {}


def _message(choice: Json) -> Json | None:
    """The message of a choice, also one that is called or written otherwise."""
    for name in ("message", "delta", "text"):
        message = choice.get(name)
        if isinstance(message, dict):
            return message
        if isinstance(message, str):
            return {"content": message}
    return None


def _reason(value: JsonValue) -> str:
    """The server's word for the end; `{"type": "length"}` and numbers are words too."""
    if isinstance(value, dict):
        value = value.get("type") or value.get("reason")
    return value if isinstance(value, str) else "" if value is None else json.dumps(value)


def _normal(reason: str) -> str:
    lower = reason.strip().lower()
    return lower.removeprefix("finishreason.").removeprefix("finish_reason_")


def assistant_message(completion: Completion, *, send_thinking: bool) -> Json:
    """The assistant's message as it is sent back with the next turn."""
    content = completion.content if send_thinking else _without_thinking(completion.content)
    sent: Json = {"role": "assistant", "content": content}
    if send_thinking and completion.thinking:
        sent["reasoning_content"] = completion.thinking
    if completion.calls:
        sent["tool_calls"] = [_sent_call(call) for call in completion.calls]
    return sent


def sent_message(message: Message) -> Json:
    """A message of the loop for the API. Results of a whole turn are a user's message."""
    if message.role in ("system", "assistant"):
        return {"role": message.role, "content": clean(message.content)}
    text = without_control_tokens(message.content)
    if message.role == "user":
        return {"role": "user", "content": text}
    if message.call_id:
        return {"role": "tool", "tool_call_id": message.call_id, "content": text}
    return {"role": "user", "content": f"<tool_response>\n{text}\n</tool_response>"}


def _without_thinking(content: str) -> str:
    answer = after_thinking(content)
    return content if len(answer) == len(content.strip()) else answer


def _sent_call(call: WrittenCall) -> Json:
    """A call in the history: what is not valid would make strict servers refuse all of it."""
    arguments = call.arguments if isinstance(call, ToolCall) else {}
    function: Json = {
        "name": _NOT_IN_NAMES.sub("_", call.name)[:_MAX_NAME_CHARS] or "unknown",
        "arguments": json.dumps(arguments, ensure_ascii=False),
    }
    return {"id": call.id, "type": "function", "function": function}


def _call_text(call: WrittenCall) -> str:
    if isinstance(call, ToolCall):
        return parser_named("hermes").write(call)
    name = json.dumps(call.name, ensure_ascii=False)
    return f'<tool_call>\n{{"name": {name}, "arguments": {call.text}}}\n</tool_call>'


def _calls(message: Json, prefix: str) -> tuple[WrittenCall, ...]:
    found = message.get("tool_calls")
    if isinstance(found, str) and (read := object_at(found, 0)) is not None:
        found = read[0]
    items = found if isinstance(found, list) else [found] if found else []
    if not items and message.get("function_call"):
        items = [{"function": message["function_call"]}]
    calls: list[WrittenCall] = []
    taken: set[str] = set()
    for number, item in enumerate(item for item in items if isinstance(item, dict)):
        id = item.get("id")
        if not isinstance(id, str) or not id or id in taken:
            id = f"{prefix}{number}"
        taken.add(id)
        calls.append(_call(item, id))
    return tuple(calls)


def _call(item: Json, id: str) -> WrittenCall:
    function = item.get("function")
    if isinstance(function, str) and (read := object_at(function, 0)) is not None:
        function = read[0]
    fields = function if isinstance(function, dict) else item
    name = fields.get("name")
    given = (fields.get(key) for key in ("arguments", "parameters", "input"))
    arguments = next((value for value in given if value is not None), None)
    if not isinstance(name, str) or not name.strip():
        return MalformedCall(problem="no_name", text=json.dumps(arguments), id=id)
    if arguments is None or arguments == "":
        arguments = {}
    call = call_of(name.strip(), arguments, id=id)
    if isinstance(call, MalformedCall) and isinstance(arguments, str):
        return MalformedCall(problem="not_json", text=call.text, name=call.name, id=id)
    return call


def _content(value: JsonValue, depth: int = 0) -> str:
    """The text of a message: a string, or parts of which those of thinking are left out."""
    if depth > _MAX_NESTING:
        return ""
    if isinstance(value, list):
        return "".join(_content(part, depth + 1) for part in value)
    if isinstance(value, dict):
        if str(value.get("type", "")).startswith(("thinking", "reasoning")):
            return ""
        parts = (value.get(name) for name in ("text", "value", "content", "refusal"))
        return _content(next((part for part in parts if part is not None), None), depth + 1)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return json.dumps(value)
    return clean(value) if isinstance(value, str) else ""


def _thinking(message: Json) -> str:
    for name in ("reasoning_content", "reasoning", "thinking", "reasoning_details"):
        if text := _all_text(message.get(name)):
            return clean(text)
    content = message.get("content")
    parts = content if isinstance(content, list) else []
    return clean("".join(_thinking_part(part) for part in parts))


def _thinking_part(part: JsonValue) -> str:
    if isinstance(part, dict) and str(part.get("type", "")).startswith(("thinking", "reasoning")):
        return _all_text({name: part.get(name) for name in ("thinking", "reasoning", "text")})
    return ""


def _all_text(value: JsonValue, depth: int = 0) -> str:
    """Every text in a value, whatever its shape; names of types are none."""
    if isinstance(value, str):
        return value
    if depth > _MAX_NESTING:
        return ""
    if isinstance(value, list):
        return "".join(_all_text(part, depth + 1) for part in value)
    if isinstance(value, dict):
        parts = (part for name, part in value.items() if name in _TEXT_NAMES)
        return "".join(_all_text(part, depth + 1) for part in parts)
    return ""


_TEXT_NAMES = frozenset({"text", "content", "thinking", "reasoning", "summary", "message", "msg"})
