"""Ids of conversations against an independent renderer, the package `renderers`.

Both get the same tokenizers: small ones made here, and those of the model folders that the variable
`WIDESEEK_TEST_TOKENIZERS` lists, parted as in `PATH`.
"""

import random
from collections.abc import Sequence
from typing import Any

import pytest
from renderers.configs import Llama3RendererConfig, Qwen3RendererConfig
from renderers.llama_3 import Llama3Renderer
from renderers.qwen3 import Qwen3Renderer
from tokenizers import Tokenizer

from wideseek_agents import ChatTokenizer
from wideseek_agents.policies.dialogue import Dialogue
from wideseek_core import Message

from .conftest import TEXTS
from .token_fixtures import TOKENIZERS

CONVERSATIONS = 300
WORDS = [
    *TEXTS[0].split()[:40],
    "\n",
    "\n\n",
    "  ",
    " ",
    "é",
    "海王星",
    "🪐",
    "|",
    "1,353",
    "{",
    '"',
]


class Plain:
    """A tokenizer as the other package wants it."""

    def __init__(self, tokenizer: Tokenizer, end: str) -> None:
        self._tokenizer = tokenizer
        self.name_or_path = "test"
        self.unk_token_id: int | None = None
        self.eos_token_id: int | None = tokenizer.token_to_id(end)

    def encode(self, text: str, *args: Any, **kwargs: Any) -> list[int]:
        return self._tokenizer.encode(text, add_special_tokens=False).ids

    def decode(self, token_ids: Any, *args: Any, **kwargs: Any) -> str:
        return self._tokenizer.decode(list(token_ids), skip_special_tokens=False)

    def convert_tokens_to_ids(self, tokens: Any) -> Any:
        known = self._tokenizer.token_to_id(tokens)
        return -1 if known is None else known  # such as `<|eom_id|>`, which Llama 3.0 lacks


def oracle(name: str) -> tuple[ChatTokenizer, Any]:
    """Our tokenizer of a name, and a renderer of theirs that may do as ours does."""
    raw = TOKENIZERS[name]
    tokenizer = ChatTokenizer(raw)
    if tokenizer.format.name == "llama3":
        return tokenizer, Llama3Renderer(Plain(raw, "<|eot_id|>"), Llama3RendererConfig())
    config = Qwen3RendererConfig(thinking_retention="all")
    return tokenizer, Qwen3Renderer(Plain(raw, "<|im_end|>"), config)


def is_known(tokenizer: Tokenizer) -> bool:
    """Whether the other package knows a model with such control tokens."""
    marks = tokenizer.get_vocab(with_added_tokens=True)
    return "<|eot_id|>" in marks or {"<|im_end|>", "<tool_response>", "</think>"} <= marks.keys()


KNOWN = [name for name, tokenizer in TOKENIZERS.items() if is_known(tokenizer)]


def words(rng: random.Random, length: int = 12) -> str:
    """A text without blanks at its ends, which templates strip."""
    return "x" + "".join(rng.choices(WORDS, k=rng.randrange(length))) + "y"


def theirs(messages: Sequence[Message]) -> list[dict[str, str]]:
    return [{"role": message.role, "content": message.content} for message in messages]


@pytest.mark.parametrize("name", KNOWN)
def test_a_first_prompt_has_the_ids_of_the_other_renderer(name: str) -> None:
    tokenizer, renderer = oracle(name)
    rng = random.Random(1)
    for _ in range(CONVERSATIONS):
        system = Message(role="system", content=words(rng))
        rest = [Message(role="user", content=words(rng))]
        for _ in range(rng.randrange(3)):
            rest.append(Message(role="assistant", content=words(rng)))
            rest.append(Message(role="user", content=words(rng)))
        ours = [*tokenizer.render(rest), *tokenizer.generation_prompt]
        found = renderer.render_ids(theirs([system, *rest]), add_generation_prompt=True)
        # A system message of Llama 3 holds a date in their template.
        assert list(found[-len(ours) :]) == ours
        if tokenizer.format.name == "chatml":
            assert list(found) == [*tokenizer.render([system]), *ours]


@pytest.mark.parametrize("name", KNOWN)
def test_a_conversation_grows_by_the_ids_of_the_other_renderer(name: str) -> None:
    """Turns whose responses end, or are cut off, followed by results of tools or by questions."""
    tokenizer, renderer = oracle(name)
    rng = random.Random(2)
    compared = 0
    for _ in range(CONVERSATIONS):
        dialogue = Dialogue(tokenizer, context_tokens=100_000)
        prompt = dialogue.ask([Message(role="user", content=words(rng))])
        for _ in range(rng.randrange(1, 5)):
            response = tokenizer.encode_data(words(rng))
            response += [tokenizer.end_id] if rng.random() < 0.7 else []
            dialogue.answer(response)
            # Llama 3 templates write results of tools as JSON strings.
            is_tool = tokenizer.format.name == "chatml" and rng.random() < 0.5
            message = Message(role="tool" if is_tool else "user", content=words(rng))
            following = dialogue.ask([message])
            found = renderer.bridge_to_next_turn(list(prompt), response, theirs([message]))
            assert found is not None
            assert list(found.token_ids) == list(following)
            prompt = following
            compared += 1
    assert compared > CONVERSATIONS
