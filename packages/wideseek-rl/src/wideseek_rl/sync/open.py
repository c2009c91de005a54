"""Which transport brings weights to which servers: the one place that tells them apart."""

from typing import Literal

from wideseek_rl.engines.control.config import ControlConfig
from wideseek_rl.engines.control.protocol import ServerControl
from wideseek_rl.engines.control.sglang import SglangControl
from wideseek_rl.engines.control.vllm import VllmControl
from wideseek_rl.sync.config import SyncConfig
from wideseek_rl.sync.protocol import Transport
from wideseek_rl.sync.source import WeightSource

ServerKind = Literal["vllm", "sglang"]


def open_control(kind: ServerKind, url: str, config: ControlConfig) -> ServerControl:
    """The control of one server."""
    return VllmControl(url, config) if kind == "vllm" else SglangControl(url, config)


def open_transport(
    kind: ServerKind, source: WeightSource, config: SyncConfig, *, ranks: int
) -> Transport:
    """The transport of a configuration; `ranks` is the number of GPUs of each server.

    Raises `ConfigError` where the library of the servers is missing beside the trainer.
    """
    from wideseek_rl.sync.ipc import IpcTransport, SglangTensorWire, VllmIpcWire
    from wideseek_rl.sync.nccl import NcclTransport, SglangNcclWire, VllmNcclWire
    from wideseek_rl.sync.senders import TorchSender, vllm_sender

    if config.transfer == "nccl":
        is_vllm = kind == "vllm"
        wire = VllmNcclWire() if is_vllm else SglangNcclWire(ranks=ranks)
        sender = vllm_sender() if is_vllm else TorchSender()
        address, port = config.master_address, config.master_port
        return NcclTransport(source, wire, sender, address=address, port=port)
    wire = VllmIpcWire() if kind == "vllm" else SglangTensorWire(ranks=ranks)
    return IpcTransport(source, wire, config.bucket_bytes)
