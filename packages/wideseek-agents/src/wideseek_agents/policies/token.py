"""A policy over a token engine: ids in, ids out."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from wideseek_agents.policies.dialogue import Dialogue
from wideseek_agents.policies.trimming import trimmed
from wideseek_agents.tokens import ChatTokenizer
from wideseek_core import (
    Conversation,
    Finish,
    Message,
    Reply,
    Sampling,
    TokenEngine,
    ToolSpec,
)


class TokenPolicy:
    """Agents of a token engine.

    Sessions are named after the seed of the agent, and every turn has a seed of its own that
    follows from it, so that an engine samples the same again. Tools reach the model through the
    system message.
    """

    def __init__(
        self,
        engine: TokenEngine,
        tokenizer: ChatTokenizer,
        *,
        context_tokens: int = 32_000,
        sampling: Sampling | None = None,
    ) -> None:
        """`sampling.max_tokens` bounds one turn, `context_tokens` the whole conversation."""
        self._engine = engine
        self._tokenizer = tokenizer
        self._context_tokens = context_tokens
        self._sampling = sampling or Sampling(max_tokens=context_tokens)
        self._open: set[str] = set()

    def open(
        self, tools: Sequence[ToolSpec], *, seed: int = 0, max_question_tokens: int | None = None
    ) -> Conversation:
        """A fresh conversation; its session is named after `seed`."""
        session, copies = f"{seed}", 0
        while session in self._open:
            copies += 1
            session = f"{seed}.{copies}"
        self._open.add(session)
        dialogue = Dialogue(
            self._tokenizer,
            context_tokens=self._context_tokens,
            max_question_tokens=max_question_tokens,
        )
        return _TokenConversation(
            self._engine, self._tokenizer, dialogue, self._sampling, session, self._open
        )


class _TokenConversation:
    def __init__(
        self,
        engine: TokenEngine,
        tokenizer: ChatTokenizer,
        dialogue: Dialogue,
        sampling: Sampling,
        session: str,
        opened: set[str],
    ) -> None:
        self._engine = engine
        self._tokenizer = tokenizer
        self._dialogue = dialogue
        self._sampling = sampling
        self._session = session
        self._opened = opened
        self._closed = False
        self._turn = 0

    async def reply(self, messages: Sequence[Message]) -> Reply:
        prompt = self._dialogue.ask(messages)
        max_tokens = self._sampling.max_tokens
        sampling = replace(
            self._sampling,
            max_tokens=min(max_tokens, self._dialogue.room),
            seed=_turn_seed(self._session, self._turn),
            # A base model's own end token is another than that of a message.
            stop_ids=(*self._sampling.stop_ids, self._tokenizer.end_id),
        )
        self._turn += 1
        generated = await self._engine.generate(prompt, session=self._session, sampling=sampling)
        generated = trimmed(generated, sampling.max_repeats, self._tokenizer.token_texts)
        finish = self._dialogue.finish(generated.finish, max_tokens)
        text = self._tokenizer.decode(generated.ids)
        ended = finish in (Finish.LENGTH, Finish.TRIMMED)
        resumable = ended and _is_thinking(text) and len(generated.ids) > 0
        if resumable:
            self._dialogue.close_thought(generated.ids)
        else:
            self._dialogue.answer(generated.ids)
        return Reply(
            text=text,
            resumable=resumable,
            finish=finish,
            prompt_ids=prompt,
            response_ids=generated.ids,
            logprobs=generated.logprobs,
            prompt_tokens=len(prompt),
            response_tokens=len(generated.ids),
            versions=generated.versions,
        )

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        try:
            await self._engine.close_session(self._session)
        finally:
            # Only now may another conversation take the name.
            self._opened.discard(self._session)


def _turn_seed(session: str, turn: int) -> int:
    """The seed of one turn: a number of 63 bits, since servers keep it in a signed integer."""
    name = f"{session}/{turn}".encode()
    return int.from_bytes(hashlib.sha256(name).digest()[:8]) >> 1


def _is_thinking(text: str) -> bool:
    """Whether a response ends inside its thinking."""
    return text.lstrip().startswith("<think>") and "</think>" not in text
