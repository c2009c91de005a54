"""Finds places for processes in a Ray cluster: a placement group a request, an actor a process."""

import asyncio
import contextlib
import importlib
import secrets
import socket
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayActorError, RayError, RayTaskError, RuntimeEnvSetupError
from ray.util import get_node_ip_address
from ray.util.placement_group import placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from wideseek_core import ConfigError, WorkerError, WorkerLost
from wideseek_core.counting import counted
from wideseek_core.helper import CHANNEL
from wideseek_core.processes import BUFFER_BYTES, fails_again, last_line
from wideseek_rl.cluster.config import RayPlacement
from wideseek_rl.cluster.launcher import SlotRequest
from wideseek_rl.cluster.ray.actor import Place, ProcessActor
from wideseek_rl.cluster.ray.child import RayChild

NAMESPACE = "wideseek"
CONNECT_TIMEOUT_S = 300.0
"""Time for a process to start and connect back."""
POLL_S = 1
"""Time that a thread waits for room, so that an end of the run is not held up."""
REACH_TIMEOUT_S = 20.0
"""Time for the head of the cluster to accept a connection."""
CALLS = 4
"""Calls of an actor that run at the same time: a long one must not hold up the end."""


class Channels:
    """Where processes on other nodes connect to; each shows the token it was given."""

    def __init__(self) -> None:
        self.host = get_node_ip_address()
        self.port = 0
        self._expected: dict[str, asyncio.Future[tuple[Any, Any]]] = {}
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """Listens."""
        self._server = await asyncio.start_server(self._take, self.host, 0, limit=BUFFER_BYTES)
        self.port = self._server.sockets[0].getsockname()[1]

    def expect(self) -> tuple[str, "asyncio.Future[tuple[Any, Any]]"]:
        """The variable that a process needs to connect, and its connection to come."""
        token = secrets.token_hex(32)
        future = asyncio.get_running_loop().create_future()
        self._expected[token] = future
        return f"{self.host} {self.port} {token}", future

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            token = (await asyncio.wait_for(reader.readexactly(64), 10)).decode("ascii", "replace")
        except (TimeoutError, asyncio.IncompleteReadError):
            token = ""
        future = self._expected.pop(token, None)
        if future is None or future.done():
            writer.close()
        else:
            future.set_result((reader, writer))

    def close(self) -> None:
        """Listens no longer."""
        if self._server is not None:
            self._server.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class RaySlot:
    """A place on a node; see `Slot`."""

    name: str
    log: Path
    place: Place
    actor: Any
    channels: Channels

    @property
    def host(self) -> str:
        """See `Slot`."""
        return self.place.host

    @property
    def devices(self) -> tuple[int, ...] | None:
        """See `Slot`."""
        return self.place.gpus or None

    async def free_port(self) -> int:
        """See `Slot`."""
        try:
            return await self.actor.free_port.remote()
        except RayError as error:
            raise _failed(self.name, error) from None

    async def start(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        channel: bool = False,
    ) -> RayChild:
        """See `Slot`."""
        variables = dict(environment or {})
        coming = None
        if channel:
            variables[CHANNEL], coming = self.channels.expect()
        try:
            pid = await self.actor.start.remote(tuple(command), variables)
        except RayError as error:
            raise _failed(self.name, error) from None
        child = RayChild(self.actor, pid, self.host, self.log)
        if coming is not None:
            await self._connected(child, coming)
        return child

    async def _connected(self, child: RayChild, coming: "asyncio.Future[tuple[Any, Any]]") -> None:
        ended = asyncio.create_task(child.wait())
        await asyncio.wait(
            (coming, ended), timeout=CONNECT_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED
        )
        ended.cancel()
        if not coming.done():
            coming.cancel()
            error = self._unconnected(child)
            await child.stop(0)
            raise error
        child.stdout, child.stdin = coming.result()

    def _unconnected(self, child: RayChild) -> WorkerError:
        if child.returncode is not None and fails_again(child.returncode):
            return WorkerError(f"{self.name} did not start: {last_line(child)}; see {self.log}")
        return WorkerLost(f"{self.name} did not connect; see {self.log}")


def _failed(name: str, error: RayError) -> WorkerError:
    """What an actor's failure means: an exception in its own code would come again elsewhere."""
    init_failed = isinstance(error, RayActorError) and error.actor_init_failed
    if init_failed or isinstance(error, RayTaskError | RuntimeEnvSetupError):
        return WorkerError(f"{name} failed: {str(error).strip().splitlines()[-1].strip()}")
    return WorkerLost(f"{name} is lost: {str(error).splitlines()[0]}")


