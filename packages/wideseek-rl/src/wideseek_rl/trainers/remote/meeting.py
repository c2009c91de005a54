"""How the ranks of a trainer meet, as the variables of `torch.distributed` say."""

import socket
from typing import Any

import torch

from wideseek_core import TrainError
from wideseek_core.config import environment


def join_ranks(backend: str) -> None:
    """Forms torch's default group; its first rank listens on MASTER_ADDR alone.

    By itself torch's store listens on all addresses of the host. Raises `TrainError` if the
    address can't be listened on.
    """
    distributed: Any = torch.distributed
    rank, count = int(environment("RANK", "0")), int(environment("WORLD_SIZE", "1"))
    host, port = environment("MASTER_ADDR", "127.0.0.1"), int(environment("MASTER_PORT", "0"))
    listening: dict[str, Any] = {}
    if rank == 0:
        try:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            server = socket.create_server((host, port), family=family)
        except OSError as error:
            raise TrainError(f"the trainer can't listen on {host}:{port}: {error}") from None
        port = server.getsockname()[1]
        listening = {"is_master": True, "master_listen_fd": server.detach()}
    store = distributed.TCPStore(host, port, count, wait_for_workers=False, **listening)
    distributed.init_process_group(backend, store=store, rank=rank, world_size=count)
