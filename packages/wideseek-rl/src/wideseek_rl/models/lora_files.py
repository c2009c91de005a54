"""The files of a LoRA adapter in PEFT's format, read without the library."""

from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file  # pyright: ignore[reportUnknownVariableType]
from torch import Tensor

from wideseek_core import CheckpointError
from wideseek_rl.models.lora_config import ADAPTER_CONFIG
from wideseek_rl.models.tensor_files import read_object

WEIGHTS = "adapter_model.safetensors"

UNSUPPORTED = {
    "bias": "none",
    "lora_bias": False,
    "modules_to_save": None,
    "layer_replication": None,
    "target_parameters": None,
    "trainable_token_indices": None,
    "use_dora": False,
    "use_qalora": False,
}
"""Settings of an adapter's file that must be absent or so."""


def read_settings(folder: Path) -> dict[str, Any]:
    """The settings of an adapter that is a plain LoRA one. Raises `CheckpointError`."""
    file = folder / ADAPTER_CONFIG
    raw = read_object(file)
    if raw.get("peft_type") != "LORA":
        raise CheckpointError(f"{file}: peft_type is {raw.get('peft_type')!r}, not LORA")
    for key, value in UNSUPPORTED.items():
        if raw.get(key, value) != value:
            raise CheckpointError(f"{file}: {key}={raw[key]!r} is not supported")
    return raw


def read_tensors(folder: Path) -> dict[str, Tensor]:
    """The matrices of an adapter, by their names in its file. Raises `CheckpointError`."""
    file = folder / WEIGHTS
    if not file.is_file():
        raise CheckpointError(f"no such file: {file}")
    try:
        return load_file(file)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{file}: not a whole safetensors file: {error}") from None
