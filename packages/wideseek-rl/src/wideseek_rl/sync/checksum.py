"""Checksums of tensors, quick on a GPU, and how servers name and join tensors.

vLLM and SGLang keep the projections of one input as one tensor. Both know Hugging Face's names when
weights come, and report their own.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from typing import cast

import torch

from wideseek_core import TrainError
from wideseek_rl.engines.control.protocol import Algorithm, Checksums
from wideseek_rl.sync.digest import digests

Named = Iterable[tuple[str, torch.Tensor]]

_JOINED = {
    "q_proj": ("qkv_proj", 0),
    "k_proj": ("qkv_proj", 1),
    "v_proj": ("qkv_proj", 2),
    "gate_proj": ("gate_up_proj", 0),
    "up_proj": ("gate_up_proj", 1),
}
_ROW_MULTIPLE = 64
"""Vocabularies are padded with rows of zeros to a multiple of this."""


def sha256(tensor: torch.Tensor) -> str:
    """The SHA-256 of a tensor's bytes."""
    flat = tensor.detach().contiguous().view(-1).view(torch.uint8).cpu()
    return hashlib.sha256(flat.numpy().data).hexdigest()


def server_names(names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """The parts of every tensor of a server, in order, by the server's name for it."""
    parts: dict[str, dict[int, str]] = {}
    for name in names:
        *prefix, module, kind = name.rsplit(".", 2) if "." in name else (name, "")
        joined, place = _JOINED.get(module, (module, 0))
        whole = ".".join((*prefix, joined, kind)) if kind else name
        parts.setdefault(whole, {})[place] = name
    return {whole: tuple(found[at] for at in sorted(found)) for whole, found in parts.items()}


class SentTensors:
    """What was sent, and its checksums by the server's names."""

    def __init__(self, tensors: Mapping[str, torch.Tensor]) -> None:
        self._parts = {
            name: [tensors[part] for part in parts] for name, parts in server_names(tensors).items()
        }
        self._checksums: dict[Algorithm, dict[str, str]] = {}

    def compute(self, algorithm: Algorithm) -> dict[str, str]:
        """The checksums; computed once. Raises `TrainError`."""
        if algorithm not in self._checksums:
            wholes = ((name, _whole(parts)) for name, parts in self._parts.items())
            self._checksums[algorithm] = _function(algorithm)(wholes)
        return self._checksums[algorithm]

    def mismatches(self, reported: Checksums) -> list[str]:
        """Names of the server's tensors that are not what was sent. Raises `TrainError`.

        Tensors that the server holds under a name that does not follow from Hugging Face's are left
        out; it is an error if that leaves nothing to compare.
        """
        sent = self.compute(reported.algorithm)
        names = [name for name in sent if name in reported.by_name]
        if not names:
            raise TrainError("the server reports no checksum under a name that can be compared")
        wrong = [name for name in names if reported.by_name[name] != sent[name]]
        padded = _function(reported.algorithm)(
            (name, _padded(_whole(self._parts[name]))) for name in wrong
        )
        return [name for name in wrong if reported.by_name[name] != padded[name]]


def _whole(parts: list[torch.Tensor]) -> torch.Tensor:
    return torch.cat(parts) if len(parts) > 1 else parts[0]


def _function(algorithm: Algorithm) -> Callable[[Named], dict[str, str]]:
    if algorithm == "wideseek":
        return digests
    if algorithm == "sha256":
        return lambda tensors: {name: sha256(tensor) for name, tensor in tensors}
    try:
        from sglang.srt.managers.mm_utils import (  # pyright: ignore[reportMissingImports]
            tensor_hash,  # pyright: ignore[reportUnknownVariableType]
        )
    except ImportError:
        raise TrainError("checksums of SGLang can be compared only beside SGLang") from None
    compute = cast("Callable[[torch.Tensor], int]", tensor_hash)
    return lambda tensors: {name: f"{compute(tensor):016x}" for name, tensor in tensors}


def _padded(tensor: torch.Tensor) -> torch.Tensor:
    missing = -tensor.shape[0] % _ROW_MULTIPLE
    if not missing or tensor.ndim != 2:
        return tensor
    return torch.cat([tensor, tensor.new_zeros(missing, tensor.shape[1])])
