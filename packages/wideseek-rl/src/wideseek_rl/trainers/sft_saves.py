"""What a supervised run needs to resume after an interruption, as one safetensors file."""

import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file  # pyright: ignore[reportUnknownVariableType]
from torch import Tensor, nn

from wideseek_core import CheckpointError
from wideseek_core.files import sha256, sync_folder
from wideseek_rl.batch.demonstrations import DemoSet
from wideseek_rl.models.tensor_files import write_tensors
from wideseek_rl.trainers.config import SFTConfig

MOMENTS = ("exp_avg", "exp_avg_sq", "step")
WEIGHT = "weight"
ENDS = {"epochs", "max_seconds"}
"""Settings that may change: how long a resumed run is."""
SAMPLES = 64
"""Elements of each tensor that tell whether a run began with other weights."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """How far a run had come."""

    updates: int = 0
    tokens: int = 0
    """Positions run, padding included."""
    seconds: float = 0.0
    """Time of training."""


def fingerprint(
    model: nn.Module, demos: DemoSet, config: SFTConfig, adapter: Path | None = None
) -> str:
    """What has to be the same for a run to resume: weights to begin with, rows and settings."""
    found = hashlib.sha256()
    reporting = {"log_every_s", "save_every_s"}
    settings = config.model_dump(mode="json", exclude=ENDS | reporting)
    found.update(json.dumps(settings, sort_keys=True).encode())
    for part in (demos.ids, demos.mask, demos.offsets):
        found.update(part.tobytes())
    for name, tensor in model.named_parameters():
        values = tensor.detach().flatten()
        some = values[:: max(1, len(values) // SAMPLES)].float().cpu()
        found.update(f"{name} {tuple(tensor.shape)}".encode())
        found.update(some.numpy().tobytes())
    for file in [] if adapter is None else sorted(adapter.glob("adapter_model.*")):
        found.update(sha256(file).encode())
    return found.hexdigest()


class Saves:
    """The file of one run, which later saves replace as a whole."""

    def __init__(self, path: Path, run: str) -> None:
        """`run` is the run's `fingerprint`."""
        self.path, self._run = path, run

    def write(self, model: nn.Module, optimizer: torch.optim.Optimizer, done: Done) -> None:
        """Saves trained weights, the optimizer's state and how far the run is."""
        tensors: dict[str, Tensor] = {}
        for name, parameter in _trained(model):
            tensors[f"{WEIGHT}.{name}"] = parameter
            state = optimizer.state.get(parameter, {})
            tensors |= {f"{key}.{name}": state[key] for key in MOMENTS if key in state}
        held = {key: tensor.detach().cpu().contiguous() for key, tensor in tensors.items()}
        facts = {"run": self._run, "updates": str(done.updates), "tokens": str(done.tokens)}
        facts["seconds"] = repr(done.seconds)
        partial = self.path.with_name(f".{self.path.name}.partial")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_tensors(held, partial, facts)
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(self.path)
        sync_folder(self.path.parent)

    def read(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> Done:
        """Puts back what was saved; a run of which nothing was begins at its beginning.

        Raises `CheckpointError` for a file of another run, and one that can't be read.
        """
        if not self.path.exists():
            return Done()
        again = f"delete {self.path} to begin anew"
        try:
            facts, tensors = _facts(self.path), load_file(self.path)
            done = Done(
                updates=int(facts["updates"]),
                tokens=int(facts["tokens"]),
                seconds=float(facts["seconds"]),
            )
        except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
            raise CheckpointError(f"{self.path}: not a whole file ({error}); {again}") from None
        if facts.get("run") != self._run:
            raise CheckpointError(
                f"{self.path} is of an interrupted run with other settings, demonstrations or "
                f"weights; give it those again, or {again}"
            )
        with torch.no_grad():
            for name, parameter in _trained(model):
                parameter.copy_(tensors[f"{WEIGHT}.{name}"])
                kept = {key: tensors.get(f"{key}.{name}") for key in MOMENTS}
                state = {key: t.to(parameter.device) for key, t in kept.items() if t is not None}
                if state:
                    optimizer.state[parameter] = state
        return done


def _trained(model: nn.Module) -> Iterable[tuple[str, nn.Parameter]]:
    return ((name, one) for name, one in model.named_parameters() if one.requires_grad)


def _facts(path: Path) -> dict[str, str]:
    """The metadata at the beginning of a safetensors file."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(min(length, path.stat().st_size)))
    return header["__metadata__"]
