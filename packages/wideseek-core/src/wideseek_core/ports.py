"""Ports for servers that are started as child processes."""

import itertools
import os
import socket

_FIRST, _COUNT = 10_000, 20_000
"""Below the ports that systems give to connections."""
_numbers = itertools.count()


def free_port() -> int:
    """A port on loopback that nothing listens on. Raises `OSError` where there is none.

    No connection takes it before the server listens, and no other process is likely to: each
    counts from a place of its own.
    """
    for _ in range(_COUNT):
        port = _FIRST + (os.getpid() * 37 + next(_numbers)) % _COUNT
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    raise OSError("no port is free")
