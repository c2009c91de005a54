"""A policy over an OpenAI-compatible chat endpoint. It keeps messages, no token ids."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Self

from pydantic import JsonValue

from wideseek_agents.policies.config import ChatPolicyConfig
from wideseek_agents.policies.wire import (
    Completion,
    assistant_message,
    error_of,
    read_completion,
    sent_message,
)
from wideseek_agents.server_limits import estimate_tokens, fitting_max_tokens, says_too_long
from wideseek_core import (
    ContextOverflow,
    Conversation,
    Finish,
    Message,
    PolicyError,
    PolicyUnavailable,
    Reply,
    ToolSpec,
)
from wideseek_core.errors import ServiceError, ServiceFault
from wideseek_core.limiter import PASSING_STATUSES

if TYPE_CHECKING:
    from wideseek_core.http import HttpClient, Transport

_MAX_SEED = 2**31


class ChatPolicy:
    """Agents of a chat endpoint.

    Example: `async with ChatPolicy(ChatPolicyConfig(model="qwen3-4b")) as policy: ...`
    """

    def __init__(self, config: ChatPolicyConfig, *, transport: "Transport | None" = None) -> None:
        """`transport` replaces the network. Raises `ConfigError` for a key that is not there."""
        from wideseek_core.http import HttpClient  # slow to import, and only clients need it

        self.config = config
        name = f"{config.base_url} ({config.model})"
        self._client = HttpClient(name, config, transport=transport)

    @property
    def native_tools(self) -> bool:
        """Whether requests describe the tools, so that the system prompt need not."""
        return self.config.native_tools

    def open(
        self, tools: Sequence[ToolSpec], *, seed: int = 0, max_question_tokens: int | None = None
    ) -> Conversation:
        """A fresh conversation. The question's tokens are not limited: the server counts them."""
        return _ChatConversation(self.config, self._client, tools, seed)

    async def reach(self) -> None:
        """Raises `PolicyUnavailable` if nobody serves the address; other faults show later."""
        try:
            await self._client.request("GET", "/models")
        except ServiceError as error:
            if error.kind is ServiceFault.CONNECT:
                raise PolicyUnavailable(str(error)) from None

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._client.__aexit__(kind, error, trace)


@dataclass(slots=True)
class _Reader:
    """Reads the answers to one request; a failure that one reports may pass at the next attempt."""

    call_prefix: str
    completion: Completion | None = field(default=None)
    """What the last attempt gave."""

    def check(self, value: JsonValue) -> None:
        """Raises `ServiceError` for an answer that is no completion, or one that failed."""
        self.completion = None
        if isinstance(value, list) and len(value) == 1:
            value = value[0]  # as some gateways wrap an error
        if not isinstance(value, dict):
            raise _fault("the answer is not a chat completion", passing=True)
        completion = read_completion(value, self.call_prefix)
        problem, code = error_of(value)
        if problem and (completion is None or completion.finish is Finish.ERROR):
            passing = code is None or code in PASSING_STATUSES or not 400 <= code < 500
            passing = passing and not says_too_long(problem)
            raise _fault(f"the answer is an error: {problem}", passing=passing)
        if completion is None:
            raise _fault("the answer is not a chat completion: it has no choice", passing=True)
        self.completion = completion
        if completion.may_pass:
            raise _fault(f"the response ended with {completion.reason!r}", passing=True)


def _fault(problem: str, *, passing: bool) -> ServiceError:
    kind = ServiceFault.STATUS if passing else ServiceFault.REFUSED
    return ServiceError(problem, kind=kind, status=200, body=problem, can_pass=passing)


class _ChatConversation:
    def __init__(
        self,
        config: ChatPolicyConfig,
        client: "HttpClient",
        tools: Sequence[ToolSpec],
        seed: int,
    ) -> None:
        self._config = config
        self._client = client
        self._tools: list[JsonValue] = [tool.schema() for tool in tools]
        self._seed = seed
        self._messages: list[JsonValue] = []
        self._used = 0
        self._turn = 0

    async def reply(self, messages: Sequence[Message]) -> Reply:
        sent = [sent_message(message) for message in messages]
        self._messages += sent
        limit = self._config.context_tokens
        if self._used >= limit:
            raise ContextOverflow(f"{self._used} tokens fill the window of {limit}")
        self._turn += 1
        completion = await self._complete()
        self._messages.append(
            assistant_message(completion, send_thinking=self._config.send_thinking)
        )
        return self._reply(completion, sent)

    async def close(self) -> None:
        self._messages.clear()

    async def _complete(self) -> Completion:
        """One completion; with fewer tokens if the server says that so many do not fit."""
        body = self._body()
        try:
            return await self._post(body)
        except ServiceError as error:
            asked = body.get("max_tokens")
            fits = fitting_max_tokens(error.body, asked) if isinstance(asked, int) else None
            if fits is None:
                raise self._policy_error(error) from None
        try:
            return await self._post({**body, "max_tokens": fits})
        except ServiceError as error:
            raise self._policy_error(error) from None

    async def _post(self, body: dict[str, JsonValue]) -> Completion:
        reader = _Reader(f"call_{self._turn}_")
        try:
            await self._client.post_json("/chat/completions", body, check=reader.check)
        except ServiceError:
            if reader.completion is None:
                raise
        assert reader.completion is not None, "an answer that passes the check is a completion"
        return reader.completion

    def _policy_error(self, error: ServiceError) -> PolicyError:
        too_long = error.status not in (401, 403, 429) and says_too_long(error.body)
        return ContextOverflow(str(error)) if too_long else PolicyUnavailable(str(error))

    def _reply(self, completion: Completion, sent: Sequence[JsonValue]) -> Reply:
        """The reply, with our own count of tokens where the server gives none."""
        text = completion.text
        prompt, response = completion.prompt_tokens, completion.response_tokens
        if prompt is None:
            tools = self._tools if self._turn == 1 else []
            prompt = self._used + sum(map(_estimate, [*sent, *tools]))
        if response is None:
            response = estimate_tokens(text)
        self._used = prompt + response
        finish = completion.finish
        if finish is Finish.LENGTH and self._used >= self._config.context_tokens:
            finish = Finish.CONTEXT
        return Reply(
            text=text,
            finish=finish,
            finish_reason=completion.reason,
            native_calls=completion.calls,
            model=completion.model or self._config.model,
            prompt_tokens=prompt,
            response_tokens=response,
        )

    def _body(self) -> dict[str, JsonValue]:
        config = self._config
        body: dict[str, JsonValue] = {
            "model": config.model,
            "messages": self._messages,
            "temperature": config.temperature,
            "top_p": config.top_p,
        }
        if config.send_seed:
            body["seed"] = self._seed % _MAX_SEED
        if config.max_tokens is not None:
            body["max_tokens"] = min(config.max_tokens, config.context_tokens - self._used)
        if config.native_tools and self._tools:
            body["tools"] = self._tools
        return body | config.extra


def _estimate(value: JsonValue) -> int:
    return estimate_tokens(json.dumps(value, ensure_ascii=False))
