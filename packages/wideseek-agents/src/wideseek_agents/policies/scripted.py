"""A policy that a function plays: for tests, and for demonstrations to learn from."""

import inspect
from collections.abc import Awaitable, Callable, Sequence

from wideseek_agents.policies.dialogue import Dialogue
from wideseek_agents.tokens import ChatTokenizer
from wideseek_core import Conversation, Finish, Message, Reply, ToolSpec

Respond = Callable[[Sequence[Message], Sequence[ToolSpec]], str | Awaitable[str]]
"""Gives the next assistant turn for the whole conversation so far."""


class ScriptedPolicy:
    """Agents whose turns a function writes.

    With a tokenizer, replies carry the ids that a token policy would have seen and sampled, with
    log-probabilities of 0; the window and the limits hold as they do there.
    """

    def __init__(
        self,
        respond: Respond,
        tokenizer: ChatTokenizer | None = None,
        *,
        context_tokens: int = 32_000,
        max_tokens: int | None = None,
    ) -> None:
        self._respond = respond
        self._tokenizer = tokenizer
        self._context_tokens = context_tokens
        self._max_tokens = max_tokens or context_tokens

    def open(
        self, tools: Sequence[ToolSpec], *, seed: int = 0, max_question_tokens: int | None = None
    ) -> Conversation:
        """A fresh conversation."""
        if self._tokenizer is None:
            return _ScriptedConversation(self._respond, tools)
        dialogue = Dialogue(
            self._tokenizer,
            context_tokens=self._context_tokens,
            max_question_tokens=max_question_tokens,
        )
        return _ScriptedTokenConversation(
            self._respond, tools, self._tokenizer, dialogue, self._max_tokens
        )


class _ScriptedConversation:
    def __init__(self, respond: Respond, tools: Sequence[ToolSpec]) -> None:
        self._respond = respond
        self._tools = tuple(tools)
        self._messages: list[Message] = []

    async def reply(self, messages: Sequence[Message]) -> Reply:
        return Reply(text=await self._write(messages), finish=Finish.STOP)

    async def close(self) -> None:
        return None

    async def _write(self, messages: Sequence[Message]) -> str:
        self._messages += messages
        written = self._respond(tuple(self._messages), self._tools)
        text = await written if inspect.isawaitable(written) else written
        self._messages.append(Message(role="assistant", content=text))
        return text


class _ScriptedTokenConversation(_ScriptedConversation):
    def __init__(
        self,
        respond: Respond,
        tools: Sequence[ToolSpec],
        tokenizer: ChatTokenizer,
        dialogue: Dialogue,
        max_tokens: int,
    ) -> None:
        super().__init__(respond, tools)
        self._tokenizer = tokenizer
        self._dialogue = dialogue
        self._max_tokens = max_tokens

    async def reply(self, messages: Sequence[Message]) -> Reply:
        prompt = self._dialogue.ask(messages)
        room = min(self._max_tokens, self._dialogue.room)
        whole = self._tokenizer.encode_response(await self._write(messages))
        ids = tuple(whole[:room])
        finish = Finish.STOP if len(ids) == len(whole) else Finish.LENGTH
        finish = self._dialogue.finish(finish, self._max_tokens)
        self._dialogue.answer(ids)
        return Reply(
            text=self._tokenizer.decode(ids),
            finish=finish,
            prompt_ids=prompt,
            response_ids=ids,
            logprobs=(0.0,) * len(ids),
            prompt_tokens=len(prompt),
            response_tokens=len(ids),
        )
