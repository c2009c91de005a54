"""The trainer's end of NCCL groups, through the library that the servers themselves use.

These libraries are imported only here, and only when a group is formed.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, cast

import torch

from wideseek_core import ConfigError
from wideseek_rl.sync.plain_vllm import PlainVllmSender
from wideseek_rl.sync.source import WeightSource

PACKED_BYTES = 2**30
"""Size of the buffers in which small tensors travel together."""


def vllm_sender(
    buffer_bytes: int = PACKED_BYTES,
) -> "OldVllmSender | NewVllmSender | PlainVllmSender":
    """The sender that fits the installed vLLM: its trainer interface changed with 0.29.

    Without vLLM, as beside trainers that exclude it, one that needs nothing of it.
    """
    try:
        from vllm.distributed.weight_transfer import (  # pyright: ignore[reportMissingImports]
            nccl_engine,  # pyright: ignore[reportUnknownVariableType]
        )
    except ImportError:
        return PlainVllmSender(buffer_bytes)
    engine = cast("Any", nccl_engine)
    if hasattr(engine, "NCCLTrainerWeightTransferEngine"):
        return NewVllmSender(engine, buffer_bytes)
    return OldVllmSender(engine, buffer_bytes)


@dataclass(slots=True)
class OldVllmSender:
    """vLLM 0.23 to 0.26: static functions around a communicator. A `Sender`."""

    engine: Any
    buffer_bytes: int = PACKED_BYTES
    _group: Any = field(default=None, init=False)

    def join(self, address: str, port: int, world_size: int) -> None:
        """Meets the workers."""
        place = {"master_address": address, "master_port": port, "world_size": world_size}
        self._group = self.engine.NCCLWeightTransferEngine.trainer_init(place)

    def init_fields(self) -> dict[str, Any]:
        """Nothing: packing is sent with each update."""
        return {}

    def update_fields(self) -> dict[str, Any]:
        """Packing, which both ends must know alike."""
        return {"packed": True, "packed_buffer_size_bytes": self.buffer_bytes}

    def broadcast(self, source: WeightSource) -> None:
        """Sends all tensors; before it packs them on streams of its own, they must be there."""
        _wait()
        arguments = self.engine.NCCLTrainerSendWeightsArgs(
            group=self._group, packed=True, packed_buffer_size_bytes=self.buffer_bytes
        )
        self.engine.NCCLWeightTransferEngine.trainer_send_weights(source.tensors(), arguments)
        _wait()

    def leave(self) -> None:
        """Drops the communicator."""
        self._group = None


class _Client:
    """Replaces vLLM's own HTTP client: the requests are made elsewhere, at the same time."""

    def init_weight_transfer_engine(self, init_info: dict[str, Any]) -> None:
        """Made by the transport, for each server with ranks of its own."""

    def start_weight_update(self) -> None:
        """Made by the transport."""

    def update_weights(self, update_info: Any) -> None:
        """Made by the transport."""

    def finish_weight_update(self, weight_version: str | None = None) -> None:
        """Made by the transport."""

    def shutdown_weight_transfer_engine(self) -> None:
        """Not made: the servers end with the run."""


@dataclass(slots=True)
class NewVllmSender:
    """vLLM from 0.29 on: an engine object that pulls from a source. A `Sender`."""

    engine: Any
    buffer_bytes: int = PACKED_BYTES
    _current: "_VllmSource" = field(default_factory=lambda: _VllmSource(), init=False)
    _trainer: Any = field(default=None, init=False)

    def join(self, address: str, port: int, world_size: int) -> None:
        """Meets the workers."""
        info = self.engine.NCCLTrainerInitInfo(
            master_address=address,
            master_port=port,
            world_size=world_size,
            packed=True,
            packed_buffer_size_bytes=self.buffer_bytes,
            rank=0,
        )
        self._trainer = self.engine.NCCLTrainerWeightTransferEngine.trainer_init(
            info, client=_Client(), source=self._current
        )

    def init_fields(self) -> dict[str, Any]:
        """Packing, which both ends must know alike."""
        return {"packed": True, "packed_buffer_size_bytes": self.buffer_bytes}

    def update_fields(self) -> dict[str, Any]:
        """Nothing: packing was sent when the servers joined."""
        return {}

    def broadcast(self, source: WeightSource) -> None:
        """Sends all tensors."""
        self._current.source = source
        _wait()
        self._trainer.send_weights()

    def leave(self) -> None:
        """Ends the communicator."""
        self._trainer.shutdown()


class _VllmSource:
    """Our weights as vLLM's trainer asks for them."""

    source: WeightSource | None = None

    def metadata(self) -> list[Any]:
        """Names, types and shapes."""
        from vllm.distributed.weight_transfer import (  # pyright: ignore[reportMissingImports]
            ParamMeta,  # pyright: ignore[reportUnknownVariableType]
        )

        assert self.source is not None
        meta = cast("Any", ParamMeta)
        return [
            meta(info.name, getattr(torch, info.dtype), info.shape)
            for info in self.source.metadata()
        ]

    def __iter__(self) -> Iterator[tuple[str, torch.Tensor]]:
        assert self.source is not None
        return self.source.tensors()

    def held_names(self) -> None:
        """None: this rank holds all."""


@dataclass(slots=True)
class TorchSender:
    """A process group of torch, which SGLang's workers join. A `Sender`."""

    group_name: str = "wideseek"
    backend: str = "nccl"
    timeout_s: float = 300.0
    _group: Any = field(default=None, init=False)

    def join(self, address: str, port: int, world_size: int) -> None:
        """Meets the workers. Raises `ConfigError` without SGLang, which forms the group."""
        try:
            from sglang.srt.utils.common import (  # pyright: ignore[reportMissingImports]
                init_custom_process_group,  # pyright: ignore[reportUnknownVariableType]
            )
        except ImportError as error:
            raise ConfigError(
                f"weights through NCCL need SGLang beside the trainer: {error}"
            ) from None
        form = cast("Any", init_custom_process_group)
        self._group = form(
            backend=self.backend,
            init_method=f"tcp://{address}:{port}",
            world_size=world_size,
            rank=0,
            group_name=self.group_name,
            timeout=timedelta(seconds=self.timeout_s),
        )

    def init_fields(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def update_fields(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def broadcast(self, source: WeightSource) -> None:
        """Sends all tensors."""
        distributed: Any = torch.distributed
        handles: list[Any] = []
        kept: list[torch.Tensor] = []
        for _, tensor in source.tensors():
            kept.append(tensor)  # until it has been sent
            handles.append(distributed.broadcast(tensor, 0, group=self._group, async_op=True))
        for handle in handles:
            handle.wait()
        _wait()

    def leave(self) -> None:
        """Leaves the group."""
        distributed: Any = torch.distributed
        distributed.destroy_process_group(self._group)


def _wait() -> None:
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
