"""The weights of all ranks as Hugging Face tensors, and back. Imported after `compat.install`."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import torch
import torch.distributed as dist
from megatron.core import parallel_state
from torch import Tensor, nn

from wideseek_rl.models.config import DecoderConfig
from wideseek_rl.models.decoder import Decoder
from wideseek_rl.sync.source import TensorInfo
from wideseek_rl.trainers.megatron.layout import (
    EMBEDDING,
    Entry,
    Split,
    entries,
    join,
    part,
    shard,
    unshard,
)
from wideseek_rl.trainers.megatron.model import bare


class RankWeights:
    """The parameters of a model that tensor-parallel ranks and pipeline stages share.

    A `WeightSource`. All ranks read it together, to the end.
    """

    def __init__(self, model: Any, shape: DecoderConfig) -> None:
        self._model, self._shape = model, shape

    def metadata(self) -> Sequence[TensorInfo]:
        """See `WeightSource`."""
        return [
            TensorInfo(name=name, dtype="float32", shape=tuple(self._part_shapes[name]))
            for entry, _ in self.entries()
            for name in entry.parts
            if not entry.copied
        ]

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """See `WeightSource`: one parameter at a time, whole on every rank."""
        for entry, parameter in self.entries():
            if not entry.copied:
                yield from self.gather(entry, parameter).items()

    def entries(self) -> Iterator[tuple[Entry, nn.Parameter | None]]:
        """Each parameter with its place in a Hugging Face checkpoint, in that one's order.

        Those of other stages are None.
        """
        own = dict(bare(self._model).named_parameters())
        here = parallel_state.get_pipeline_model_parallel_rank()
        stages = parallel_state.get_pipeline_model_parallel_world_size()
        for entry in entries(self._shape, stages):
            yield entry, own[entry.name] if entry.stage == here else None

    def gather(self, entry: Entry, own: Tensor | None) -> dict[str, Tensor]:
        """The Hugging Face tensors of a parameter, its gradient or a moment, on every rank.

        All ranks call it together, those of other stages with None.
        """
        tensors: dict[str, Tensor] = {}
        if own is not None:
            tensors = part(entry, unshard(entry, _shards(own)), self._shape)
        if parallel_state.get_pipeline_model_parallel_world_size() > 1:
            tensors = {name: self._sent(entry, name, tensors.get(name)) for name in entry.parts}
        return {name: tensor.contiguous() for name, tensor in tensors.items()}

    def _sent(self, entry: Entry, name: str, own: Tensor | None) -> Tensor:
        """A tensor of the stage that holds it."""
        if own is None:
            own = torch.empty(self._part_shapes[name], device=torch.cuda.current_device())
        group = parallel_state.get_pipeline_model_parallel_group()
        own = own.contiguous()
        dist.broadcast(own, dist.get_global_rank(group, entry.stage), group=group)
        return own

    @cached_property
    def _part_shapes(self) -> dict[str, torch.Size]:
        """The shape of every Hugging Face tensor."""
        with torch.device("meta"):
            return {name: p.shape for name, p in Decoder(self._shape).named_parameters()}

    def scatter(self, entry: Entry, tensors: Sequence[Tensor]) -> Tensor:
        """This rank's part of a parameter, from its whole Hugging Face tensors."""
        rank = parallel_state.get_tensor_model_parallel_rank()
        size = parallel_state.get_tensor_model_parallel_world_size()
        return shard(entry, join(entry, tensors, self._shape), rank, size)

    @torch.no_grad()
    def drift(self) -> float | None:
        """How far apart the copies of a parameter that several ranks hold are, over all ranks.

        Those of all tensor-parallel and data-parallel ranks, and of a tied embedding those of two
        stages. None for one rank, which holds no copies.
        """
        if dist.get_world_size() == 1:
            return None
        worst = torch.zeros((), device=torch.cuda.current_device())
        held = [(entry, parameter) for entry, parameter in self.entries() if parameter is not None]
        copies = [one.flatten() for entry, one in held if entry.split is Split.REPLICATED]
        if copies:  # together, since they are many small ones and this follows every update
            group = parallel_state.get_tensor_model_parallel_group()
            worst = worst.maximum(_spread(torch.cat(copies), group))
        for entry, parameter in held:
            if self._shape.tied_embeddings and entry.parts == (EMBEDDING,):
                group = parallel_state.get_embedding_group()
                worst = worst.maximum(_spread(parameter, group))
        group = parallel_state.get_data_parallel_group()
        if dist.get_world_size(group) > 1:
            for parameter in _unequal([parameter for _, parameter in held], group):
                worst = worst.maximum(_spread(parameter, group))
        dist.all_reduce(worst, dist.ReduceOp.MAX)
        return float(worst)


def _shards(own: Tensor) -> list[Tensor]:
    """The parts that all tensor-parallel ranks hold of a tensor."""
    size = parallel_state.get_tensor_model_parallel_world_size()
    if size == 1:
        return [own.detach()]
    shards = [torch.empty_like(own) for _ in range(size)]
    group = parallel_state.get_tensor_model_parallel_group()
    dist.all_gather(shards, own.detach().contiguous(), group=group)
    return shards


def _unequal(tensors: Sequence[Tensor], group: Any) -> list[Tensor]:
    """The tensors in float32 whose copies in a group are not equal.

    Sums of their bits are compared, which no order of summation changes: all weights of a model
    are too many to be sent.
    """
    sums = torch.stack([tensor.detach().view(torch.int32).sum() for tensor in tensors])
    differences = _spreads(sums, group).tolist()
    return [tensor for tensor, difference in zip(tensors, differences, strict=True) if difference]


def _spread(tensor: Tensor, group: Any) -> Tensor:
    """How far apart a group's copies of a tensor are."""
    return _spreads(tensor, group).max()


def _spreads(tensor: Tensor, group: Any) -> Tensor:
    """How far apart a group's copies of each number are."""
    highest, lowest = tensor.detach().clone(), tensor.detach().clone()
    dist.all_reduce(highest, dist.ReduceOp.MAX, group=group)
    dist.all_reduce(lowest, dist.ReduceOp.MIN, group=group)
    return highest - lowest
