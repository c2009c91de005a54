"""Where weights come from when they are sent: names as in Hugging Face, shapes known beforehand."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import nn

from wideseek_rl.models.lora import plain_tensors
from wideseek_rl.models.spread import whole


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorInfo:
    """What will be sent."""

    name: str
    dtype: str
    """As torch names it, without the module: `bfloat16`."""
    shape: tuple[int, ...]


class WeightSource(Protocol):
    """Weights to send. Both methods agree in order, type and shape, each time."""

    def metadata(self) -> Sequence[TensorInfo]:
        """What `tensors` will yield."""
        ...

    def tensors(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Whole, contiguous tensors, one after another."""
        ...


Published = Callable[[str, torch.Tensor], Mapping[str, torch.Tensor]]
"""What a checkpoint holds of a parameter: tensors by their names there."""


def as_they_are(name: str, tensor: torch.Tensor) -> Mapping[str, torch.Tensor]:
    """Parameters that carry the names of the checkpoint."""
    return {name: tensor}


class ModuleSource:
    """The parameters of a module, adapters merged, in the type that the engine computes in."""

    def __init__(
        self,
        module: nn.Module,
        dtype: torch.dtype | None = None,
        published: Published = as_they_are,
    ) -> None:
        """Without a `dtype` each tensor keeps its own."""
        self._module = module
        self._dtype = dtype
        self._published = published

    def metadata(self) -> Sequence[TensorInfo]:
        """Names, types and shapes; of sharded parameters those of the whole."""
        found: list[TensorInfo] = []
        for plain in plain_tensors(self._module):
            dtype = str(self._dtype or plain.tensor.dtype).removeprefix("torch.")
            empty = torch.empty(plain.tensor.shape, dtype=plain.tensor.dtype, device="meta")
            for name, tensor in self._published(plain.name, empty).items():
                found.append(TensorInfo(name=name, dtype=dtype, shape=tuple(tensor.shape)))
        return found

    def tensors(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Parameters as whole tensors, which gathers those that are sharded."""
        for plain in plain_tensors(self._module):
            for name, tensor in self._published(plain.name, whole(plain.value())).items():
                yield name, tensor.to(self._dtype or tensor.dtype).contiguous()


class CastSource:
    """The weights of another source in the type that the engine computes in."""

    def __init__(self, source: WeightSource, dtype: torch.dtype) -> None:
        self._source = source
        self._dtype = dtype

    def metadata(self) -> Sequence[TensorInfo]:
        """What `tensors` will yield."""
        name = str(self._dtype).removeprefix("torch.")
        return [replace(info, dtype=name) for info in self._source.metadata()]

    def tensors(self) -> Iterator[tuple[str, torch.Tensor]]:
        """The tensors, cast one after another."""
        for name, tensor in self._source.tensors():
            yield name, tensor.to(self._dtype)
