"""Which code computes the model of a folder, and how models of each kind are saved."""

import logging
from pathlib import Path

import torch
from torch import nn

from wideseek_core import CheckpointError
from wideseek_rl.models.decoder import Decoder
from wideseek_rl.models.hf_config import unsupported
from wideseek_rl.models.hf_format import load_model, load_weights, save_model
from wideseek_rl.models.tensor_files import MAX_SHARD_BYTES, read_object
from wideseek_rl.models.transformers_model import (
    TransformersModel,
    load_transformers_model,
    save_transformers_model,
)

TrainableModel = Decoder | TransformersModel

logger = logging.getLogger(__name__)


def open_model(path: Path, device: torch.device | str, dtype: torch.dtype) -> TrainableModel:
    """The model in a folder: a `Decoder` where that computes it, else through `transformers`.

    Raises `CheckpointError` for a folder that is not whole, `ConfigError` where a library is
    missing.
    """
    reason = unsupported(read_object(path / "config.json"))
    if reason is None:
        return load_model(path, device, dtype)
    logger.info("%s is computed by transformers: %s", path, reason)
    return load_transformers_model(path, device, dtype)


def network(model: TrainableModel) -> nn.Module:
    """The module whose parameters carry the names of the checkpoint."""
    return model.inner if isinstance(model, TransformersModel) else model


def load_any_weights(model: TrainableModel, path: Path) -> None:
    """Copies the weights of a folder into a model that exists. Raises `CheckpointError`."""
    if isinstance(model, Decoder):
        return load_weights(model, path)
    parameter = next(model.parameters())
    saved = load_transformers_model(path, parameter.device, parameter.dtype)
    try:
        model.load_state_dict(saved.state_dict())
    except RuntimeError:
        raise CheckpointError(f"{path}: holds a model of another shape") from None


def save_any_model(
    model: TrainableModel,
    path: Path,
    tokenizer_file: Path | None,
    max_shard_bytes: int = MAX_SHARD_BYTES,
    *,
    writes: bool = True,
) -> None:
    """Writes a model folder in Hugging Face format, whole or not at all; see `save_model`."""
    if isinstance(model, TransformersModel):
        save_transformers_model(model, path, tokenizer_file, max_shard_bytes)
    else:
        save_model(model, path, tokenizer_file, max_shard_bytes=max_shard_bytes, writes=writes)
