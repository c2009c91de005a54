"""Clients that put a retrieval server under load, over bare sockets.

They share the processors with the server, so what they spend is lost to it: a request is three
pieces put together, an answer is counted and thrown away.
"""

import itertools
import json
import os
import select
import socket
import time
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Load:
    """What the clients saw."""

    per_second: float
    p50_ms: float
    p95_ms: float
    errors: int
    server_ms: float
    """Processor time of the server and its processes per query."""


def processor_seconds(pid: int) -> float:
    """Of a process and its children."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    spent = 0
    for one in (pid, *map(int, children)):
        fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        spent += int(fields[11]) + int(fields[12])
    return spent / os.sysconf("SC_CLK_TCK")


class Requests:
    """Requests without end, no query twice, so that no memory of either server helps."""

    def __init__(self, questions: Path, topk: int) -> None:
        lines = questions.read_text("utf-8").splitlines()
        self._parts = [self._split(json.loads(line)["question"], topk) for line in lines]
        self._numbers = itertools.count()

    def _split(self, question: str, topk: int) -> tuple[bytes, bytes]:
        body = json.dumps({"queries": [f"{question} 00000000"], "topk": topk}).encode()
        head = b"POST /retrieve HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        front, _, back = body.rpartition(b"00000000")
        return b"%bContent-Length: %d\r\n\r\n%b" % (head, len(body), front), back

    def __next__(self) -> bytes:
        number = next(self._numbers)
        front, back = self._parts[number % len(self._parts)]
        return b"%b%08d%b" % (front, number, back)


@dataclass(slots=True)
class Connection:
    """One client: a request, its answer, the next request."""

    socket: socket.socket
    started: float = 0.0
    answer: bytes = b""

    def whole(self) -> bool:
        head, found, body = self.answer.partition(b"\r\n\r\n")
        size = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
        return bool(found) and len(body) >= int(size)


@dataclass(slots=True)
class Crowd:
    """Clients that ask one server. Bare sockets, for a client's work counts against the server."""

    port: int
    requests: Requests
    times: list[float] = field(default_factory=list[float])
    spent: float = 0.0
    server: float = 0.0
    errors: int = 0

    def run(self, clients: int, seconds: float) -> None:
        poll, crowd = select.epoll(), dict[int, Connection]()
        for _ in range(clients):
            one = Connection(socket.create_connection(("127.0.0.1", self.port)))
            one.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            crowd[one.socket.fileno()] = one
            poll.register(one.socket, select.EPOLLIN)
        started = time.perf_counter()
        for one in crowd.values():
            self._ask(one)
        waiting = len(crowd)
        while waiting:
            for number, _ in poll.poll():
                one = crowd[number]
                one.answer += one.socket.recv(262_144)
                if not one.whole():
                    continue
                now = time.perf_counter()
                self.times.append(now - one.started)
                self.errors += not one.answer.startswith(b"HTTP/1.1 200")
                if now < started + seconds:
                    self._ask(one)
                else:
                    waiting -= 1
        self.spent += time.perf_counter() - started
        for one in crowd.values():
            one.socket.close()

    def _ask(self, one: Connection) -> None:
        one.answer, one.started = b"", time.perf_counter()
        one.socket.sendall(next(self.requests))

    def measured(self, pid: int, clients: int, seconds: float) -> None:
        used = processor_seconds(pid)
        self.run(clients, seconds)
        self.server += processor_seconds(pid) - used

    def load(self) -> Load:
        times = sorted(self.times)
        return Load(
            per_second=len(times) / self.spent,
            p50_ms=1000 * times[len(times) // 2],
            p95_ms=1000 * times[int(len(times) * 0.95)],
            errors=self.errors,
            server_ms=1000 * self.server / len(times),
        )


def ready(port: int) -> None:
    for _ in range(300):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except OSError:
            time.sleep(0.2)
    raise SystemExit(f"nothing listens on {port}")
