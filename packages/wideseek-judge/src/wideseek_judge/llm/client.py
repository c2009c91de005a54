"""The judge's model behind an OpenAI-compatible chat endpoint."""

from collections.abc import Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Self, cast

from pydantic import JsonValue

from wideseek_core import Finish, Message, Reply
from wideseek_core.errors import JudgeError, NoVerdict, ServiceError, ServiceFault
from wideseek_core.http import HttpClient, Transport
from wideseek_core.text import after_thinking, one_line
from wideseek_core.usage import token_count
from wideseek_judge.config import JudgeEndpointConfig
from wideseek_judge.llm.chat import Schema

_HOPELESS = {
    401: "the key was refused",
    403: "access was refused",
    404: "no such address or model",
    405: "no chat endpoint there",
}
_NOT_FOR_SCHEMAS = frozenset({401, 403, 429, 503})
"""Statuses that say nothing about a `response_format`; servers refuse one with many others."""
_ENDED = frozenset(
    {
        "stop",
        "eos",
        "eos_token",
        "stop_sequence",
        "end_turn",
        "end",
        "complete",
        "completed",
        "done",
    }
)
"""Finish reasons of whole replies, in small letters."""


class ChatClient:
    """Asks one endpoint. Use as an async context manager.

    What may be gone at the next attempt (timeouts, 429, 5xx, lost connections) is tried again and
    ends as `NoVerdict`; a refused key, an unknown model or a server that was never reached is a
    `JudgeError`.
    """

    def __init__(self, config: JudgeEndpointConfig, *, transport: Transport | None = None) -> None:
        self._config = config
        self._http = HttpClient(config.base_url, config, key_required=False, transport=transport)
        self._reached = False
        self._takes_schemas = config.structured_output
        self._has_taken_schemas = False

    async def __aenter__(self) -> Self:
        await self._http.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._http.__aexit__(kind, error, trace)

    async def __call__(self, messages: Sequence[Message]) -> str:
        """The model's reply at temperature 0, what it thought left out."""
        return after_thinking((await self.complete(messages)).text)

    async def complete(self, messages: Sequence[Message], schema: Schema | None = None) -> Reply:
        """The model's reply at temperature 0.

        It is held to the schema by the server; one that refuses schemas is asked without, from
        then on. Raises `JudgeError`.
        """
        try:
            if schema is not None and self._takes_schemas:
                return await self._by_schema(messages, schema)
            return await self._post(messages, None)
        except ServiceError as error:
            raise self._judge_error(error) from None

    async def _by_schema(self, messages: Sequence[Message], schema: Schema) -> Reply:
        """A reply by the schema; without it from a server that refuses this or every schema."""
        try:
            reply = await self._post(messages, schema)
        except ServiceError as error:
            is_refusal = error.kind is ServiceFault.REFUSED or not self._has_taken_schemas
            if not is_refusal or error.status is None or error.status in _NOT_FOR_SCHEMAS:
                raise
            reply = await self._post(messages, None)
            self._takes_schemas = self._has_taken_schemas
            return reply
        self._has_taken_schemas = True
        return reply

    async def _post(self, messages: Sequence[Message], schema: Schema | None) -> Reply:
        body: dict[str, JsonValue] = {
            "model": self._config.model,
            "messages": [{"role": m.role, "content": m.content} for m in messages],
            "temperature": 0,
            "max_tokens": self._config.max_tokens,
        }
        if schema is not None:
            named: dict[str, JsonValue] = {"name": "verdict", "strict": True, "schema": schema}
            body["response_format"] = {"type": "json_schema", "json_schema": named}
        answer = await self._http.post_json("chat/completions", body, check=_check)
        self._reached = True
        reply = _reply(answer, self._config.model)
        # A server may repeat the key in its answer, which goes into transcripts.
        return replace(reply, text=self._http.redact(reply.text))

    def _judge_error(self, error: ServiceError) -> JudgeError:
        """What a failed request means: nothing can ever be judged, or this answer can't."""
        self._reached = self._reached or error.status is not None
        reason = f": {_HOPELESS[error.status]}" if error.status in _HOPELESS else ""
        where = f"{error} (model {self._config.model!r}{reason})"
        if reason:
            return JudgeError(where)
        is_down = error.kind is ServiceFault.CONNECT  # one that is slow to answer is there
        return JudgeError(where) if is_down and not self._reached else NoVerdict(where)


def _check(answer: JsonValue) -> None:
    """Raises `ServiceError` for what is no chat completion, such as an error with status 200."""
    if _choice(answer) is None:
        line = f"not a chat completion: {one_line(str(answer)[:300])}"
        raise ServiceError(line, kind=ServiceFault.STATUS, body=str(answer)[:300], can_pass=True)


def _choice(answer: JsonValue) -> dict[str, Any] | None:
    try:
        choice = cast(Any, answer)["choices"][0]
        return choice if isinstance(choice["message"], dict) else None
    except (KeyError, IndexError, TypeError):
        return None


def _reply(answer: JsonValue, model: str) -> Reply:
    """The text of a completion, and whether it was cut off."""
    choice = _choice(answer) or {}
    finish = choice.get("finish_reason")
    is_whole = not isinstance(finish, str) or finish.lower() in _ENDED
    usage: object = cast(dict[str, Any], answer).get("usage")
    return Reply(
        text=_text(choice["message"].get("content")),
        finish=Finish.STOP if is_whole else Finish.LENGTH,
        model=model,
        prompt_tokens=token_count(usage, "prompt_tokens", "input_tokens") or 0,
        response_tokens=token_count(usage, "completion_tokens", "output_tokens") or 0,
    )


def _text(content: object) -> str:
    """The content of a message: text, or a list of parts."""
    if isinstance(content, list):
        return "".join(_text(cast(object, part)) for part in cast(list[Any], content))
    if isinstance(content, dict):
        return _text(cast(dict[str, Any], content).get("text"))
    return content if isinstance(content, str) else ""
