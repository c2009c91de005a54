"""Model folders in Hugging Face format: `config.json`, safetensors weights, tokenizer files.

Reads what is published for the families that `Decoder` computes and writes what other programs
load. A folder appears whole or not at all.
"""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from wideseek_core import CheckpointError
from wideseek_core.counting import counted
from wideseek_core.files import folder_atomically
from wideseek_rl.models.config import DecoderConfig
from wideseek_rl.models.decoder import Decoder
from wideseek_rl.models.hf_config import config_from_json, config_to_json, token_ids
from wideseek_rl.models.lora import PlainState, has_adapter
from wideseek_rl.models.spread import fill
from wideseek_rl.models.tensor_files import (
    MAX_SHARD_BYTES,
    read_object,
    read_tensors,
    write_model_tensors,
    write_object,
)

TOKENIZER_FILES = (
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "vocab.json",
    "merges.txt",
    "wideseek.json",
)
"""Copied along when they stand beside a `tokenizer.json`."""
PROMPTS_FOLDER = "wideseek-prompts"
"""Prompt sets that `wideseek.json` names, which are copied along as well."""

EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"


def read_config(path: Path) -> DecoderConfig:
    """The config of a model folder. Raises `CheckpointError` naming file and key.

    End ids of `generation_config.json` count too, since that is where chat models list theirs.
    """
    file = path / "config.json"
    try:
        config = config_from_json(read_object(file))
    except KeyError as error:
        raise CheckpointError(f"{file}: missing key {error}") from None
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{file}: {error}") from None
    return replace(config, eos_ids=end_ids(path, config.eos_ids))


def end_ids(path: Path, known: tuple[int, ...]) -> tuple[int, ...]:
    """The ids that end a response: those of `config.json`, and of `generation_config.json`."""
    extra = path / "generation_config.json"
    if not extra.is_file():
        return known
    try:
        more = token_ids(read_object(extra).get("eos_token_id"))
    except ValueError as error:
        raise CheckpointError(f"{extra}: eos_token_id: {error}") from None
    return tuple(dict.fromkeys(known + more))


def load_model(path: Path, device: torch.device | str, dtype: torch.dtype) -> Decoder:
    """The model in a folder. Raises `CheckpointError` naming the file that is at fault."""
    config = read_config(path)
    with torch.device("meta"):
        model = Decoder(config)
    model.load_state_dict(_state(model, path, device, dtype), assign=True)
    return model.requires_grad_(True)


def load_weights(model: Decoder, path: Path) -> None:
    """Copies the weights of a folder into a model that exists.

    Raises `CheckpointError` for those of a model of another shape.
    """
    parameter = next(model.parameters())
    state = _state(model, path, "cpu", parameter.dtype)
    for name, own in model.state_dict().items():
        fill(own, state[name])


def save_model(
    model: Decoder,
    path: Path,
    tokenizer_file: Path | None,
    dtype: torch.dtype | None = None,
    max_shard_bytes: int = MAX_SHARD_BYTES,
    *,
    writes: bool = True,
) -> None:
    """Writes a model folder, replacing `path` only when all of it is written.

    Args:
        model: its parameters are saved as they are, adapters merged into them.
        path: the folder.
        tokenizer_file: a `tokenizer.json`; files that belong to it and stand beside it come along.
        dtype: of the saved weights; None keeps that of the parameters.
        max_shard_bytes: size above which the weights are written as several files.
        writes: False for ranks of a sharded model that only take part in gathering it.
    """
    dtype = dtype or next(model.parameters()).dtype

    def write(folder: Path) -> None:
        tensors = PlainState(model) if has_adapter(model) else model.state_dict()
        write_model_tensors(tensors, folder, dtype, max_shard_bytes, writes=writes)

    if not writes:
        write(path)
        return
    save_folder(model.config, path, tokenizer_file, dtype, write)


def save_folder(
    config: DecoderConfig,
    path: Path,
    tokenizer_file: Path | None,
    dtype: torch.dtype,
    write: Callable[[Path], None],
) -> None:
    """A model folder whose weights `write` puts there."""
    raw = config_to_json(config, str(dtype).removeprefix("torch."))
    generation = {key: raw[key] for key in ("eos_token_id", "pad_token_id", "bos_token_id")}
    with folder_atomically(path) as folder:
        write(folder)
        write_object(folder / "config.json", raw)
        write_object(folder / "generation_config.json", generation)
        if tokenizer_file is not None:
            copy_tokenizer(tokenizer_file, folder)


def copy_tokenizer(file: Path, folder: Path) -> None:
    """Copies a `tokenizer.json` and the files that belong to it. Raises `CheckpointError`."""
    if not file.is_file():
        raise CheckpointError(f"no such tokenizer file: {file}")
    shutil.copyfile(file, folder / "tokenizer.json")
    for name in TOKENIZER_FILES:
        beside = file.parent / name
        if beside.is_file():
            shutil.copyfile(beside, folder / name)
    if (prompts := file.parent / PROMPTS_FOLDER).is_dir():
        shutil.copytree(prompts, folder / PROMPTS_FOLDER, dirs_exist_ok=True)


def _state(
    model: Decoder, path: Path, device: torch.device | str, dtype: torch.dtype
) -> dict[str, Tensor]:
    """A folder's tensors by the names of the model's parameters."""
    wanted = {name: tensor.shape for name, tensor in model.state_dict().items()}
    found: dict[str, Tensor] = {}
    head: Tensor | None = None  # of a model that has none of its own
    for file, name, tensor in read_tensors(path, device):
        shape = wanted.get(name)
        if name == HEAD and model.config.tied_embeddings:
            head, shape = tensor, wanted[EMBEDDING]
        elif shape is None:
            if name.endswith("rotary_emb.inv_freq"):
                continue
            raise CheckpointError(f"{file}: unknown tensor {name!r}")
        if tensor.shape != shape:
            raise CheckpointError(
                f"{file}: {name!r} has shape {list(tensor.shape)}, expected {list(shape)}"
            )
        if name in wanted:
            found[name] = tensor.to(dtype)
    if head is not None:
        # Some writers keep only one of two tied matrices, and not always the embedding.
        found.setdefault(EMBEDDING, head.to(dtype))
    missing = [name for name in wanted if name not in found]
    if missing:
        raise CheckpointError(
            f"{path}: {counted(len(missing), 'tensor')} missing, first {missing[0]!r}"
        )
    return found
