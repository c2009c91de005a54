"""Who can be asked for verdicts: an endpoint, any function of messages, or a rollout engine."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from pydantic import JsonValue

from wideseek_core import Finish, Message, Policy, Reply
from wideseek_core.errors import JudgeError, NoVerdict, WideSeekError

Schema = dict[str, JsonValue]
"""A JSON schema of the object that a reply should be."""


class Chat(Protocol):
    """Any language model that answers messages."""

    async def __call__(self, messages: Sequence[Message]) -> Reply | str:
        """The reply, sampled greedily. Raises `NoVerdict` or `JudgeError`."""
        ...


@runtime_checkable
class StructuredChat(Protocol):
    """A language model that can be held to a JSON schema."""

    async def complete(self, messages: Sequence[Message], schema: Schema | None = None) -> Reply:
        """The reply, by the schema where the model's server supports that."""
        ...


class PolicyChat:
    """A policy as the judge: the rollout engine itself, say. One conversation a request.

    The policy's own sampling settings hold; give it a greedy one.
    """

    def __init__(self, policy: Policy) -> None:
        self._policy = policy

    async def __call__(self, messages: Sequence[Message]) -> Reply:
        """The first turn of a conversation without tools."""
        conversation = self._policy.open(())
        try:
            return await conversation.reply(messages)
        finally:
            await conversation.close()


async def ask(
    chat: Chat | StructuredChat, messages: Sequence[Message], schema: Schema | None
) -> Reply:
    """One reply, whatever kind of model gives it. Raises `JudgeError`."""
    try:
        if isinstance(chat, StructuredChat):
            return await chat.complete(messages, schema)
        reply = await chat(messages)
    except JudgeError:
        raise
    except WideSeekError as error:  # of an engine of our own
        raise NoVerdict(str(error)) from error
    return reply if isinstance(reply, Reply) else Reply(text=reply, finish=Finish.STOP)
