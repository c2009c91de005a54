"""Weights through CUDA IPC: servers on the same GPU open the tensors where they are.

Only handles travel, as pickles, so the servers must be local. The wire formats of vLLM 0.23 to 0.32
are the same but for what is left out here; SGLang takes tensors flattened to one.
"""

import asyncio
import base64
import io
import pickle
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, Protocol

import torch
from torch.multiprocessing import reductions

from wideseek_rl.engines.control.protocol import ServerControl
from wideseek_rl.sync.fanout import Failures, on_each
from wideseek_rl.sync.sglang_session import close_session, open_session
from wideseek_rl.sync.source import WeightSource

_reductions: Any = reductions  # neither has types
_cuda: Any = torch.cuda
Named = list[tuple[str, torch.Tensor]]
Export = Callable[[torch.Tensor], object]
"""Makes of a tensor what its reader can pickle and open."""

_DEVICE_ARGUMENT = 6
"""Position of the device among what `rebuild_cuda_tensor` takes; it is the reader's own number."""


class Wire(Protocol):
    """How one kind of server is sent the handles of tensors."""

    async def connect(self, server: ServerControl) -> None:
        """Once, before the first update."""
        ...

    async def begin(self, server: ServerControl) -> None:
        """Before the first bucket."""
        ...

    async def put(self, server: ServerControl, bucket: Named, label: str | None) -> None:
        """Sends one bucket; the last one with the label of the new weights."""
        ...

    async def finish(self, server: ServerControl, label: str) -> None:
        """After the last bucket."""
        ...


@dataclass(slots=True)
class IpcTransport:
    """Shares the tensors' memory with servers; a `Transport`."""

    source: WeightSource
    wire: Wire
    bucket_bytes: int = 4 * 2**30
    separate: bool = field(default=True, init=False)

    async def connect(self, servers: Sequence[ServerControl]) -> Failures:
        """Tells the servers how weights will come."""
        failures: Failures = {}
        await on_each(servers, self.wire.connect, failures)
        return failures

    async def send(self, servers: Sequence[ServerControl], version: int) -> Failures:
        """Sends all weights, bucket by bucket, to all servers at once."""
        failures: Failures = {}
        label = str(version)
        await on_each(servers, self.wire.begin, failures)
        buckets = self._buckets()
        bucket = await asyncio.to_thread(next, buckets, None)
        while bucket is not None:
            coming = await asyncio.to_thread(next, buckets, None)
            sent, last = bucket, coming is None
            await on_each(
                servers,
                lambda server, sent=sent, last=last: self.wire.put(
                    server, sent, label if last else None
                ),
                failures,
            )
            bucket = coming
        await on_each(servers, lambda server: self.wire.finish(server, label), failures)
        if torch.cuda.is_initialized():
            torch.cuda.ipc_collect()
        return failures

    async def close(self) -> None:
        """Nothing is held between two updates."""

    def _buckets(self) -> Iterator[Named]:
        """The tensors in groups, computed to the end: a reader may look at them at once."""
        bucket: Named = []
        size = 0
        for name, tensor in self.source.tensors():
            bytes_ = tensor.numel() * tensor.element_size()
            if bucket and size + bytes_ > self.bucket_bytes:
                yield _computed(bucket)
                bucket, size = [], 0
            bucket.append((name, tensor))
            size += bytes_
        if bucket:
            yield _computed(bucket)


def _computed(bucket: Named) -> Named:
    if any(tensor.is_cuda for _, tensor in bucket):
        torch.cuda.synchronize()
    return bucket


@dataclass(slots=True)
class VllmIpcWire:
    """vLLM's weight transfer by IPC handles."""

    export: Export = field(default=lambda tensor: exported(tensor))
    uuid: Callable[[torch.Tensor], str] = field(default=lambda tensor: device_uuid(tensor))

    async def connect(self, server: ServerControl) -> None:
        """Opens the transfer; without packing, which is what an empty description means."""
        await server.client.post("/init_weight_transfer_engine", {"init_info": {}})

    async def begin(self, server: ServerControl) -> None:
        """Starts an update; newer servers ignore the body that older ones want."""
        await server.client.post("/start_weight_update", {"is_checkpoint_format": True})

    async def put(self, server: ServerControl, bucket: Named, label: str | None) -> None:
        """Sends the handles of a bucket."""
        handles = [{self.uuid(tensor): self.export(tensor)} for _, tensor in bucket]
        info: dict[str, Any] = {
            "names": [name for name, _ in bucket],
            "dtype_names": [str(tensor.dtype).removeprefix("torch.") for _, tensor in bucket],
            "shapes": [list(tensor.shape) for _, tensor in bucket],
            "ipc_handles_pickled": base64.b64encode(pickle.dumps(handles)).decode(),
        }
        limit = server.client.config.transfer_timeout_s
        await server.client.post("/update_weights", {"update_info": info}, timeout_s=limit)

    async def finish(self, server: ServerControl, label: str) -> None:
        """Ends an update and labels the weights; older servers ignore the label."""
        limit = server.client.config.transfer_timeout_s
        body = {"weight_version": label}
        await server.client.post("/finish_weight_update", body, timeout_s=limit)


