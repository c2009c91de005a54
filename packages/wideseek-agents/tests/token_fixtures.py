"""Tokenizers of three chat formats: made here, cut from those of real models, and given ones."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

from tokenizers import (
    AddedToken,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    trainers,
)

from wideseek_agents.chat_formats import CHATML, LLAMA3, PHI, ChatFormat
from wideseek_agents.tokens import TAGS

from .conftest import TEXTS


def byte_level(known: ChatFormat, tags: Sequence[str]) -> Tokenizer:
    """A byte-level BPE, as Qwen, Llama 3 and SmolLM2 have."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(TEXTS, trainer)
    return marked(tokenizer, known, tags)


def sentence_piece(known: ChatFormat, tags: Sequence[str]) -> Tokenizer:
    """A BPE over characters with byte fallback, as Phi 3 and Llama 2 have."""
    trained = Tokenizer(models.BPE(unk_token="<unk>"))
    trained.normalizer = normalizers.Replace(" ", "▁")
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=["<unk>"], show_progress=False)
    trained.train_from_iterator(TEXTS, trainer)
    learnt = json.loads(trained.to_str())["model"]
    vocab = {"<unk>": 0} | {f"<0x{byte:02X}>": byte + 1 for byte in range(256)}
    vocab |= {text: len(vocab) + place for place, text in enumerate(list(learnt["vocab"])[1:])}
    merges = [tuple(pair) for pair in learnt["merges"]]
    model = models.BPE(vocab=vocab, merges=merges, byte_fallback=True, unk_token="<unk>")
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    return marked(tokenizer, known, tags)


def marked(tokenizer: Tokenizer, known: ChatFormat, tags: Sequence[str]) -> Tokenizer:
    texts = [*known.marks, *known.other_ends, *filter(None, [known.start])]
    tokenizer.add_special_tokens([AddedToken(text, special=True) for text in texts])  # pyright: ignore[reportUnknownMemberType]
    tokenizer.add_tokens([AddedToken(tag, normalized=False) for tag in tags])  # pyright: ignore[reportUnknownMemberType]
    return tokenizer


REAL = {
    folder.name: Tokenizer.from_file(str(folder / "tokenizer.json"))
    for folder in sorted((Path(__file__).parent / "tokenizers").iterdir())
    if folder.is_dir()
}
"""Tokenizers of models, cut to a small vocabulary."""


def given() -> dict[str, Tokenizer]:
    """Those of the model folders that the environment names."""
    folders = os.environ.get("WIDESEEK_TEST_TOKENIZERS", "").split(os.pathsep)
    files = [Path(folder) / "tokenizer.json" for folder in folders if folder]
    return {str(file.parent): Tokenizer.from_file(str(file)) for file in files}


TOKENIZERS = {
    "chatml": byte_level(CHATML, (*TAGS, "<|endoftext|>")),
    "llama3": byte_level(LLAMA3, ()),
    "phi": sentence_piece(PHI, TAGS[2:4]),
    **REAL,
    **given(),
}
