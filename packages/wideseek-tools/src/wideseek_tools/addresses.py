"""Tells clients where servers listen: in a file that they read, or in a folder of such files."""

import socket
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from wideseek_core.files import locked, write_atomically

_EVERYWHERE = frozenset({"0.0.0.0", "::", ""})


def reachable_address(host: str, port: int) -> str:
    """The address under which other machines reach a server that listens on `host`."""
    if host in _EVERYWHERE:
        host = _own_address()
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _own_address() -> str:
    """This machine's address on the network; its name if there is none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # an address for documentation: nothing is sent
            return str(probe.getsockname()[0])
        except OSError:
            return socket.gethostname()


@contextmanager
def announced(address: str, path: Path) -> Generator[None]:
    """Keeps a line with the address in a file, or a file with it in a folder, during the block."""
    if path.is_dir():
        name = address.partition("://")[2].replace(":", "_").replace("[", "").replace("]", "")
        path = path / f"{name}.txt"
    _change(path, add=address)
    try:
        yield
    finally:
        _change(path, remove=address)


def _change(path: Path, add: str = "", remove: str = "") -> None:
    with locked(path.with_name(f".{path.name}.lock")):
        lines = path.read_text("utf-8").split() if path.is_file() else []
        kept = [line for line in lines if line not in (add, remove)]
        kept += [add] if add else []
        if kept:
            write_atomically(path, "".join(f"{line}\n" for line in kept))
        else:
            path.unlink(missing_ok=True)


def read_addresses(path: Path) -> list[str]:
    """The addresses in a file, or in the files of a folder. Raises `OSError`, `ValueError`."""
    files = sorted(path.glob("*.txt")) if path.is_dir() else [path]
    lines = [line for file in files for line in file.read_text("utf-8").split()]
    return [line if "://" in line else f"http://{line}" for line in dict.fromkeys(lines)]
