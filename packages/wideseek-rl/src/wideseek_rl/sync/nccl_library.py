"""NCCL's C interface, as far as the first rank of a group needs it.

torch's own `torch.cuda.nccl.init_rank` can't be called in Python 3.10 and later. The library is the
one that torch has loaded already.
"""

import ctypes
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

from wideseek_core import TrainError

IDENTIFIER_BYTES = 128
_TYPES = {torch.uint8: 1, torch.float32: 7}
_SUM = 0


class _Identifier(ctypes.Structure):
    _fields_ = (("internal", ctypes.c_char * IDENTIFIER_BYTES),)


_SIGNATURES = {
    "ncclGetUniqueId": [ctypes.POINTER(_Identifier)],
    "ncclCommInitRank": [ctypes.POINTER(ctypes.c_void_p), ctypes.c_int, _Identifier, ctypes.c_int],
    "ncclAllReduce": [
        *(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int),
        *(ctypes.c_void_p, ctypes.c_void_p),
    ],
    "ncclBroadcast": [
        *(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int),
        *(ctypes.c_void_p, ctypes.c_void_p),
    ],
    "ncclCommAbort": [ctypes.c_void_p],
}


@cache
def _library() -> Any:
    """The library. Raises `TrainError` where there is none."""
    try:
        found = ctypes.CDLL("libnccl.so.2")
    except OSError as error:
        raise TrainError(f"NCCL can't be loaded: {error}") from None
    for name, arguments in _SIGNATURES.items():
        function = getattr(found, name)
        function.argtypes, function.restype = arguments, ctypes.c_int
    found.ncclGetErrorString.argtypes = [ctypes.c_int]
    found.ncclGetErrorString.restype = ctypes.c_char_p
    return found


def _call(name: str, *arguments: Any) -> None:
    """Calls a function. Raises `TrainError` with what NCCL says."""
    library = _library()
    if status := getattr(library, name)(*arguments):
        words = library.ncclGetErrorString(status).decode("utf-8", "replace")
        raise TrainError(f"{name}: {words}")


def new_identifier() -> bytes:
    """The identifier of a new group, which all its ranks must know."""
    found = _Identifier()
    _call("ncclGetUniqueId", ctypes.byref(found))
    return bytes(found)


@dataclass(slots=True)
class Communicator:
    """A rank of a group, on the present device. Open with `open_communicator`."""

    _handle: ctypes.c_void_p

    def all_reduce(self, tensor: Tensor) -> None:
        """Sums a tensor over all ranks, in place."""
        place = tensor.data_ptr()
        kind = _TYPES[tensor.dtype]
        _call("ncclAllReduce", place, place, tensor.numel(), kind, _SUM, self._handle, _stream())

    def broadcast(self, tensor: Tensor, root: int) -> None:
        """Sends a tensor of the root to all ranks."""
        place = tensor.data_ptr()
        kind = _TYPES[tensor.dtype]
        _call("ncclBroadcast", place, place, tensor.numel(), kind, root, self._handle, _stream())

    def abort(self) -> None:
        """Gives the group up, whatever has become of its other ranks."""
        _call("ncclCommAbort", self._handle)


def open_communicator(identifier: bytes, size: int, rank: int) -> Communicator:
    """Meets the other ranks of a group; blocks until all are there. Raises `TrainError`."""
    handle = ctypes.c_void_p()
    found = _Identifier.from_buffer_copy(identifier)
    _call("ncclCommInitRank", ctypes.byref(handle), size, found, rank)
    return Communicator(handle)


def _stream() -> int:
    return torch.cuda.current_stream().cuda_stream
