"""Weights through NCCL: one broadcast from this process to servers on other GPUs.

The servers' workers and this process are ranks of one group; this process is rank 0. Sending and
the servers' `update_weights` meet inside the same collective calls, so both are under way at once,
and a failure of any rank is one of all.
"""

import asyncio
import socket
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from wideseek_core import ConfigError, PeerFailed, TrainError
from wideseek_core.ports import free_port
from wideseek_rl.engines.control.protocol import ServerControl
from wideseek_rl.sync.fanout import Failures, in_thread, on_each
from wideseek_rl.sync.sglang_session import close_session, open_session
from wideseek_rl.sync.source import WeightSource


class Sender(Protocol):
    """The trainer's end of a group; every method blocks."""

    def join(self, address: str, port: int, world_size: int) -> None:
        """Meets all other ranks."""
        ...

    def init_fields(self) -> dict[str, Any]:
        """What servers have to know of the transfer when they join."""
        ...

    def update_fields(self) -> dict[str, Any]:
        """What they have to know of each update, beside names, types and shapes."""
        ...

    def broadcast(self, source: WeightSource) -> None:
        """Sends all tensors in the order of the metadata, to the end."""
        ...

    def leave(self) -> None:
        """Leaves the group."""
        ...


class NcclWire(Protocol):
    """How one kind of server is asked to join and to receive."""

    async def world_size(self, server: ServerControl) -> int:
        """Ranks of a server: its GPUs."""
        ...

    async def join(self, server: ServerControl, group: dict[str, Any]) -> None:
        """Returns when the server's workers have joined."""
        ...

    async def begin(self, server: ServerControl) -> None:
        """Before the tensors."""
        ...

    async def receive(self, server: ServerControl, update: dict[str, Any], label: str) -> None:
        """Returns when the server has all tensors."""
        ...

    async def finish(self, server: ServerControl, label: str) -> None:
        """After the tensors."""
        ...


@dataclass(slots=True)
class NcclTransport:
    """Broadcasts tensors to all servers at once; a `Transport`."""

    source: WeightSource
    wire: NcclWire
    sender: Sender
    address: str = "127.0.0.1"
    port: int = 0
    timeout_s: float = 300.0
    separate: bool = field(default=False, init=False)
    _members: tuple[str, ...] = field(default=(), init=False)
    _broken: str = field(default="", init=False)
    _checked: bool = field(default=False, init=False)

    async def connect(self, servers: Sequence[ServerControl]) -> Failures:
        """Forms the group: ranks follow each other in the order of the servers.

        A group that was there is given up; one with a dead member can't be left in order. Raises
        `ConfigError` if this host can't listen where the ranks are to meet.
        """
        await self._check_place()
        if self._members and not self._broken:
            await in_thread(self.sender.leave, self.timeout_s, "leaving NCCL")
        self._members, self._broken = (), ""
        failures: Failures = {}
        sizes: dict[str, int] = {}

        async def measure(server: ServerControl) -> None:
            sizes[server.client.url] = await self.wire.world_size(server)

        members = await on_each(servers, measure, failures)
        failures |= await self._meet(members, sizes)
        met = [server.client.url for server in members if server.client.url not in failures]
        self._members = tuple(met) if len(met) == len(members) else ()
        return failures

    async def _check_place(self) -> None:
        """Before the first group: a later one may meet where that one still listens."""
        if self._checked:
            return
        try:
            await asyncio.to_thread(_bind, self.address, self.port)
        except (OSError, UnicodeError) as error:  # of names that are none, too
            place = f"sync.master_address={self.address} sync.master_port={self.port}"
            raise ConfigError(f"{place}: the trainer can't listen there: {error}") from None
        self._checked = True

    async def _meet(self, servers: Sequence[ServerControl], sizes: Mapping[str, int]) -> Failures:
        """Servers and this process join a group of their own; all of them fail or none."""
        world, port = 1 + sum(sizes.values()), self.port or free_port()
        offsets: dict[str, int] = {}
        for server in servers:
            offsets[server.client.url] = 1 + sum(sizes[url] for url in offsets)

        async def join(server: ServerControl) -> None:
            place = {
                "master_address": self.address,
                "master_port": port,
                "rank_offset": offsets[server.client.url],
                "world_size": world,
            }
            await self.wire.join(server, place | self.sender.init_fields())

        refused: Failures = {}
        joining = asyncio.create_task(on_each(servers, join, refused))
        own = in_thread(
            lambda: self.sender.join(self.address, port, world), self.timeout_s, "joining NCCL"
        )
        meeting = asyncio.create_task(own)
        async with _ending(joining, meeting):
            await _first_of(joining, meeting)
            try:
                if not refused:  # else ours waits for a rank that never comes
                    await meeting
                    await joining
            except TrainError as error:
                return dict.fromkeys(offsets, error)
        if refused:
            error = PeerFailed(f"no NCCL group: {'; '.join(map(str, refused.values()))}")
            return {url: refused.get(url, error) for url in offsets}
        return {}

    async def send(self, servers: Sequence[ServerControl], version: int) -> Failures:
        """Broadcasts all weights. Every member has to take part, or none gets anything."""
        if not servers:
            return {}  # nobody would receive what is sent
        urls = [server.client.url for server in servers]
        if self._broken or set(urls) != set(self._members):
            missing = ", ".join(set(self._members) - set(urls)) or self._broken
            error = PeerFailed(f"the NCCL group is incomplete: {missing}")
            return dict.fromkeys(urls, error)
        failures: Failures = {}
        await on_each(servers, self.wire.begin, failures)
        if not failures:
            await self._transfer(servers, version, failures)
        if failures:
            # Ranks that wait inside a collective call for one that failed can't be used again.
            self._broken = "; ".join(str(error) for error in failures.values())
            error = PeerFailed(f"the NCCL group is broken: {self._broken}")
            return {url: failures.get(url, error) for url in urls}
        await on_each(servers, lambda server: self.wire.finish(server, str(version)), failures)
        return failures

    async def close(self) -> None:
        """Leaves the group."""
        if self._members and not self._broken:
            self.sender.leave()

    async def _transfer(
        self, servers: Sequence[ServerControl], version: int, failures: Failures
    ) -> None:
        infos = self.source.metadata()
        update: dict[str, Any] = {
            "names": [info.name for info in infos],
            "dtype_names": [info.dtype for info in infos],
            "shapes": [list(info.shape) for info in infos],
            **self.sender.update_fields(),
        }
        receiving = asyncio.create_task(
            on_each(
                servers,
                lambda server: self.wire.receive(server, dict(update), str(version)),
                failures,
            )
        )
        sending = asyncio.create_task(
            in_thread(
                lambda: self.sender.broadcast(self.source), self.timeout_s, "sending through NCCL"
            )
        )
        async with _ending(receiving, sending):
            await _first_of(receiving, sending)
            if receiving.done() and failures and not sending.done():
                return  # sending waits for a rank that has failed
            try:
                await sending
            except TrainError as error:
                for server in servers:
                    failures.setdefault(server.client.url, error)
            await receiving


