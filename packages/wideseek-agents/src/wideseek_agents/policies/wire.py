"""Chat API messages: how a conversation is written for them, and how their answers read.

Servers differ: what is not needed may be anything, and what is there is read as far as it can be.
"""

import json
from dataclasses import dataclass

from pydantic import JsonValue

from wideseek_agents.parsers import parser_named
from wideseek_agents.parsers.json_objects import call_of, object_at
from wideseek_core import Finish, MalformedCall, Message, ToolCall, WrittenCall
from wideseek_core.text import after_thinking, clean, without_control_tokens
from wideseek_core.usage import token_count

Json = dict[str, JsonValue]

_FINISHES = {
    "": Finish.STOP,
    "stop": Finish.STOP,
    "stop_sequence": Finish.STOP,
    "eos": Finish.STOP,
    "eos_token": Finish.STOP,
    "end_turn": Finish.STOP,
    "complete": Finish.STOP,
    "completed": Finish.STOP,
    "tool_calls": Finish.STOP,
    "tool_call": Finish.STOP,
    "tool_use": Finish.STOP,
    "function_call": Finish.STOP,
    "length": Finish.LENGTH,
    "max_tokens": Finish.LENGTH,
    "max_output_tokens": Finish.LENGTH,
    "max_completion_tokens": Finish.LENGTH,
    "model_length": Finish.CONTEXT,
    "context_length": Finish.CONTEXT,
    "context_length_exceeded": Finish.CONTEXT,
    "model_context_window_exceeded": Finish.CONTEXT,
    "abort": Finish.ABORT,
    "aborted": Finish.ABORT,
    "cancelled": Finish.ABORT,
    "canceled": Finish.ABORT,
}
"""What servers call the reasons why a response ended; any other is an error."""


_CALLING = frozenset({"tool_calls", "tool_call", "tool_use", "function_call"})
"""Those that announce a call."""


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
    choices = answer.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(choice, dict):
        return None
    message = choice.get("message")
    if not isinstance(message, dict):
        return None
    reason = choice.get("finish_reason")
    reason = reason.removeprefix("FinishReason.") if isinstance(reason, str) else ""
    usage = answer.get("usage")
    model = answer.get("model")
    content = _content(message.get("content")) or _content(message.get("refusal"))
    calls = _calls(message, call_prefix)
    if not calls and not content and reason.lower() in _CALLING:
        # The server saw a call that it could not read: the model has to write it again.
        calls = (MalformedCall(problem="not_json", text="", id=f"{call_prefix}0"),)
    return Completion(
        content=content,
        thinking=_thinking(message),
        calls=calls,
        finish=_FINISHES.get(reason.lower(), Finish.ERROR),
        reason=reason,
        model=model if isinstance(model, str) else "",
        prompt_tokens=token_count(usage, "prompt_tokens", "input_tokens"),
        response_tokens=token_count(usage, "completion_tokens", "output_tokens"),
    )


def error_of(answer: Json) -> tuple[str, int | None]:
    """The error that an answer reports, in words, and its code; empty if it reports none."""
    choices = answer.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    error = answer.get("error") or (choice.get("error") if isinstance(choice, dict) else None)
    if not error and choice is None:
        error = _bare_error(answer)
    if not error:
        return "", None
    if not isinstance(error, dict):
        return _all_text(error) or json.dumps(error), None
    message = _all_text(error.get("message")) or json.dumps(error, ensure_ascii=False)
    for name in ("code", "status", "type"):
        value = error.get(name)
        if isinstance(value, str) and value.isdecimal():
            value = int(value)
        if isinstance(value, int) and not isinstance(value, bool):
            return message, value
    kind = error.get("code") or error.get("type")
    return (f"{kind}: {message}" if isinstance(kind, str) else message), None


def _bare_error(answer: Json) -> JsonValue:
    """An error that is the whole answer: `{"code": 429, "msg": ...}` and the like."""
    for name in ("errors", "detail"):
        if answer.get(name):
            return {"message": answer[name], "code": answer.get("code")}
    if answer.get("object") == "error" or "code" in answer:
        return {"message": answer.get("message") or answer.get("msg"), "code": answer.get("code")}
    return None


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
    return after_thinking(content) if "think>" in content else content


def _sent_call(call: WrittenCall) -> Json:
    """A call in the history: what can't be parsed would make strict servers refuse all of it."""
    arguments = call.arguments if isinstance(call, ToolCall) else {}
    function: Json = {
        "name": call.name or "unknown",
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
    if not items and isinstance(message.get("function_call"), dict):
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
    fields = function if isinstance(function, dict) else item
    name = fields.get("name")
    arguments = fields.get("arguments", fields.get("parameters"))
    if not isinstance(name, str) or not name.strip():
        return MalformedCall(problem="no_name", text=json.dumps(arguments), id=id)
    if arguments is None or arguments == "":
        arguments = {}
    call = call_of(name.strip(), arguments, id=id)
    if isinstance(call, MalformedCall) and isinstance(arguments, str):
        return MalformedCall(problem="not_json", text=call.text, name=call.name, id=id)
    return call


def _content(value: JsonValue) -> str:
    """The text of a message: a string, or parts of which those of thinking are left out."""
    if isinstance(value, list):
        return "".join(_content(part) for part in value)
    if isinstance(value, dict):
        thinks = str(value.get("type", "")).startswith(("thinking", "reasoning"))
        return "" if thinks else _content(value.get("text", value.get("value")))
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


def _all_text(value: JsonValue) -> str:
    """Every text in a value, whatever its shape; names of types are none."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "".join(map(_all_text, value))
    if isinstance(value, dict):
        return "".join(_all_text(part) for name, part in value.items() if name in _TEXT_NAMES)
    return ""


_TEXT_NAMES = frozenset({"text", "content", "thinking", "reasoning", "summary", "message"})
