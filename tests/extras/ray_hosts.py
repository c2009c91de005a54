"""A Ray cluster over hosts: network namespaces of this machine on one bridge, with links to cut."""

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from wideseek_core.ports import free_port
from wideseek_core.processes import log_tail

from .ray_nodes import MARK, RAY_SETTINGS, placement

NETWORK = "10.213.77"
CAN_BE_MADE = sys.platform == "linux" and os.geteuid() == 0 and shutil.which("ip") is not None
"""Whether this process may make network namespaces."""
ALWAYS = ("--min-worker-port=0", "--max-worker-port=0", "--block", "--disable-usage-stats")
ATTEMPTS = 300
"""Questions for what is in a cluster."""
RAY = Path(sys.executable).with_name("ray")


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


class Hosts:
    """Hosts by their numbers, from 1 on; 1 is the head of the cluster, without CPUs for others."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.mark = str(folder)
        self._folder, self._stack = folder, stack
        self._prefix = f"ws{os.getpid() % 100_000}"
        self._bridge = f"{self._prefix}br"
        self.port = free_port()
        self._raylets: dict[int, subprocess.Popen[bytes]] = {}
        self._commands: dict[int, list[str]] = {}
        ip("link", "add", self._bridge, "type", "bridge")
        stack.callback(ip, "link", "del", self._bridge)
        ip("addr", "add", f"{NETWORK}.1/24", "dev", self._bridge)
        ip("link", "set", self._bridge, "up")
        head = ("--head", f"--port={self.port}", "--num-cpus=0", "--include-dashboard=false")
        self._commands[1] = [str(RAY), "start", *head]
        self._start_raylet(1)
        self.wait_for(1)

    @property
    def address(self) -> str:
        """Of the cluster."""
        return f"{NETWORK}.1:{self.port}"

    @property
    def placement(self) -> list[str]:
        return placement(self.address)

    def add(self, number: int, resource: str) -> None:
        """A host for one process of a kind, which joins the cluster."""
        name, link = f"{self._prefix}n{number}", f"{self._prefix}v{number}"
        if number not in self._commands:
            ip("netns", "add", name)
            self._stack.callback(ip, "netns", "del", name)
            ip("link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", name)
            ip("link", "set", link, "master", self._bridge, "up")
            ip("-n", name, "addr", "add", f"{NETWORK}.{number}/24", "dev", "eth0")
            for device in ("lo", "eth0"):
                ip("-n", name, "link", "set", device, "up")
        # Each host has a folder of its own for Ray's sockets, as if it had a disk of its own.
        own = self._folder / f"host{number}"
        own.mkdir(exist_ok=True)
        Path("/tmp/ray").mkdir(exist_ok=True)
        script = f'mount --bind "{own}" /tmp/ray && exec "$@"'
        inside = ("ip", "netns", "exec", name, "unshare", "-m", "sh", "-c", script, "sh")
        amounts = ("--num-cpus=1", f'--resources={{"{resource}": 1}}')
        start = (str(RAY), "start", f"--address={self.address}", *amounts)
        self._commands[number] = [*inside, *start]
        self._start_raylet(number)

    def cut(self, number: int) -> None:
        """Takes the link of a host down: nothing ends there, and nothing comes through."""
        ip("link", "set", f"{self._prefix}v{number}", "down")

    def mend(self, number: int) -> None:
        """Brings the link up again."""
        ip("link", "set", f"{self._prefix}v{number}", "up")

    def end_raylet(self, number: int) -> None:
        """Ends what is left of a host's part of the cluster."""
        _end(self._raylets.pop(number))

    def wait_for(self, hosts: int) -> None:
        """Waits until so many hosts are in the cluster."""
        command = [sys.executable, "-m", "wideseek_apps", "cluster", f"address={self.address}"]
        for _ in range(ATTEMPTS):
            printed = subprocess.run(command, capture_output=True, text=True, check=False).stdout
            if printed.count("  alive  ") == hosts:
                return
            for number, raylet in list(self._raylets.items()):
                if raylet.poll() is not None:  # Ray gives a node 30 seconds to start
                    self._start_raylet(number)
            time.sleep(1)
        raise AssertionError(log_tail(self._log(1), 20))

    def _log(self, number: int) -> Path:
        return self._folder / f"host{number}.log"

    def _start_raylet(self, number: int) -> None:
        address = f"--node-ip-address={NETWORK}.{number}"
        words = [*self._commands[number], address, *ALWAYS]
        with self._log(number).open("ab") as output:
            raylet = subprocess.Popen(
                words,
                stdout=output,
                stderr=output,
                env={**os.environ, **RAY_SETTINGS, MARK: self.mark},
            )
        self._raylets[number] = raylet
        self._stack.callback(_end, raylet)


def _end(raylet: "subprocess.Popen[bytes]") -> None:
    raylet.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        raylet.wait(30)
    raylet.kill()
    raylet.wait()


@contextmanager
def opened_hosts(folder: Path) -> Generator[Hosts]:
    """The bridge and the head of a cluster; hosts are added to it."""
    with ExitStack() as stack:
        yield Hosts(folder, stack)
