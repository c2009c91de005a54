"""Adam's state and the master weights as a safetensors file, keyed by parameter name."""

from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What a trainer counts from update to update."""

    updates: int
    """Updates that were made."""
    loss_scale: float | None = None
    """The factor of the loss; None where an old file does not say it."""
    good: int = 0
    """Updates since the factor last changed."""
    broken: int = 0
    """Updates in a row whose gradient was not finite."""


def save_optimizer(
    optimizer: MasterAdamW, path: Path, counts: Counts, *, writes: bool = True
) -> None:
    """Writes counts, the moments of every weight that was updated, and masters that are copies.

    Ranks that do not write take part in gathering.
    """
    tensors = {
        "updates": torch.tensor(counts.updates),
        "loss_scale": torch.tensor(counts.loss_scale or 1.0, dtype=torch.float64),
        "good": torch.tensor(counts.good),
        "broken": torch.tensor(counts.broken),
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


def load_optimizer(optimizer: MasterAdamW, path: Path) -> Counts:
    """Puts saved masters and moments back, and gives the counts.

    The model's weights are loaded already: masters of other precision that were not saved start
    from them. Raises `CheckpointError`.
    """
    tensors, counts = _read(path)
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
    return counts


def _fits(tensor: Tensor, master: Tensor, path: Path, name: str) -> None:
    if tensor.shape != master.shape:
        raise CheckpointError(f"{path}: state of {name!r} does not fit the model")


def _keep(tensors: dict[str, Tensor], name: str, tensor: Tensor, writes: bool) -> None:
    gathered = whole(tensor.detach())
    if writes:
        tensors[name] = gathered.cpu().contiguous()


def _read(path: Path) -> tuple[dict[str, Tensor], Counts]:
    try:
        tensors = load_file(path)
        updates, scale = int(tensors.pop("updates")), tensors.pop("loss_scale", None)
        good, broken = (int(tensors.pop(name, torch.tensor(0))) for name in ("good", "broken"))
        scale = None if scale is None else float(scale)
        return tensors, Counts(updates=updates, loss_scale=scale, good=good, broken=broken)
    except (SafetensorError, OSError, KeyError) as error:
        raise CheckpointError(f"{path}: not a whole optimizer file: {error}") from None
