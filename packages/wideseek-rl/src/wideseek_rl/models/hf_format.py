"""Model folders in Hugging Face format: `config.json`, safetensors weights, tokenizer files.

Reads what is published for Qwen3 (one file or shards) and writes what other servers load. A folder
appears whole or not at all.
"""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file  # pyright: ignore[reportUnknownVariableType]
from torch import Tensor

from wideseek_core.errors import CheckpointError
from wideseek_core.files import folder_atomically
from wideseek_rl.models.qwen3 import Qwen3, Qwen3Config

ARCHITECTURE = "Qwen3ForCausalLM"
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
TOKENIZER_FILES = (
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "vocab.json",
    "merges.txt",
)
"""Copied along when they stand beside a `tokenizer.json`."""


def read_config(path: Path) -> Qwen3Config:
    """The config of a model folder. Raises `CheckpointError` naming file and key.

    End ids of `generation_config.json` count too, since that is where chat models list theirs.
    """
    file = path / "config.json"
    raw = _read_object(file)
    architectures = raw.get("architectures") or [ARCHITECTURE]
    if ARCHITECTURE not in architectures or raw.get("model_type", "qwen3") != "qwen3":
        raise CheckpointError(f"{file}: expected {ARCHITECTURE}, got {architectures}")
    try:
        config = config_from_json(raw)
    except KeyError as error:
        raise CheckpointError(f"{file}: missing key {error}") from None
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{file}: {error}") from None
    extra = path / "generation_config.json"
    if not extra.is_file():
        return config
    more = _ids(_read_object(extra).get("eos_token_id"))
    return replace(config, eos_ids=tuple(dict.fromkeys(config.eos_ids + more)))


