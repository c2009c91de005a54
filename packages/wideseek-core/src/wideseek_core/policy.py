"""The interface between the agent loop and a language model.

A `Policy` opens one `Conversation` per agent. A conversation grows: each `reply` adds messages and
samples one assistant turn. Token policies keep ids, so that what was sampled is never decoded and
encoded again; chat endpoints keep messages and leave the id fields empty.

A `TokenEngine` is the interface below: ids in and ids out, shared by local and remote engines.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, runtime_checkable

from wideseek_core.json_text import Number
from wideseek_core.messages import Message, ToolSpec, WrittenCall
from wideseek_core.versions import VersionSpans, oldest


class Finish(StrEnum):
    """Why sampling stopped."""

    STOP = "stop"
    """The model ended its turn."""
    LENGTH = "length"
    """The response reached the token limit of one turn."""
    CONTEXT = "context"
    """The response filled what was left of the context window."""
    TRIMMED = "trimmed"
    """The response repeated itself at its end; all but the first of the repeats was removed."""
    ABORT = "abort"
    """The engine gave the response up."""
    ERROR = "error"
    """The server failed, filtered the response, or gave a reason that is not known."""

    @property
    def cut(self) -> bool:
        """Whether the response lacks its end: true for every reason but `STOP` and `TRIMMED`."""
        return self not in (Finish.STOP, Finish.TRIMMED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How to sample one turn."""

    temperature: float = 1.0
    """0 is greedy."""
    top_p: float = 1.0
    max_tokens: int = 1024
    """Most tokens of one response, the end token included."""
    stop_ids: tuple[int, ...] = ()
    """Token ids that end a response, beside the end tokens of the model itself."""
    seed: int | None = None
    """Decides every random draw, with the prompt; below 2**63. Without one the engine chooses."""
    max_repeats: int | None = None
    """Times that a response may end with the same tokens, as `repetition.repeats_at_end` counts
    them; null for any number. An engine may end such a response early, as if it had reached
    `max_tokens`; the policy removes the repeats."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Generated:
    """What an engine sampled: `ids` and `logprobs` have the same length, end token included."""

    ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    """Log-probability of each id under the sampling distribution, in nats."""
    finish: Finish
    versions: VersionSpans = ()
    """Which weights sampled which token; empty where the engine does not know."""

    @property
    def version(self) -> int:
        """The oldest of the versions that sampled it."""
        return oldest(self.versions)


class TokenEngine(Protocol):
    """Samples continuations of token ids. Many requests may be in flight at once."""

    async def generate(
        self, prompt_ids: Sequence[int], *, session: str, sampling: Sampling
    ) -> Generated:
        """Samples one continuation.

        `session` names the conversation: an engine may keep the KV cache of an earlier prompt of
        the same session, of which `prompt_ids` is then an extension. Raises `PolicyError`.
        """
        ...

    async def close_session(self, session: str) -> None:
        """Says that a session gets no more requests, so its cache can go."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One sampled assistant turn."""

    text: str
    finish: Finish
    finish_reason: str = ""
    """The server's own word for `finish`."""
    native_calls: tuple[WrittenCall, ...] = ()
    """Tool calls that the server has parsed; without any, calls are read from the text."""
    model: str = ""
    """Name of the model that wrote the reply."""
    resumable: bool = False
    """Whether `Conversation.reply(())` continues this response: its thinking was cut off, and has
    been closed by tokens that are part of the next prompt."""
    prompt_ids: tuple[int, ...] = ()
    """All token ids the response was conditioned on; empty for chat endpoints. Turn t+1 starts
    with turn t's `prompt_ids + response_ids` unless the context was rebuilt in between."""
    response_ids: tuple[int, ...] = ()
    logprobs: tuple[Number, ...] = ()
    """Of `response_ids`, under the distribution that sampled them, in nats."""
    prompt_tokens: int = 0
    response_tokens: int = 0
    versions: VersionSpans = ()
    """Which weights sampled which token of the response."""

    @property
    def version(self) -> int:
        """The oldest of the versions that sampled it."""
        return oldest(self.versions)


class Conversation(Protocol):
    """One agent's dialogue with the model."""

    async def reply(self, messages: Sequence[Message]) -> Reply:
        """Appends `messages`, samples the next assistant turn, and remembers it.

        Raises `ContextOverflow` when the messages don't fit the window, and `PolicyError`.
        """
        ...

    async def close(self) -> None:
        """Frees what the conversation holds. Calling it twice is fine."""
        ...


@runtime_checkable
class Policy(Protocol):
    """A language model that agents can talk to."""

    def open(
        self, tools: Sequence[ToolSpec], *, seed: int = 0, max_question_tokens: int | None = None
    ) -> Conversation:
        """A fresh conversation that knows these tools. `seed` tells equal prompts apart.

        With `max_question_tokens`, first messages that take more raise `ContextOverflow`.
        """
        ...
