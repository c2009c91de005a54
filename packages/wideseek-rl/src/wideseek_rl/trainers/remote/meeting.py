"""How the ranks of a trainer meet, as the variables of `torch.distributed` say."""

import errno
import socket
import struct
import sys
from typing import Any

import torch

from wideseek_core import RanksLost, TrainError
from wideseek_core.config import environment, set_environment_default

SIOCGIFADDR = 0x8915
"""Linux's question for the address of a network interface."""


def join_ranks(backend: str) -> None:
    """Forms torch's default group; its first rank listens on MASTER_ADDR alone.

    By itself torch's store listens on all addresses of the host. Raises `TrainError` if the
    address can't be listened on or is not known, `RanksLost` if another process has taken the port
    meanwhile or no name server answers now.
    """
    distributed: Any = torch.distributed
    rank, count = int(environment("RANK", "0")), int(environment("WORLD_SIZE", "1"))
    host, port = environment("MASTER_ADDR", "127.0.0.1"), int(environment("MASTER_PORT", "0"))
    if "gloo" in backend and (interface := interface_towards(host)):
        set_environment_default("GLOO_SOCKET_IFNAME", interface)
    listening: dict[str, Any] = {}
    if rank == 0:
        try:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            server = socket.create_server((host, port), family=family)
        except (OSError, UnicodeError) as error:  # of names that are none, too
            raise _kind(error)(f"the trainer can't listen on {host}:{port}: {error}") from None
        port = server.getsockname()[1]
        listening = {"is_master": True, "master_listen_fd": server.detach()}
    else:
        try:
            socket.getaddrinfo(host, port)
        except (OSError, UnicodeError) as error:  # of names that are none, too
            raise _kind(error)(f"the trainer's first rank is at {host}: {error}") from None
    store = distributed.TCPStore(host, port, count, wait_for_workers=False, **listening)
    distributed.init_process_group(backend, store=store, rank=rank, world_size=count)


def _kind(error: Exception) -> type[TrainError]:
    """Of an error about an address: whether another attempt may help."""
    passing = (errno.EADDRINUSE, socket.EAI_AGAIN)
    return RanksLost if isinstance(error, OSError) and error.errno in passing else TrainError


def interface_towards(host: str) -> str:
    """The network interface by which this host reaches another one, or itself; empty if unknown.

    By itself gloo takes the address that the host's own name has, on many hosts a loopback one,
    which ranks on other hosts can't reach.
    """
    if sys.platform != "linux":
        return ""
    import fcntl

    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((host, 9))  # nothing is sent
            own = socket.inet_aton(probe.getsockname()[0])
            for _, name in socket.if_nameindex():
                try:
                    answer = fcntl.ioctl(probe, SIOCGIFADDR, struct.pack("256s", name.encode()))
                except OSError:
                    continue  # it has no address
                if answer[20:24] == own:
                    return name
    except OSError:
        pass
    return ""
