"""AdamW on float32 master weights, whatever precision the model computes in.

At a learning rate of 1e-6 an update is far smaller than the distance between two neighbouring
bfloat16 numbers: applied to bfloat16 weights it rounds away. The masters add up what the weights
of the model can't show yet. Where the model's weights are float32, they are the masters themselves.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from wideseek_rl.trainers.config import OptimizerConfig
from wideseek_rl.trainers.optimizer import set_learning_rate

WATCHED = 1024
"""Elements of each weight that are watched for changes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What one optimizer step did."""

    norm: float
    """Of the gradient, before clipping; not finite if no step was made."""
    changed: float
    """Part of the watched master weights with a gradient that are not what they were."""


class MasterAdamW:
    """The optimizer of a model: masters, moments, gradients summed in float32."""

    def __init__(self, model: nn.Module, config: OptimizerConfig) -> None:
        self._config = config
        named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        self.names = [name for name, _ in named]
        self.weights = [parameter for _, parameter in named]
        self.masters = [_master(parameter) for parameter in self.weights]
        matrices = [master for master in self.masters if master.ndim >= 2]
        vectors = [master for master in self.masters if master.ndim < 2]
        groups: list[dict[str, Any]] = [
            {"params": matrices, "weight_decay": config.weight_decay},
            {"params": vectors, "weight_decay": 0.0},
        ]
        self.inner = torch.optim.AdamW(
            [group for group in groups if group["params"]],
            lr=config.lr,
            betas=config.betas,
            eps=config.eps,
            fused=True,
        )

    def zero_grad(self) -> None:
        """Forgets all gradients."""
        for weight, master in self._pairs():
            weight.grad = master.grad = None

    def accumulate(self) -> None:
        """Takes the gradients of a backward pass over to the masters, in float32.

        Many micro-batches in bfloat16 would lose what each of them adds.
        """
        for weight, master in self._pairs():
            if master is weight or weight.grad is None:
                continue
            if master.grad is None:
                master.grad = weight.grad.float()
            else:
                master.grad += weight.grad
            weight.grad = None

    def step(self, lr: float, scale: float = 1.0) -> Step:
        """One step on the summed gradients, which are `scale` times too large.

        A gradient that is not finite changes nothing.
        """
        self.accumulate()
        if scale != 1:
            for gradient in self._gradients():
                gradient /= scale
        norm = _whole(nn.utils.clip_grad_norm_(self.masters, self._config.grad_clip))
        if not math.isfinite(norm):
            return Step(norm=norm, changed=0.0)
        before = [_watched(master) for master in self.masters]
        set_learning_rate(self.inner, lr)
        self.inner.step()  # pyright: ignore[reportUnknownMemberType]
        changed = self._changed(before)
        self.publish()
        return Step(norm=norm, changed=changed)

    @torch.no_grad()
    def publish(self) -> None:
        """Rounds the masters to the weights of the model."""
        for weight, master in self._pairs():
            if master is not weight:
                weight.copy_(master)

    @torch.no_grad()
    def adopt(self) -> None:
        """Takes the weights of the model over as masters, say when others were loaded."""
        for weight, master in self._pairs():
            if master is not weight:
                master.copy_(weight)

    def named_masters(self) -> Iterator[tuple[str, nn.Parameter, bool]]:
        """Each weight's name and master, and whether the master is a copy in its own precision."""
        for name, weight, master in zip(self.names, self.weights, self.masters, strict=True):
            yield name, master, master is not weight

    def move(self, device: torch.device | str) -> None:
        """Takes masters that are copies, and all moments, to a device."""
        for weight, master in self._pairs():
            if master is not weight:
                master.data = master.data.to(device)
            state = cast(dict[str, Tensor], self.inner.state.get(master, {}))
            for key in ("exp_avg", "exp_avg_sq"):
                if key in state:
                    state[key] = state[key].to(device)

    def _pairs(self) -> Iterator[tuple[nn.Parameter, nn.Parameter]]:
        return zip(self.weights, self.masters, strict=True)

    def _gradients(self) -> list[Tensor]:
        return [master.grad for master in self.masters if master.grad is not None]

    def _changed(self, before: list[Tensor]) -> float:
        """Compares few elements of each weight, so that it costs nothing."""
        changed: list[Tensor] = []
        counted: list[Tensor] = []
        for master, old in zip(self.masters, before, strict=True):
            if master.grad is None:
                continue
            moved = _watched(master.grad) != 0
            changed.append(((_watched(master) != old) & moved).sum())
            counted.append(moved.sum())
        total = float(torch.stack(counted).sum()) if counted else 0.0
        return float(torch.stack(changed).sum()) / total if total else 1.0


def _master(weight: nn.Parameter) -> nn.Parameter:
    if weight.dtype == torch.float32:
        return weight
    return nn.Parameter(weight.detach().float())


@torch.no_grad()
def _watched(tensor: Tensor) -> Tensor:
    """A copy of some elements, evenly spread."""
    local: Tensor = cast(Any, tensor).to_local() if hasattr(tensor, "to_local") else tensor
    flat = local.detach().flatten()
    return flat[:: max(len(flat) // WATCHED, 1)].clone()


def _whole(norm: Tensor) -> float:
    """The norm over all processes where gradients are spread over them."""
    return float(cast(Any, norm).full_tensor() if hasattr(norm, "full_tensor") else norm)