def config_from_json(raw: dict[str, Any]) -> Qwen3Config:
    """A config from the keys of `config.json`; `ValueError` for what is not supported."""
    rope = _rope(raw)
    for key, wanted in (("attention_bias", False), ("use_sliding_window", False)):
        if raw.get(key, wanted) != wanted:
            raise ValueError(f"{key} = {raw[key]!r} is not supported")
    if raw.get("hidden_act", "silu") != "silu":
        raise ValueError(f"hidden_act = {raw['hidden_act']!r} is not supported")
    heads = int(raw["num_attention_heads"])
    hidden = int(raw["hidden_size"])
    return Qwen3Config(
        vocab_size=int(raw["vocab_size"]),
        hidden_size=hidden,
        layers=int(raw["num_hidden_layers"]),
        heads=heads,
        kv_heads=int(raw.get("num_key_value_heads") or heads),
        head_dim=int(raw.get("head_dim") or hidden // heads),
        ffn_size=int(raw["intermediate_size"]),
        tied_embeddings=bool(raw.get("tie_word_embeddings", False)),
        rope_theta=rope,
        norm_eps=float(raw.get("rms_norm_eps", 1e-6)),
        max_positions=int(raw.get("max_position_embeddings", 32_768)),
        eos_ids=_ids(raw.get("eos_token_id")),
        pad_id=raw.get("pad_token_id"),
        bos_id=raw.get("bos_token_id"),
    )


def config_to_json(config: Qwen3Config, dtype: torch.dtype) -> dict[str, Any]:
    """The keys of `config.json`, with the rotary base in its older and its newer spelling."""
    eos: int | list[int] | None = list(config.eos_ids) or None
    if len(config.eos_ids) == 1:
        eos = config.eos_ids[0]
    name = str(dtype).removeprefix("torch.")
    return {
        "architectures": [ARCHITECTURE],
        "model_type": "qwen3",
        "vocab_size": config.vocab_size,
        "hidden_size": config.hidden_size,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads,
        "head_dim": config.head_dim,
        "intermediate_size": config.ffn_size,
        "hidden_act": "silu",
        "attention_bias": False,
        "attention_dropout": 0.0,
        "use_sliding_window": False,
        "tie_word_embeddings": config.tied_embeddings,
        "rope_theta": config.rope_theta,
        "rope_parameters": {"rope_type": "default", "rope_theta": config.rope_theta},
        "rms_norm_eps": config.norm_eps,
        "max_position_embeddings": config.max_positions,
        "eos_token_id": eos,
        "pad_token_id": config.pad_id,
        "bos_token_id": config.bos_id,
        "dtype": name,
        "torch_dtype": name,
    }


def load_model(path: Path, device: torch.device | str, dtype: torch.dtype) -> Qwen3:
    """The model in a folder. Raises `CheckpointError` naming the file that is at fault."""
    config = read_config(path)
    with torch.device("meta"):
        model = Qwen3(config)
    wanted = {name: tensor.shape for name, tensor in model.state_dict().items()}
    found: dict[str, Tensor] = {}
    for file in _weight_files(path):
        for name, tensor in _tensors(file, device):
            shape = wanted.get(name)
            if shape is None:
                if _redundant(name, config):
                    continue
                raise CheckpointError(f"{file}: unknown tensor {name!r}")
            if tensor.shape != shape:
                raise CheckpointError(
                    f"{file}: {name!r} has shape {list(tensor.shape)}, "
                    f"config.json wants {list(shape)}"
                )
            found[name] = tensor.to(dtype)
    missing = [name for name in wanted if name not in found]
    if missing:
        raise CheckpointError(f"{path}: {len(missing)} tensors missing, first {missing[0]!r}")
    model.load_state_dict(found, assign=True)
    return model.requires_grad_(True)


def save_model(
    model: Qwen3, path: Path, tokenizer_file: Path | None, dtype: torch.dtype | None = None
) -> None:
    """Writes a model folder, replacing `path` only when all of it is written.

    Args:
        model: its parameters are saved as they are.
        path: the folder.
        tokenizer_file: a `tokenizer.json`; files that belong to it and stand beside it come along.
        dtype: of the saved weights; None keeps that of the parameters.
    """
    dtype = dtype or next(model.parameters()).dtype
    tensors = {
        name: tensor.detach().to("cpu", dtype).contiguous()
        for name, tensor in model.state_dict().items()
    }
    config = config_to_json(model.config, dtype)
    generation = {key: config[key] for key in ("eos_token_id", "pad_token_id", "bos_token_id")}
    with folder_atomically(path) as folder:
        write_tensors(tensors, folder / WEIGHTS)
        _write_object(folder / "config.json", config)
        _write_object(folder / "generation_config.json", generation)
        if tokenizer_file is not None:
            _copy_tokenizer(tokenizer_file, folder)


def write_tensors(tensors: dict[str, Tensor], path: Path) -> None:
    """Writes a safetensors file. Raises `CheckpointError` if the disk does not take it."""
    path.touch()
    mode = path.stat().st_mode
    try:
        save_file(tensors, path, metadata={"format": "pt"})
    except SafetensorError as error:
        raise CheckpointError(f"{path}: can't be written: {error}") from None
    path.chmod(mode)  # the library makes files that only their owner may read


def _copy_tokenizer(file: Path, folder: Path) -> None:
    if not file.is_file():
        raise CheckpointError(f"no such tokenizer file: {file}")
    shutil.copyfile(file, folder / "tokenizer.json")
    for name in TOKENIZER_FILES:
        beside = file.parent / name
        if beside.is_file():
            shutil.copyfile(beside, folder / name)


def _rope(raw: dict[str, Any]) -> float:
    """The rotary base, from `rope_parameters` (newer) or `rope_theta`."""
    newer: dict[str, Any] = raw.get("rope_parameters") or raw.get("rope_scaling") or {}
    kind = newer.get("rope_type", newer.get("type", "default"))
    if kind != "default":
        raise ValueError(f"rope_type = {kind!r} is not supported")
    return float(newer.get("rope_theta", raw.get("rope_theta", 10_000.0)))


def _ids(value: int | list[int] | None) -> tuple[int, ...]:
    if value is None:
        return ()
    return (value,) if isinstance(value, int) else tuple(value)


def _redundant(name: str, config: Qwen3Config) -> bool:
    """True for tensors that some writers add although they follow from the others."""
    return name.endswith("rotary_emb.inv_freq") or (
        name == "lm_head.weight" and config.tied_embeddings
    )


def _weight_files(path: Path) -> list[Path]:
    index = path / INDEX
    if (path / WEIGHTS).is_file() or not index.is_file():
        return [path / WEIGHTS]
    names = _read_object(index).get("weight_map")
    if not isinstance(names, dict) or not names:
        raise CheckpointError(f"{index}: missing key 'weight_map'")
    return [path / name for name in sorted(set(cast(dict[str, str], names).values()))]


def _tensors(file: Path, device: torch.device | str) -> Iterator[tuple[str, Tensor]]:
    if not file.is_file():
        raise CheckpointError(f"no such file: {file}")
    try:
        with cast(Any, safe_open(file, framework="pt", device=str(device))) as weights:
            for name in weights.keys():  # noqa: SIM118 - not a mapping
                yield name, weights.get_tensor(name)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{file}: not a whole safetensors file: {error}") from None


def _read_object(file: Path) -> dict[str, Any]:
    try:
        value: object = json.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"no such file: {file}") from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{file}: not JSON: {error}") from None
    if not isinstance(value, dict):
        raise CheckpointError(f"{file}: expected a JSON object")
    return cast(dict[str, Any], value)


def _write_object(file: Path, value: dict[str, Any]) -> None:
    file.write_text(json.dumps(value, indent=2) + "\n", "utf-8")
