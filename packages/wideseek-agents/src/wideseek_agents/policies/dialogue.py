"""The token ids of one growing conversation.

A turn's prompt is the earlier prompt, the sampled ids, and the ids of the new messages: what was
sampled is never decoded and encoded again.
"""

from collections.abc import Sequence

from wideseek_agents.tokens import ChatTokenizer
from wideseek_core import ContextOverflow, Message


class Dialogue:
    """Grows by messages and responses, within a window of tokens."""

    def __init__(self, tokenizer: ChatTokenizer, *, window: int, question_tokens: int) -> None:
        self._tokenizer = tokenizer
        self._window = window
        self._question_tokens = question_tokens
        self._ids: list[int] = []

    def ask(self, messages: Sequence[Message]) -> tuple[int, ...]:
        """Appends messages and returns the ids of the next prompt.

        Raises `ContextOverflow` if the first messages are longer than a question may be, or if
        the prompt leaves no room for a response.
        """
        first = not self._ids
        new = self._tokenizer.render(messages)
        if first and len(new) > self._question_tokens:
            raise ContextOverflow(
                f"the question takes {len(new)} tokens, more than {self._question_tokens}"
            )
        self._ids += [*new, *self._tokenizer.generation_prompt]
        if len(self._ids) >= self._window:
            raise ContextOverflow(
                f"a prompt of {len(self._ids)} tokens leaves no room in {self._window}"
            )
        return tuple(self._ids)

    def room(self, most: int) -> int:
        """Tokens that the next response may take: `most`, or what is left of the window."""
        return min(most, self._window - len(self._ids))

    def answer(self, ids: Sequence[int]) -> None:
        """Appends a sampled response and closes its message."""
        self._ids += ids
        if not ids or ids[-1] != self._tokenizer.end_id:
            self._ids.append(self._tokenizer.end_id)
        self._ids += self._tokenizer.newline
