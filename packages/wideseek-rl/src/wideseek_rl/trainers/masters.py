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

from wideseek_rl.models.spread import whole
from wideseek_rl.trainers.adamw import Advance, Numbers, gradient_norm, local, numbers, one_pass
from wideseek_rl.trainers.config import OptimizerConfig
from wideseek_rl.trainers.optimizer import set_learning_rate
from wideseek_rl.trainers.update_stats import Step
from wideseek_rl.trainers.watched import Watched, changed_part


@dataclass(frozen=True, slots=True)
class _Measured:
    """What a step needs of gradients and masters as they were before it."""

    norm: Tensor
    """Of all gradients, on their device."""
    watched: Watched


class MasterAdamW:
    """The optimizer of a model: masters, moments, gradients summed in float32."""

    def __init__(
        self, model: nn.Module, config: OptimizerConfig, advance: Advance | None = None
    ) -> None:
        """`advance` makes steps in one pass over memory, in place of what the device has."""
        self._config = config
        self._given = advance
        self._measured: _Measured | None = None
        self.begun = 0
        """Steps that began to change weights or moments, whether or not they came to an end."""
        named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        self.names = [name for name, _ in named]
        self.weights = [parameter for _, parameter in named]
        self.masters = [_master(parameter) for parameter in self.weights]
        self._sums: list[Tensor | None] = [None] * len(self.weights)
        """Gradients of several passes, of masters that are copies. They are where the weights are:
        masters that are kept elsewhere meanwhile can't hold them."""
        every = [local(tensor) for tensor in (*self.weights, *self.masters)]
        self._plain = all(tensor.is_contiguous() for tensor in every)
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
        self._measured = None
        self._sums = [None] * len(self.weights)
        for weight, master in self._pairs():
            weight.grad = master.grad = None

    def accumulate(self) -> None:
        """Adds the gradients of a backward pass to those of earlier ones, in float32.

        Many micro-batches in bfloat16 would lose what each of them adds.
        """
        self._measured = None
        for at, (weight, master) in enumerate(self._pairs()):
            if master is weight or weight.grad is None:
                continue
            total = self._sums[at]
            self._sums[at] = weight.grad.float() if total is None else total.add_(weight.grad)
            weight.grad = None

    def measure(self) -> None:
        """Has the device measure the gradients for the step that follows, without waiting for it.

        So a device that has just finished a backward pass is kept busy while the host reads what
        came of it. `step` does it itself where this was not called.
        """
        if self._one_pass() is not None:
            if any(total is not None for total in self._sums):
                self.accumulate()  # what a last pass left beside the sums of earlier ones
            norm = gradient_norm(self._gradients())
            self._measured = _Measured(norm, self._watched())

    def step(self, lr: float, scale: float = 1.0) -> Step:
        """One step on the summed gradients, which are `scale` times too large.

        A gradient that is not finite changes nothing.
        """
        advance = self._one_pass()
        return self._step(lr, scale) if advance is None else self._fast_step(advance, lr, scale)

    def _step(self, lr: float, scale: float) -> Step:
        """Each part over all tensors after the other, by what torch has."""
        self.accumulate()
        for master, total in zip(self.masters, self._sums, strict=True):
            if total is not None:
                master.grad = total
        for gradient in self._gradients() if scale != 1 else ():
            gradient /= scale
        norm = self._clip()
        if not math.isfinite(norm):
            return Step(norm=norm)
        watched = self._watched()
        set_learning_rate(self.inner, lr)
        self.begun += 1
        self.inner.step()  # pyright: ignore[reportUnknownMemberType]
        self.publish()
        return Step(norm=norm, changed=changed_part(watched.counts()))

    def _fast_step(self, advance: Advance, lr: float, scale: float) -> Step:
        """All parts in one pass over memory."""
        if self._measured is None:
            self.measure()
        measured, self._measured = self._measured, None
        assert measured is not None
        norm = float(measured.norm) / scale
        if not math.isfinite(norm):
            return Step(norm=norm)
        clipped = self._config.grad_clip / norm if norm > self._config.grad_clip else 1.0
        self.begun += 1
        self._advance(advance, lr, clipped / scale)
        return Step(norm=norm, changed=changed_part(measured.watched.counts()))

    def _one_pass(self) -> Advance | None:
        """What makes a step in one pass over memory, where there is such a thing."""
        if not self._plain or not self.masters:
            return None
        return self._given or one_pass(self.masters[0].device.type)

    @torch.no_grad()
    def _advance(self, advance: Advance, lr: float, factor: float) -> None:
        """The step on gradients as they are, each tensor read and written once."""
        known: dict[tuple[int, float], Numbers] = {}
        for weight, master, gradient in self._found():
            state = self._state(master)
            state["step"] += 1
            step, decay = int(state["step"]), self._config.weight_decay if master.ndim >= 2 else 0.0
            by = known.get((step, decay))
            if by is None:
                by = numbers(self._config, lr=lr, step=step, factor=factor, decay=decay)
                known[step, decay] = by
            moments = local(state["exp_avg"]), local(state["exp_avg_sq"])
            target = None if master is weight else weight
            advance(local(master), local(gradient).contiguous(), *moments, target, by)

    def _state(self, master: nn.Parameter) -> dict[str, Tensor]:
        """Moments, made at the first step; the count of steps is in the memory of the host."""
        state = cast(dict[str, Tensor], self.inner.state[master])
        if not state:
            state["step"] = torch.zeros(())
            state["exp_avg"] = torch.zeros_like(master)
            state["exp_avg_sq"] = torch.zeros_like(master)
        state["step"] = state["step"].cpu()
        return state

    @torch.no_grad()
    def publish(self) -> None:
        """Rounds the masters to the weights of the model."""
        copies = [(weight, master) for weight, master in self._pairs() if master is not weight]
        if copies:
            weights, masters = zip(*copies, strict=True)
            cast(Any, torch)._foreach_copy_(weights, masters)

    def _clip(self) -> float:
        """Scales a large gradient down; gives its norm before. A small one is left alone."""
        gradients = self._gradients()
        norm = nn.utils.get_total_norm(gradients)
        total = float(whole(norm))
        if total > self._config.grad_clip:
            nn.utils.clip_grads_with_norm_(self.masters, self._config.grad_clip, norm)
        return total

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
        """Takes masters that are copies, and all that is kept of steps, to a device.

        An error, such as memory that is short, leaves some there and some here, and loses none.
        """
        self._measured = None
        numbers_of = {id(master): number for number, master in enumerate(self.masters)}
        for group in self.inner.param_groups:
            masters: list[nn.Parameter] = group["params"]
            for place, master in enumerate(masters):  # one by one: both copies of all may not fit
                number = numbers_of[id(master)]
                copied = master is not self.weights[number]
                moved = nn.Parameter(master.detach().to(device)) if copied else master
                kept = cast(dict[str, Tensor], self.inner.state.get(master, {}))
                state = {key: one.to(device) for key, one in kept.items()}
                self.inner.state.pop(master, None)
                if state:
                    self.inner.state[moved] = state
                self.masters[number] = masters[place] = moved

    def _pairs(self) -> Iterator[tuple[nn.Parameter, nn.Parameter]]:
        return zip(self.weights, self.masters, strict=True)

    def _gradients(self) -> list[Tensor]:
        return [gradient for _, _, gradient in self._found()]

    def _found(self) -> Iterator[tuple[nn.Parameter, nn.Parameter, Tensor]]:
        """Each weight that has a gradient, its master, and the gradient.

        That is the sum over several passes, or what the only one left.
        """
        for weight, master, total in zip(self.weights, self.masters, self._sums, strict=True):
            gradient = weight.grad if total is None else total
            if gradient is not None:
                yield weight, master, gradient

    def _watched(self) -> Watched:
        """Some of the masters that have a gradient, as they are."""
        return Watched([(master, gradient) for _, master, gradient in self._found()])


def _master(weight: nn.Parameter) -> nn.Parameter:
    if weight.dtype == torch.float32:
        return weight
    return nn.Parameter(weight.detach().float())