def _bind(address: str, port: int) -> None:
    """Raises `OSError` where nothing of this process could listen."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as those who listen do
        probe.bind((address, port))


@asynccontextmanager
async def _ending(*tasks: "asyncio.Task[Any]") -> AsyncGenerator[None]:
    """Leaves none of the tasks running: they may wait for a rank that never comes."""
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _first_of(servers: "asyncio.Task[Any]", own: "asyncio.Task[None]") -> None:
    """Waits for one end of a collective call; raises what is no failure of a server."""
    await asyncio.wait((servers, own), return_when=asyncio.FIRST_COMPLETED)
    if servers.done():
        servers.result()


@dataclass(slots=True)
class VllmNcclWire:
    """vLLM's weight transfer by NCCL."""

    async def world_size(self, server: ServerControl) -> int:
        """GPUs of the server."""
        answer = await server.client.get("/get_world_size")
        size = answer.get("world_size")
        return size if isinstance(size, int) else 1

    async def join(self, server: ServerControl, group: dict[str, Any]) -> None:
        """Has the server's workers join; it answers when they have."""
        limit = server.client.config.transfer_timeout_s
        if not await _packs_from_the_start(server):
            group = {key: value for key, value in group.items() if key not in PACKING}
        body = {"init_info": group}
        await server.client.post("/init_weight_transfer_engine", body, timeout_s=limit)

    async def begin(self, server: ServerControl) -> None:
        """Starts an update."""
        await server.client.post("/start_weight_update", {"is_checkpoint_format": True})

    async def receive(self, server: ServerControl, update: dict[str, Any], label: str) -> None:
        """Receives; the label comes at the end."""
        limit = server.client.config.transfer_timeout_s
        if await _packs_from_the_start(server):
            update = {key: value for key, value in update.items() if key not in PACKING}
        await server.client.post("/update_weights", {"update_info": update}, timeout_s=limit)

    async def finish(self, server: ServerControl, label: str) -> None:
        """Ends an update and labels the weights; older servers ignore the label."""
        limit = server.client.config.transfer_timeout_s
        body = {"weight_version": label}
        await server.client.post("/finish_weight_update", body, timeout_s=limit)


PACKING = ("packed", "packed_buffer_size_bytes")
"""Fields that vLLM takes when its workers join (from 0.29 on) or with each update (before)."""


async def _packs_from_the_start(server: ServerControl) -> bool:
    return (await server.inspect()).version >= (0, 29)


@dataclass(slots=True)
class SglangNcclWire:
    """SGLang's `update_weights_from_distributed`."""

    ranks: int = 1
    group_name: str = "wideseek"
    backend: str = "nccl"

    async def world_size(self, server: ServerControl) -> int:
        """GPUs of the server, as it was started."""
        return self.ranks

    async def join(self, server: ServerControl, group: dict[str, Any]) -> None:
        """Has the server's workers join."""
        body = {**group, "group_name": self.group_name, "backend": self.backend}
        limit = server.client.config.transfer_timeout_s
        await server.client.post("/init_weights_update_group", body, timeout_s=limit)

    async def begin(self, server: ServerControl) -> None:
        """Opens a session, where the server has them."""
        await open_session(server)

    async def receive(self, server: ServerControl, update: dict[str, Any], label: str) -> None:
        """Receives and labels. The cache is never flushed here: see `SglangTensorWire`."""
        body = {
            "names": update["names"],
            "dtypes": update["dtype_names"],
            "shapes": update["shapes"],
            "group_name": self.group_name,
            "flush_cache": False,
            "weight_version": label,
        }
        limit = server.client.config.transfer_timeout_s
        await server.client.post("/update_weights_from_distributed", body, timeout_s=limit)

    async def finish(self, server: ServerControl, label: str) -> None:
        """Ends the session."""
        await close_session(server)
