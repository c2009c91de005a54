"""Chat messages as token ids, in the chat format of the tokenizer.

Text of users and tools is data: whatever it spells, it never yields a control token. Control ids
come from the layout, and from system prompts and responses, whose tags are meant.
"""

import json
import re
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from wideseek_agents.chat_formats import CHATML, FORMATS, format_for
from wideseek_core import CorruptFile, DataError, Message, Role
from wideseek_core.extras import require_modules
from wideseek_core.text import clean

if TYPE_CHECKING:
    from tokenizers import Tokenizer

START, END = CHATML.marks
Encode = Callable[[str], list[int]]
TAGS = (
    "<think>",
    "</think>",
    "<tool_call>",
    "</tool_call>",
    "<tool_response>",
    "</tool_response>",
)
_CACHED_PROMPTS = 256
_CACHED_MESSAGES = 2048
"""Users' and tools': rollouts of one task read the same pages."""
_CACHED_CHARACTERS = 8192
"""Longest message that is cached."""
MAX_TOKENS_OF_CHARACTER = 4
"""A byte each is the worst case."""


class ChatTokenizer:
    """Renders messages as ids, and decodes what was sampled.

    Works with any tokenizer that has the control tokens of a known chat format; tags such as
    `<tool_call>` are single ids where the tokenizer knows them, and plain text elsewhere.

    Example: `ChatTokenizer.load(Path("model")).render([Message(role="user", content="Hi")])`
    """

    def __init__(self, tokenizer: "Tokenizer") -> None:
        description: dict[str, Any] = json.loads(tokenizer.to_str())
        added: list[dict[str, Any]] = description["added_tokens"]
        self._control = {str(token["content"]): int(token["id"]) for token in added}
        marks = [mark for known in FORMATS for mark in (*known.marks, known.start) if mark]
        for text in (*marks, *TAGS):
            known = tokenizer.token_to_id(text)
            if known is not None:
                self._control[text] = known
        self.format = format_for(self._control)
        """The layout of messages."""
        # Without added tokens no text can match one. Truncation and padding must not touch ids.
        description |= {"added_tokens": [], "truncation": None, "padding": None}
        self._plain: Tokenizer = type(tokenizer).from_str(json.dumps(description))
        self._full = tokenizer
        self.control_ids = frozenset(self._control.values())
        """Ids that text of users and tools never yields."""
        self.end_id = self._control[self.format.end]
        """The id that ends a message."""
        self._ends = {self.end_id} | {
            self._control[text] for text in self.format.other_ends if text in self._control
        }
        self._tags = _any_of([tag for tag in TAGS if tag in self._control])
        self._spelled = _any_of(list(self._control))
        self.newline = tuple(self.encode_data(self.format.after)) if self.format.after else ()
        """What follows the end of a message."""
        self.start = tuple(
            self._control[text] for text in (self.format.start,) if text in self._control
        )
        """What comes before the first message."""
        self.generation_prompt = tuple(self._header("assistant", self.encode_data))
        """What makes the model write the next assistant turn."""
        self._system = lru_cache(_CACHED_PROMPTS)(self._render_system)
        self._short = lru_cache(_CACHED_MESSAGES)(self._render_data)

    @classmethod
    def load(cls, folder: Path) -> "ChatTokenizer":
        """The tokenizer in `folder/tokenizer.json`.

        Raises `DataError`, and `ConfigError` if the extra `tokens` is not installed.
        """
        require_modules("tokenizers", feature="a tokenizer", install="wideseek-agents[tokens]")
        from tokenizers import Tokenizer  # policies over messages need none

        path = folder / "tokenizer.json"
        if not path.is_file():
            raise DataError(f"no such file: {path}")
        try:
            tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # noqa: BLE001 - the library raises bare Exception
            raise CorruptFile(f"{path}: not a tokenizer: {error}") from None
        try:
            return cls(tokenizer)
        except DataError as error:
            raise DataError(f"{path}: {error}") from None

    @property
    def vocab_size(self) -> int:
        """Number of ids, added tokens included."""
        return self._full.get_vocab_size(with_added_tokens=True)

    def encode_data(self, text: str) -> list[int]:
        """Ids of text that is not trusted: never a control id."""
        ids = self._encode(text)
        if self.control_ids.isdisjoint(ids):
            return ids
        return [id for id in self._encode_broken(text) if id not in self.control_ids]

    def encode_trusted(self, text: str) -> list[int]:
        """Ids of a system prompt or a response: tags such as `<tool_call>` become control ids.

        The marks that open and close messages are no tags: they can't be written as text.
        """
        if self._tags is None:
            return self.encode_data(text)
        ids: list[int] = []
        for piece in self._tags.split(text):
            if piece in TAGS:
                ids.append(self._control[piece])
            elif piece:
                ids += self.encode_data(piece)
        return ids

    def encode_response(self, text: str) -> list[int]:
        """Ids of a whole assistant turn as a model would sample it, the end token included."""
        return [*self.encode_trusted(text), self.end_id]

    def render(self, messages: Sequence[Message]) -> list[int]:
        """Ids of whole messages, each closed and followed by a newline."""
        ids: list[int] = []
        for message in messages:
            ids += self._render(message)
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """The text of a response, tags included, without the tokens that ended it."""
        whole = len(ids)
        while whole and ids[whole - 1] in self._ends:
            whole -= 1
        return self._full.decode(list(ids[:whole]), skip_special_tokens=False)

    def token_texts(self, ids: Sequence[int]) -> list[str]:
        """The text of each token, special ones included.

        A character of several tokens is the text of the last of them; those before have none.
        """
        texts: list[str] = []
        waiting: list[int] = []
        for place, token in enumerate(ids):
            waiting.append(token)
            text = self._full.decode(waiting, skip_special_tokens=False)
            broken = text.endswith("\ufffd") and len(waiting) < MAX_TOKENS_OF_CHARACTER
            if broken and place + 1 < len(ids):
                texts.append("")
            else:
                texts.append(text)
                waiting = []
        return texts

    def _render(self, message: Message) -> Sequence[int]:
        content = message.content
        match message.role:
            case "system":
                return self._system(content)
            case "assistant":
                return self._closed(self._header("assistant", self.encode_trusted, content))
            case role:
                short = len(content) <= _CACHED_CHARACTERS
                return (self._short if short else self._render_data)(role, content)

    def _render_data(self, role: Literal["user", "tool"], content: str) -> Sequence[int]:
        """Ids in 4 bytes each, as thousands of messages are cached: a tuple takes up to 36."""
        if role == "tool":
            ids = self._tool_response(content)
        else:
            ids = self._header(role, self.encode_data, content)
        return array("I", self._closed(ids))

    def _render_system(self, content: str) -> Sequence[int]:
        return self._closed(self._header("system", self.encode_trusted, content))

    def _header(self, role: Role, encode: Encode, content: str = "") -> Iterator[int]:
        """The header of a message, and its content, which merges with the header's last text."""
        *before, last = self.format.pieces(role)
        for piece in before:
            yield from [self._control[piece]] if piece in self._control else encode(piece)
        yield from encode(last + content)

    def _tool_response(self, content: str) -> Iterator[int]:
        opening, closing = TAGS[4:]
        if not self.format.wraps_results:
            yield from self._header("tool", self.encode_data, content)
        elif opening in self._control and closing in self._control:
            yield from self._header("tool", self.encode_data)
            yield self._control[opening]
            yield from self.encode_data(f"\n{content}\n")
            yield self._control[closing]
        else:
            wrapped = f"{opening}\n{content}\n{closing}"
            yield from self._header("tool", self.encode_data, wrapped)

    def _closed(self, inner: Iterable[int]) -> Sequence[int]:
        return (*inner, self.end_id, *self.newline)

    def _encode(self, text: str) -> list[int]:
        return self._plain.encode(clean(text), add_special_tokens=False).ids

    def _encode_broken(self, text: str) -> Iterator[int]:
        """Control strings letter by letter: for models that look whole words up."""
        for piece in self._spelled.split(text) if self._spelled else [text]:
            for part in piece if piece in self._control else [piece]:
                yield from self._encode(part)


def _any_of(strings: Sequence[str]) -> re.Pattern[str] | None:
    """A pattern that splits a text at these strings and keeps them; longer ones first."""
    ordered = sorted(filter(None, strings), key=len, reverse=True)
    return re.compile(f"({'|'.join(map(re.escape, ordered))})") if ordered else None
