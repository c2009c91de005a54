"""A policy over an OpenAI-compatible chat endpoint. It keeps messages, no token ids."""

from collections.abc import Sequence
from types import TracebackType
from typing import Self

import httpx
from pydantic import JsonValue, ValidationError

from wideseek_agents.policies.endpoint import ChatPolicyConfig, Endpoint
from wideseek_agents.policies.wire import (
    WireAnswer,
    WireCall,
    assistant_message,
    new_message,
    read_answer,
)
from wideseek_core import (
    ContextOverflow,
    Conversation,
    Message,
    PolicyUnavailable,
    Reply,
    ToolSpec,
)


class ChatPolicy:
    """Agents of a chat endpoint.

    Example: `async with ChatPolicy(ChatPolicyConfig(model="qwen3-4b")) as policy: ...`
    """

    def __init__(
        self, config: ChatPolicyConfig, *, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        """`transport` replaces the network. Raises `ConfigError` for a key that is not there."""
        self._config = config
        self._endpoint = Endpoint(config, transport)

    @property
    def native_tools(self) -> bool:
        """Whether the API is told about the tools, so that the system prompt need not."""
        return self._config.native_tools

    def open(
        self, tools: Sequence[ToolSpec], *, seed: int = 0, max_question_tokens: int | None = None
    ) -> Conversation:
        """A fresh conversation."""
        return _ChatConversation(self._config, self._endpoint, tools)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._endpoint.close()


class _ChatConversation:
    def __init__(
        self, config: ChatPolicyConfig, endpoint: Endpoint, tools: Sequence[ToolSpec]
    ) -> None:
        self._config = config
        self._endpoint = endpoint
        self._tools: list[JsonValue] = [tool.schema() for tool in tools]
        self._messages: list[JsonValue] = []
        self._unanswered: Sequence[WireCall] = ()
        self._used = 0

    async def reply(self, messages: Sequence[Message]) -> Reply:
        for message in messages:
            self._messages += new_message(message, self._unanswered)
        if self._used >= self._config.context_tokens:
            raise ContextOverflow(
                f"{self._used} tokens fill the window of {self._config.context_tokens}"
            )
        raw = await self._endpoint.post(self._body())
        try:
            answer = WireAnswer.model_validate(raw)
            reply, message = read_answer(answer), answer.choices[0].message
        except (ValidationError, IndexError) as error:
            problem = str(error).splitlines()[0]
            raise PolicyUnavailable(
                f"{self._config.base_url}: not a chat completion: {problem}"
            ) from None
        self._messages.append(assistant_message(message))
        self._unanswered = message.tool_calls or ()
        self._used = reply.prompt_tokens + reply.response_tokens
        return reply

    async def close(self) -> None:
        self._messages.clear()

    def _body(self) -> dict[str, JsonValue]:
        config = self._config
        body: dict[str, JsonValue] = {
            "model": config.model,
            "messages": self._messages,
            "temperature": config.temperature,
            "top_p": config.top_p,
        }
        if config.max_tokens is not None:
            body["max_tokens"] = min(config.max_tokens, config.context_tokens - self._used)
        if config.native_tools and self._tools:
            body["tools"] = self._tools
        return body | config.extra
