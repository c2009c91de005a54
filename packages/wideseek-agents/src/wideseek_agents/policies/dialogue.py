"""The token ids of one growing conversation.

A turn's prompt is the earlier prompt, the sampled ids, and the ids of the new messages: what was
sampled is never decoded and encoded again.
"""

from collections.abc import Sequence

from wideseek_agents.tokens import ChatTokenizer
from wideseek_core import ContextOverflow, Finish, Message
from wideseek_core.counting import counted

_END_OF_THOUGHT = "\n</think>\n\n"


class Dialogue:
    """Grows by messages and responses, within a window of tokens."""

    def __init__(
        self,
        tokenizer: ChatTokenizer,
        *,
        context_tokens: int,
        max_question_tokens: int | None = None,
    ) -> None:
        self._tokenizer = tokenizer
        self._context_tokens = context_tokens
        self._max_question_tokens = max_question_tokens
        self._ids = list(tokenizer.start)
        self._begun = False
        self._resumes = False

    def ask(self, messages: Sequence[Message]) -> tuple[int, ...]:
        """Appends messages and returns the ids of the next prompt.

        Raises `ContextOverflow` if the first messages are longer than a question may be, or if
        the prompt leaves no room for a response.
        """
        new = self._tokenizer.render(messages)
        limit = self._max_question_tokens
        if not self._begun and limit is not None and len(new) > limit:
            raise ContextOverflow(
                f"the question takes {counted(len(new), 'token')}, more than {limit}"
            )
        self._begun = True
        self._ids += new
        if not self._resumes:
            self._ids += self._tokenizer.generation_prompt
        self._resumes = False
        if len(self._ids) >= self._context_tokens:
            raise ContextOverflow(
                f"a prompt of {counted(len(self._ids), 'token')} "
                f"leaves no room in {self._context_tokens}"
            )
        return tuple(self._ids)

    @property
    def room(self) -> int:
        """Tokens that are left of the window."""
        return self._context_tokens - len(self._ids)

    def finish(self, finish: Finish, max_tokens: int) -> Finish:
        """Why a response of at most `max_tokens` that is not yet appended stopped.

        The window is what cut it if less than `max_tokens` was left.
        """
        full = finish is Finish.LENGTH and self.room < max_tokens
        return Finish.CONTEXT if full else finish

    def answer(self, ids: Sequence[int]) -> None:
        """Appends a sampled response and closes its message."""
        self._ids += ids
        if not ids or ids[-1] != self._tokenizer.end_id:
            self._ids.append(self._tokenizer.end_id)
        self._ids += self._tokenizer.newline

    def close_thought(self, ids: Sequence[int]) -> None:
        """Appends a sampled response that was cut off while thinking, and ends its thinking.

        The next prompt continues the same message; what closes the thought was not sampled.
        """
        self._ids += [*ids, *self._tokenizer.encode_trusted(_END_OF_THOUGHT)]
        self._resumes = True
