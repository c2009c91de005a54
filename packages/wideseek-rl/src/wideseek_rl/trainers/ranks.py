"""One process, or several that hold a model together: who trains what, and sums over all.

Every rank is given all samples of a step, makes the same plan, and takes its part of the
micro-batches. Forward and backward passes of a sharded model are collective, so all ranks make
equally many of them.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from wideseek_core import ConfigError
from wideseek_rl.batch.packing import tree_cost
from wideseek_rl.batch.prefix_tree import PrefixTree
from wideseek_rl.models.decoder import Decoder

Trees = list[PrefixTree]


class Ranks(Protocol):
    """The processes that train one model."""

    @property
    def count(self) -> int:
        """How many there are."""
        ...

    @property
    def first(self) -> bool:
        """Whether this one writes files and reports."""
        ...

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum over all ranks."""
        ...

    def deal(self, batches: Sequence[Trees]) -> list[Trees]:
        """This rank's part, as many micro-batches as every other one's.

        An empty one is a pass that adds nothing.
        """
        ...

    def any(self, flag: bool) -> bool:
        """Whether it is so on some rank."""
        ...


class OneRank:
    """A process by itself."""

    count = 1
    first = True

    def sum(self, tensor: Tensor) -> Tensor:
        """The tensor itself."""
        return tensor

    def deal(self, batches: Sequence[Trees]) -> list[Trees]:
        """All of them."""
        return list(batches)

    def any(self, flag: bool) -> bool:
        """Whether it is so here."""
        return flag


class DistributedRanks:
    """The processes of torch's default group, which must be there already."""

    def __init__(self) -> None:
        distributed: Any = torch.distributed
        if not distributed.is_initialized():
            raise ConfigError("several ranks need torch.distributed.init_process_group first")
        self._distributed = distributed
        self.rank: int = distributed.get_rank()
        self.count: int = distributed.get_world_size()
        self.first = self.rank == 0

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum over all ranks."""
        total = tensor.clone()
        self._distributed.all_reduce(total)
        return total

    def any(self, flag: bool) -> bool:
        """Whether it is so on some rank; all of them ask together."""
        device = "cuda" if self._distributed.get_backend() == "nccl" else "cpu"
        return bool(self.sum(torch.tensor(float(flag), device=device)))

    def deal(self, batches: Sequence[Trees]) -> list[Trees]:
        """By falling cost, each to the rank with the fewest and, among those, the cheapest."""
        parts: list[list[Trees]] = [[] for _ in range(self.count)]
        loads = [0.0] * self.count
        for trees in sorted(batches, key=_cost, reverse=True):
            at = min(range(self.count), key=lambda rank: (len(parts[rank]), loads[rank]))
            parts[at].append(trees)
            loads[at] += _cost(trees)
        most = max(map(len, parts))
        own = parts[self.rank]
        return own + [[] for _ in range(most - len(own))]


def shard(model: nn.Module, dtype: torch.dtype, *, keep_gathered: bool = False) -> None:
    """Spreads a float32 model over the ranks (FSDP2); passes compute in `dtype`.

    Masters, moments and gradients are spread with it, and gradients are summed in float32. With
    `keep_gathered` the backward half of a pass uses the weights that its forward half gathered.
    """
    from torch.distributed.fsdp import (
        MixedPrecisionPolicy,
        fully_shard,  # pyright: ignore[reportUnknownVariableType]
    )

    if not isinstance(model, Decoder):
        raise ConfigError("only models of the Llama, Mistral and Qwen families can be sharded")
    apply = cast(Callable[..., object], fully_shard)
    policy = MixedPrecisionPolicy(
        param_dtype=dtype, reduce_dtype=torch.float32, cast_forward_inputs=False
    )
    last = len(model.model.layers) - 1
    for number, layer in enumerate(model.model.layers):
        # The last layer would be gathered again at once.
        again = not keep_gathered and number < last
        apply(layer, mp_policy=policy, reshard_after_forward=again)
    apply(model, mp_policy=policy, reshard_after_forward=False)


def reshard(model: nn.Module) -> None:
    """Frees the weights that passes without a backward half left gathered in a sharded model.

    Until then its parameters are these copies, in the precision of the passes: whoever reads them
    gets rounded weights, and what is written to them is lost.
    """
    from torch.distributed.fsdp import FSDPModule

    for module in model.modules():
        if isinstance(module, FSDPModule):
            cast(Any, module).reshard()


def prepare_backward(model: nn.Module, *, reduce: bool, free: bool) -> None:
    """Says what the next backward pass of a sharded model does in the end.

    With `reduce` it sums over the ranks what it and all passes since the last such one added up;
    else each rank adds to its own gradients of all weights, in float32. With `free` the gathered
    weights are freed.
    """
    root = cast(Any, model)
    root.set_requires_gradient_sync(reduce)
    root.set_reshard_after_backward(free)


def forget_passes(model: nn.Module) -> None:
    """Takes a sharded model back to where it was before passes that an error ended.

    Gathered weights are freed, and gradients that were not reduced yet are dropped; nothing public
    reaches those.
    """
    from torch.distributed.fsdp import FSDPModule

    root = cast(Any, model)._get_fsdp_state()
    if root._is_root and hasattr(model, "reset_iter_state"):  # since torch 2.13
        cast(Any, model).reset_iter_state()
    root._state_ctx.iter_forward_root = None
    states = [cast(Any, m)._get_fsdp_state() for m in model.modules() if isinstance(m, FSDPModule)]
    for group in (state._fsdp_param_group for state in states if state._fsdp_param_group):
        group._to_sharded()
        for held in group.fsdp_params:
            held.unsharded_accumulated_grad = None
            if hasattr(held, "_unsharded_param"):
                held._unsharded_param.grad = None


def _cost(trees: Trees) -> float:
    return sum(tree_cost(tree) for tree in trees)
