"""An agent's conversation with its policy, which may be anybody's code and raise anything."""

import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from wideseek_agents.factory import Agent
from wideseek_core import Conversation, Message, PolicyError, Reply, WideSeekError
from wideseek_core.text import one_line

logger = logging.getLogger(__name__)

_ERROR_CHARS = 300


@asynccontextmanager
async def open_conversation(agent: Agent, *, seed: int) -> AsyncGenerator[Conversation]:
    """The conversation of an agent, closed at the end of the block.

    An exception of the policy's own is a `PolicyError`, here and of each reply, so that it ends
    this agent and no other; the log has its traceback. What closing raises is only logged: the
    agent's answer is there by then.
    """
    try:
        opened = agent.policy.open(
            [tool.spec for tool in agent.tools],
            seed=seed,
            max_question_tokens=agent.limits.max_question_tokens,
        )
    except WideSeekError:
        raise
    except Exception as error:
        raise _failure(error) from error
    try:
        yield _Guarded(opened)
    finally:
        try:
            await opened.close()
        except Exception:
            logger.exception("a conversation could not be closed")


@dataclass(frozen=True, slots=True)
class _Guarded:
    """A conversation that raises what `Conversation` says; a `Conversation`."""

    opened: Conversation

    async def reply(self, messages: Sequence[Message]) -> Reply:
        """See `Conversation`."""
        try:
            return await self.opened.reply(messages)
        except WideSeekError:
            raise
        except Exception as error:
            raise _failure(error) from error

    async def close(self) -> None:
        """See `Conversation`."""
        await self.opened.close()


def _failure(error: Exception) -> PolicyError:
    logger.error("a policy failed with an exception of its own", exc_info=error)
    words = one_line(str(error))[:_ERROR_CHARS]
    kind = type(error).__name__
    return PolicyError(
        f"the policy raised {kind}: {words}" if words else f"the policy raised {kind}"
    )
