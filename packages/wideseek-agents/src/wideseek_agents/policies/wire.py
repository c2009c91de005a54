"""Chat API messages: how a conversation is written for them, and how their answers read."""

import json
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, JsonValue

from wideseek_agents.parsers.hermes import CLOSING, OPENING
from wideseek_core import Finish, Message, Reply
from wideseek_core.text import without_control_tokens


class _Lenient(BaseModel):
    """Answers differ between servers: what is not needed may be anything."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class _Function(_Lenient):
    name: str = ""
    arguments: JsonValue = None


class WireCall(_Lenient):
    """A native tool call."""

    id: str = ""
    function: _Function = _Function()


class _Part(_Lenient):
    text: str | None = None


class WireMessage(_Lenient):
    """The assistant's message."""

    content: str | list[_Part] | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[WireCall] | None = None


class _Choice(_Lenient):
    message: WireMessage
    finish_reason: str | None = None


class _Usage(_Lenient):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class WireAnswer(_Lenient):
    """A chat completion."""

    choices: list[_Choice]
    usage: _Usage | None = None


def read_answer(answer: WireAnswer) -> Reply:
    """The first choice as a reply: reasoning and native calls in the text form of local models."""
    choice, usage = answer.choices[0], answer.usage or _Usage()
    message = choice.message
    reasoning = message.reasoning_content or message.reasoning or ""
    parts = [f"<think>\n{reasoning.strip()}\n</think>\n"] if reasoning.strip() else []
    parts += [content(message)] if content(message) else []
    parts += [_call_text(call) for call in message.tool_calls or ()]
    return Reply(
        text="\n".join(parts),
        finish=Finish.LENGTH if choice.finish_reason == "length" else Finish.STOP,
        prompt_tokens=usage.prompt_tokens or 0,
        response_tokens=usage.completion_tokens or 0,
    )


def content(message: WireMessage) -> str:
    """The message's text."""
    if isinstance(message.content, list):
        return "".join(part.text or "" for part in message.content)
    return message.content or ""


def assistant_message(message: WireMessage) -> dict[str, JsonValue]:
    """The assistant's message as it is sent back with the next turn, without its reasoning."""
    sent: dict[str, JsonValue] = {"role": "assistant", "content": content(message)}
    if message.tool_calls:
        sent["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.function.name, "arguments": _arguments(call)},
            }
            for call in message.tool_calls
        ]
    return sent


def new_message(message: Message, answered: Sequence[WireCall]) -> list[dict[str, JsonValue]]:
    """A message of the loop for the API.

    The loop has one tool message for all calls of a turn; an API wants one for each native call:
    the first holds it all. Without native calls it is a user's message.
    """
    text = (
        message.content
        if message.role in ("system", "assistant")
        else without_control_tokens(message.content)
    )
    if message.role != "tool":
        return [{"role": message.role, "content": text}]
    if not answered:
        wrapped = f"<tool_response>\n{text}\n</tool_response>"
        return [{"role": "user", "content": wrapped}]
    sent: list[dict[str, JsonValue]] = []
    for call in answered:
        shown = text if not sent else "(see the first result)"
        sent.append({"role": "tool", "tool_call_id": call.id, "content": shown})
    return sent


def _call_text(call: WireCall) -> str:
    name = json.dumps(call.function.name, ensure_ascii=False)
    return f'{OPENING}\n{{"name": {name}, "arguments": {_arguments(call)}}}\n{CLOSING}'


def _arguments(call: WireCall) -> str:
    """Arguments as JSON text, which servers give either as text or as an object."""
    arguments = call.function.arguments
    if isinstance(arguments, str):
        return arguments
    return json.dumps({} if arguments is None else arguments, ensure_ascii=False)
