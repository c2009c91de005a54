"""Adam over the ranks of NeMo-Aligner: whole on every data-parallel rank, or divided among them.

Imported after `compat.install`.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import torch
import torch.distributed as dist
from megatron.core import parallel_state
from megatron.core.tensor_parallel.layers import param_is_not_tensor_parallel_duplicate
from megatron.core.transformer.module import param_is_not_shared
from torch import Tensor, nn

from wideseek_rl.trainers.watched import Watched, changed_part

MOMENTS = ("exp_avg", "exp_avg_sq")


class RankOptimizer(Protocol):
    """Adam's moments of this rank's parameters, and the step that uses them."""

    def clip(self, max_norm: float) -> float:
        """Scales the gradient to at most `max_norm`; the norm that it had, over all ranks."""
        ...

    def step(self, rate: float) -> float | None:
        """Changes the parameters by their clipped gradients; `Step.changed`, over all ranks."""
        ...

    def moments(self, parameter: nn.Parameter) -> Mapping[str, Tensor]:
        """The moments of a parameter of this rank; data-parallel ranks ask together."""
        ...

    def clear(self) -> None:
        """Forgets all moments."""
        ...

    def fill(self, parameter: nn.Parameter, moments: Mapping[str, Tensor], steps: Tensor) -> None:
        """Takes over moments that a parameter had after so many steps."""
        ...


class WholeAdam:
    """torch's Adam, with all moments of a parameter where the parameter is."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self._optimizer = optimizer
        _fuse(optimizer)

    def clip(self, max_norm: float) -> float:
        """See `RankOptimizer`. NeMo's version needs apex."""
        return _clip(self._trained(), max_norm, parallel_state.get_model_parallel_group())

    def step(self, rate: float) -> float | None:
        """See `RankOptimizer`."""
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        return _changed_by(self._optimizer.step, self._trained())

    def _trained(self) -> list[Tensor]:
        """The parameters with a gradient."""
        groups = self._optimizer.param_groups
        return [p for group in groups for p in group["params"] if p.grad is not None]

    def moments(self, parameter: nn.Parameter) -> Mapping[str, Tensor]:
        """See `RankOptimizer`."""
        state = self._optimizer.state[parameter]
        return {moment: state[moment] for moment in MOMENTS}

    def clear(self) -> None:
        """See `RankOptimizer`."""
        self._optimizer.state.clear()

    def fill(self, parameter: nn.Parameter, moments: Mapping[str, Tensor], steps: Tensor) -> None:
        """See `RankOptimizer`."""
        self._optimizer.state[parameter] = {**moments, "step": _steps(steps, parameter)}


class DividedAdam:
    """megatron-core's distributed optimizer: data-parallel ranks hold a part of the moments each.

    Gradients arrive as such parts, too, and the changed parameters are gathered after a step.
    """

    def __init__(self, optimizer: Any, eps: float) -> None:
        (self._divided,) = optimizer.mcore_optimizer.chained_optimizers
        self._adam: torch.optim.Optimizer = self._divided.optimizer
        for group in self._adam.param_groups:
            group["eps"] = eps  # the one setting of Adam that NeMo does not pass on
            # Megatron's scheduler spares vectors by this factor; without it they would decay, too.
            group["weight_decay"] *= group["wd_mult"]
        _fuse(self._adam)

    def clip(self, max_norm: float) -> float:
        """See `RankOptimizer`."""
        self._divided.prepare_grads()
        return _clip(self._trained(), max_norm, None)

    def step(self, rate: float) -> float | None:
        """See `RankOptimizer`."""
        for group in self._adam.param_groups:
            group["lr"] = rate
        return _changed_by(self._divided.step_with_ready_grads, self._trained())

    def _trained(self) -> list[Tensor]:
        """This rank's parts of parameters with a gradient."""
        return [p for p in self._divided.get_parameters() if p.grad is not None]

    def moments(self, parameter: nn.Parameter) -> Mapping[str, Tensor]:
        """See `RankOptimizer`."""
        whole = {moment: torch.zeros_like(parameter).flatten() for moment in MOMENTS}
        part, place = self._part(parameter)
        for moment, values in whole.items():
            if part is not None:
                values[place] = self._adam.state[part][moment]
            dist.all_reduce(values, group=parallel_state.get_data_parallel_group())
        return {moment: values.view_as(parameter) for moment, values in whole.items()}

    def clear(self) -> None:
        """See `RankOptimizer`."""
        self._adam.state.clear()

    def fill(self, parameter: nn.Parameter, moments: Mapping[str, Tensor], steps: Tensor) -> None:
        """See `RankOptimizer`."""
        part, place = self._part(parameter)
        if part is not None:
            own = {name: values.flatten()[place].clone() for name, values in moments.items()}
            self._adam.state[part] = {**own, "step": _steps(steps, part)}

    def _part(self, parameter: nn.Parameter) -> tuple[Tensor | None, slice]:
        """What Adam holds of a parameter on this rank, and where in it; None if nothing."""
        found = self._divided.model_param_group_index_map.get(parameter)
        if found is None:
            return None, slice(0)
        group, order = found
        span = self._divided._get_model_param_range_map(parameter)["param"]
        return self._adam.param_groups[group]["params"][order], slice(span.start, span.end)


def _fuse(adam: torch.optim.Optimizer) -> None:
    """Has the step of Adam go through memory once, on GPUs; NeMo passes no such setting on."""
    for group in adam.param_groups:
        if all(parameter.is_cuda for parameter in group["params"]):
            group["fused"], group["foreach"] = True, False


def _changed_by(step: Callable[[], object], parameters: Sequence[Tensor]) -> float | None:
    """Makes a step; the part of the watched elements of all ranks that it changed."""
    watched = Watched([(p, p.grad) for p in parameters if p.grad is not None])
    step()
    counts = watched.counts().to(torch.cuda.current_device())
    dist.all_reduce(counts)
    return changed_part(counts)


def _steps(steps: Tensor, parameter: Tensor) -> Tensor:
    """The number of steps where Adam looks for it."""
    return steps.to(parameter.device, copy=True)


def _clip(parameters: Sequence[Tensor], max_norm: float, group: Any) -> float:
    """Scales gradients to at most a norm; gives the one that they had, over a group of ranks.

    Parameters that all tensor-parallel ranks or two stages hold count once.
    """
    squares = torch.zeros((), device=torch.cuda.current_device(), dtype=torch.float64)
    for parameter in parameters:
        if param_is_not_shared(parameter) and param_is_not_tensor_parallel_duplicate(parameter):
            rows = torch.linalg.vector_norm(parameter.grad, dim=-1)  # type: ignore[arg-type]
            squares += rows.double().pow(2).sum()
    dist.all_reduce(squares, group=group)
    norm = math.sqrt(float(squares))
    if norm > max_norm:
        for parameter in parameters:
            parameter.grad.mul_(max_norm / (norm + 1e-6))  # type: ignore[union-attr]
    return norm
