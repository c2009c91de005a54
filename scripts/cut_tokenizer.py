"""Cuts the tokenizer of a model to a small vocabulary, for tests.

The first tokens of the vocabulary, the merges among them, and the control tokens are kept; what
they are called and how text is split stays as it is.

    python scripts/cut_tokenizer.py FOLDER/tokenizer.json TARGET/tokenizer.json [--size 1500]
"""

import argparse
import json
from pathlib import Path
from typing import Any

RESERVED = "reserved_special_token"
MAX_RESERVED = 3
"""Control tokens without a meaning that are kept."""


def cut(tokenizer: dict[str, Any], size: int) -> dict[str, Any]:
    """The description of a byte-level BPE with at most `size` tokens besides the added ones."""
    model = tokenizer["model"]
    added = [token for token in tokenizer["added_tokens"] if RESERVED not in token["content"]]
    reserved = [token for token in tokenizer["added_tokens"] if RESERVED in token["content"]]
    added += reserved[:MAX_RESERVED]
    ordered = sorted(model["vocab"].items(), key=lambda item: item[1])
    # Every byte is kept: some vocabularies begin with frequent pieces.
    names = {token["content"] for token in tokenizer["added_tokens"]}
    learnt = [(text, number) for text, number in ordered if text not in names]
    kept = {text for text, _ in learnt if len(text) == 1}
    longer = [text for text, _ in learnt if len(text) > 1]
    kept |= set(longer[: size - len(kept)])
    vocab = {text: place for place, (text, _) in enumerate(t for t in learnt if t[0] in kept)}
    pairs: list[list[str]] = [
        merge.split(" ") if isinstance(merge, str) else merge for merge in model["merges"]
    ]
    model["merges"] = [" ".join(pair) for pair in pairs if {*pair, "".join(pair)} <= kept]
    for place, token in enumerate(added, start=len(vocab)):
        token["id"] = place
    model["vocab"] = vocab
    ids = {token["content"]: token["id"] for token in added}
    _renumber(tokenizer["post_processor"], ids)
    return {**tokenizer, "added_tokens": added}


def _renumber(processor: dict[str, Any] | None, ids: dict[str, int]) -> None:
    """Gives the control tokens that a template of the tokenizer holds their new numbers."""
    if processor is None:
        return
    for inner in processor.get("processors", []):
        _renumber(inner, ids)
    if processor["type"] == "TemplateProcessing":
        for name, token in processor["special_tokens"].items():
            token["ids"] = [ids[name]]


def main() -> None:
    """Writes the cut tokenizer."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--size", type=int, default=1500)
    given = parser.parse_args()
    tokenizer = json.loads(given.source.read_text("utf-8"))
    text = json.dumps(cut(tokenizer, given.size), ensure_ascii=False, separators=(",", ":"))
    given.target.parent.mkdir(parents=True, exist_ok=True)
    given.target.write_text(text + "\n", "utf-8")


if __name__ == "__main__":
    main()