class RayLauncher:
    """Starts processes on the nodes of a cluster; a `Launcher`."""

    def __init__(self, config: RayPlacement, logs: Path, channels: Channels) -> None:
        self._config, self._logs, self._channels = config, logs, channels

    @asynccontextmanager
    async def slots(self, request: SlotRequest) -> AsyncGenerator[Sequence[RaySlot]]:
        """See `Launcher`. The processes of a request are put on as few nodes as possible."""
        bundle = {"CPU": self._config.cpus, **self._config.resources.get(request.role, {})}
        if request.gpus:
            bundle["GPU"] = request.gpus
        group: Any = placement_group([bundle] * request.count, strategy="PACK")
        actors: list[Any] = []
        try:
            await self._ready(group, request, bundle)
            remote: Any = ray.remote(ProcessActor)
            for number, name in enumerate(request.names):
                strategy = PlacementGroupSchedulingStrategy(
                    group, placement_group_bundle_index=number
                )
                options = {
                    "num_cpus": self._config.cpus,
                    "num_gpus": request.gpus,
                    "resources": self._config.resources.get(request.role, {}),
                    "max_concurrency": CALLS,
                    "scheduling_strategy": strategy,
                    "name": f"{name}-{secrets.token_hex(4)}",
                }
                actors.append(remote.options(**options).remote(name))
            yield await self._placed(request, actors)
        finally:
            for actor in actors:
                with contextlib.suppress(RayError):
                    ray.kill(actor)
            remove_placement_group(group)

    async def _placed(self, request: SlotRequest, actors: Sequence[Any]) -> list[RaySlot]:
        try:
            places = await asyncio.gather(*(actor.place.remote() for actor in actors))
        except RayError as error:
            raise _failed(request.role, error) from None
        return [
            RaySlot(
                name=name,
                log=self._logs / f"{name}.log",
                place=place,
                actor=actor,
                channels=self._channels,
            )
            for name, place, actor in zip(request.names, places, actors, strict=True)
        ]

    async def _ready(self, group: Any, request: SlotRequest, bundle: Mapping[str, float]) -> None:
        """Waits for room. Raises `ConfigError` that says what is missing.

        `group.ready()` would start a Python process to tell, which a busy node takes long for.
        """
        limit = self._config.place_timeout_s
        deadline = time.monotonic() + limit
        while time.monotonic() < deadline:
            try:
                if await asyncio.to_thread(group.wait, POLL_S):
                    return
            except RayError:  # the head of the cluster does not answer at present
                await asyncio.sleep(POLL_S)
        try:
            free, nodes = ray.available_resources(), len(living_nodes())
        except RayError as error:
            reason = str(error).partition("\n")[0]
            raise ConfigError(f"the head of the Ray cluster does not answer: {reason}") from None
        raise ConfigError(
            f"the Ray cluster has no room for {request.count} x {request.role} with "
            f"{_amounts(bundle)} each within {limit:g} s: free are "
            f"{_amounts({name: free.get(name, 0) for name in bundle})} on {counted(nodes, 'node')}"
        )


def _amounts(resources: Mapping[str, float]) -> str:
    return ", ".join(f"{count:g} {name}" for name, count in sorted(resources.items()))


def living_nodes() -> list[dict[str, Any]]:
    """The nodes of the cluster, as Ray describes them."""
    return [node for node in ray.nodes() if node["Alive"]]


def join(address: str) -> None:
    """Makes this process part of a cluster. Raises `ConfigError` if there is none."""
    try:
        _reach(address)
        ray.init(address=address, namespace=NAMESPACE, log_to_driver=False, configure_logging=False)
    except (OSError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"placement.address={address}: no Ray cluster there: {reason}") from None


def _reach(address: str) -> None:
    """Raises `OSError` if nothing listens at an address: Ray would try for many minutes.

    `auto` may be one too: Ray remembers its last cluster, and RAY_ADDRESS may name any.
    """
    if "://" in address:
        return
    services: Any = importlib.import_module("ray._private.services")  # Ray's version is pinned
    found: str | None = services.canonicalize_bootstrap_address(address)
    if found is not None:  # else Ray starts a cluster of its own
        host, _, port = found.rpartition(":")
        socket.create_connection((host.strip("[]"), int(port)), REACH_TIMEOUT_S).close()


@asynccontextmanager
async def open_ray(config: RayPlacement, logs: Path) -> AsyncGenerator[RayLauncher]:
    """Joins the cluster inside the block. Raises `ConfigError` if there is none."""
    join(config.address)
    channels = Channels()
    try:
        await channels.open()
        yield RayLauncher(config, logs, channels)
    finally:
        channels.close()
        await asyncio.to_thread(ray.shutdown)