@dataclass(slots=True)
class SglangTensorWire:
    """SGLang's `update_weights_from_tensor` with one flattened tensor a bucket.

    The cache is never flushed here: with a request held, a flush that fails ends the server.
    """

    ranks: int = 1
    """GPUs of a server; each opens the tensor by its own number."""
    pickled: Callable[[object, int], bytes] = field(default=lambda value, rank: packed(value, rank))

    async def connect(self, server: ServerControl) -> None:
        """Nothing has to be agreed on."""

    async def begin(self, server: ServerControl) -> None:
        """Opens a session, where the server has them."""
        await open_session(server)

    async def put(self, server: ServerControl, bucket: Named, label: str | None) -> None:
        """Sends a bucket; the label comes with the last one."""
        flat = await asyncio.to_thread(flattened, bucket)
        body: dict[str, Any] = {
            "serialized_named_tensors": [
                base64.b64encode(self.pickled(flat, rank)).decode() for rank in range(self.ranks)
            ],
            "load_format": "flattened_bucket",
            "flush_cache": False,
        }
        if label is not None:
            body["weight_version"] = label
        limit = server.client.config.transfer_timeout_s
        await server.client.post("/update_weights_from_tensor", body, timeout_s=limit)

    async def finish(self, server: ServerControl, label: str) -> None:
        """Ends the session."""
        await close_session(server)


def exported(tensor: torch.Tensor) -> object:
    """What a server opens a tensor with: a handle on a GPU, elsewhere its bytes.

    Only stub servers take bytes, for rehearsals without a GPU.
    """
    if tensor.is_cuda:
        return _reductions.reduce_tensor(tensor)[1]
    return tensor.detach().contiguous().view(-1).view(torch.uint8).numpy().tobytes()


def device_uuid(tensor: torch.Tensor) -> str:
    """The GPU that holds a tensor; both processes must see the same one."""
    if not tensor.is_cuda:
        return "cpu"
    return str(_cuda.get_device_properties(tensor.device).uuid)


def flattened(bucket: Named) -> dict[str, object]:
    """A bucket as one tensor of bytes, and where in it which tensor is."""
    parts = [tensor.flatten().view(torch.uint8) for _, tensor in bucket]
    metadata: list[SimpleNamespace] = []
    start = 0
    for (name, tensor), part in zip(bucket, parts, strict=True):
        end = start + part.numel()
        place = {"start_idx": start, "end_idx": end, "numel": part.numel()}
        metadata.append(SimpleNamespace(name=name, shape=tensor.shape, dtype=tensor.dtype, **place))
        start = end
    tensor = torch.cat(parts)
    if tensor.is_cuda:
        torch.cuda.synchronize()
    return {"flattened_tensor": tensor, "metadata": metadata}


class _Pickler(pickle.Pickler):
    """Pickles CUDA tensors as handles for the reader's GPU number `rank`, others by their content.

    Not as `ForkingPickler` does: a tensor of the CPU would go through a descriptor that only
    processes of one family may ask for, and a server is none of this process's.
    """

    def __init__(self, file: io.BytesIO, rank: int) -> None:
        super().__init__(file)
        self._rank = rank

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, torch.Tensor) and obj.is_cuda:
            rebuild, arguments = _reductions.reduce_tensor(obj)
            changed = list(arguments)
            changed[_DEVICE_ARGUMENT] = self._rank
            return rebuild, tuple(changed)
        return NotImplemented


def packed(value: object, rank: int) -> bytes:
    """A pickle whose CUDA tensors the reader opens on its GPU number `rank`."""
    file = io.BytesIO()
    _Pickler(file, rank).dump(value)
    return file.getvalue()
