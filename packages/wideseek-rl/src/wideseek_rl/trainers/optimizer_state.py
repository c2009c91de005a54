"""Adam's state as a safetensors file, keyed by parameter name: readable, and no pickle."""

from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file  # pyright: ignore[reportUnknownVariableType]
from torch import Tensor, nn

from wideseek_core import CheckpointError
from wideseek_rl.models.tensor_files import write_tensors

MOMENTS = ("exp_avg", "exp_avg_sq", "step")


def save_optimizer(
    optimizer: torch.optim.Optimizer, model: nn.Module, path: Path, updates: int
) -> None:
    """Writes the moments of every parameter that has been updated."""
    tensors = {
        f"{moment}.{name}": optimizer.state[parameter][moment].detach().cpu().contiguous()
        for name, parameter in _parameters(model)
        if parameter in optimizer.state
        for moment in MOMENTS
    }
    write_tensors({"updates": torch.tensor(updates), **tensors}, path)


def load_optimizer(optimizer: torch.optim.Optimizer, model: nn.Module, path: Path) -> int:
    """Puts the saved moments back; returns the number of updates they had seen.

    Raises `CheckpointError`.
    """
    tensors, updates = _read(path)
    optimizer.state.clear()
    for name, parameter in _parameters(model):
        found = [tensors.pop(f"{moment}.{name}", None) for moment in MOMENTS]
        kept = [tensor for tensor in found if tensor is not None]
        if not kept:
            continue
        if len(kept) != len(MOMENTS) or kept[0].shape != parameter.shape:
            raise CheckpointError(f"{path}: state of {name!r} does not fit the model")
        mean, square, step = kept
        device = parameter.device
        optimizer.state[parameter] = {
            "exp_avg": mean.to(device),
            "exp_avg_sq": square.to(device),
            "step": step.to(device),
        }
    if tensors:
        raise CheckpointError(f"{path}: state of unknown parameter {min(tensors)!r}")
    return updates


def _read(path: Path) -> tuple[dict[str, Tensor], int]:
    try:
        tensors = load_file(path)
        return tensors, int(tensors.pop("updates"))
    except (SafetensorError, OSError, KeyError) as error:
        raise CheckpointError(f"{path}: not a whole optimizer file: {error}") from None


def _parameters(model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            yield name, parameter
