"""Adam's state and the master weights as a safetensors file, keyed by parameter name."""

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file  # pyright: ignore[reportUnknownVariableType]
from torch import Tensor

from wideseek_core import CheckpointError
from wideseek_rl.models.spread import fill, whole
from wideseek_rl.models.tensor_files import write_tensors
from wideseek_rl.trainers.masters import MasterAdamW

MOMENTS = ("exp_avg", "exp_avg_sq", "step")
MASTER = "master"


def save_optimizer(
    optimizer: MasterAdamW, path: Path, updates: int, loss_scale: float, *, writes: bool = True
) -> None:
    """Writes the moments of every weight that has been updated, and masters that are copies.

    Ranks that do not write take part in gathering.
    """
    tensors = {
        "updates": torch.tensor(updates),
        "loss_scale": torch.tensor(loss_scale, dtype=torch.float64),
    }
    for name, master, copied in optimizer.named_masters():
        state = optimizer.inner.state.get(master, {})
        for moment in MOMENTS:
            if moment in state:
                _keep(tensors, f"{moment}.{name}", state[moment], writes)
        if copied:
            _keep(tensors, f"{MASTER}.{name}", master, writes)
    if writes:
        write_tensors(tensors, path)


def load_optimizer(optimizer: MasterAdamW, path: Path) -> tuple[int, float | None]:
    """Puts saved masters and moments back; gives the updates they had seen, and the loss scale.

    The model's weights are loaded already: masters of other precision that were not saved start
    from them. Raises `CheckpointError`.
    """
    tensors, updates = _read(path)
    scale = tensors.pop("loss_scale", None)
    optimizer.inner.state.clear()
    optimizer.adopt()
    for name, master, _ in optimizer.named_masters():
        kept = tensors.pop(f"{MASTER}.{name}", None)
        if kept is not None:
            _fits(kept, master, path, name)
            fill(master.data, kept)
        found = [tensors.pop(f"{moment}.{name}", None) for moment in MOMENTS]
        moments = [tensor for tensor in found if tensor is not None]
        if not moments:
            continue
        if len(moments) != len(MOMENTS):
            raise CheckpointError(f"{path}: state of {name!r} does not fit the model")
        mean, square, step = moments
        _fits(mean, master, path, name)
        moments = {"exp_avg": mean, "exp_avg_sq": square}
        state = {moment: torch.zeros_like(master) for moment in moments}
        for moment, values in moments.items():
            fill(state[moment], values)
        optimizer.inner.state[master] = {**state, "step": step.to(master.device)}
    if tensors:
        raise CheckpointError(f"{path}: state of unknown parameter {min(tensors)!r}")
    optimizer.publish()
    return updates, None if scale is None else float(scale)


def _fits(tensor: Tensor, master: Tensor, path: Path, name: str) -> None:
    if tensor.shape != master.shape:
        raise CheckpointError(f"{path}: state of {name!r} does not fit the model")


def _keep(tensors: dict[str, Tensor], name: str, tensor: Tensor, writes: bool) -> None:
    gathered = whole(tensor.detach())
    if writes:
        tensors[name] = gathered.cpu().contiguous()


def _read(path: Path) -> tuple[dict[str, Tensor], int]:
    try:
        tensors = load_file(path)
        return tensors, int(tensors.pop("updates"))
    except (SafetensorError, OSError, KeyError) as error:
        raise CheckpointError(f"{path}: not a whole optimizer file: {error}") from None
