"""The small tokenizer of the start policy: byte-level BPE, single digits, Qwen3's control tokens.

The frames of tool calls are kept whole before merging, so that each costs one token or two: a
policy that runs on a laptop spends its tokens on what it has to say.
"""

from collections.abc import Iterable
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from wideseek_core.files import write_atomically

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
TAGS = (
    "<think>",
    "</think>",
    "<tool_call>",
    "</tool_call>",
    "<tool_response>",
    "</tool_response>",
)
PAD, END = "<|endoftext|>", "<|im_end|>"

FRAMES = (
    r'\{"name": "create_sub_agents", "arguments": \{"sub_agents": \[\{"prompt": "',
    r'\{"name": "search", "arguments": \{"queries": \[\{"query": "',
    r'\{"name": "access", "arguments": \{"urls": \[\{"url": "',
    r'\{"name": "search", "arguments": \{"query": "',
    r'\{"name": "access", "arguments": \{"url": "',
    r'"\}, \{"(?:prompt|query|url)": "',
    r'"\}\]\}\}|"\}\}',
    r"```markdown\n\||\n```| \|\n\|(?: --- \|)+\n\|| \|\n\|",
    r" ?(?:https?://|atlas:)",
)
"""What the calls and tables of the spec look like; anything else is split as usual."""

WORDS = r"[ _]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}_]+|_|\s+"
"""A word with its leading space or underscore, one digit, a run of punctuation, white space."""


def train_vocabulary(texts: Iterable[str], size: int) -> Tokenizer:
    """A tokenizer of at most `size` ids, learnt from plain texts (control tokens left out)."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex("|".join((*FRAMES, WORDS))), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=[*SPECIAL, *TAGS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    # As in Qwen3's own tokenizer the tags are added but not special: decoding keeps them.
    tags = [AddedToken(tag, special=False, normalized=False) for tag in TAGS]
    tokenizer.add_tokens(tags)  # pyright: ignore[reportUnknownMemberType]
    return tokenizer


def token_id(tokenizer: Tokenizer, text: str) -> int:
    """The id of a token that the vocabulary is known to have."""
    found = tokenizer.token_to_id(text)
    assert found is not None, text
    return found


def save_vocabulary(tokenizer: Tokenizer, path: Path) -> None:
    """Writes `tokenizer.json`."""
    write_atomically(path, tokenizer.to_str())
