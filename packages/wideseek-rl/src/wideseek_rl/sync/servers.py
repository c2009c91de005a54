"""Weight updates of inference servers: one version after another, each sent once and verified."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Container, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace

from wideseek_core import PeerFailed, TrainError
from wideseek_rl.engines.control.protocol import Part, ServerControl
from wideseek_rl.sync.config import SyncConfig
from wideseek_rl.sync.fanout import Failures, on_each
from wideseek_rl.sync.protocol import Commit, ReplicaPool, Transport
from wideseek_rl.sync.source import WeightSource
from wideseek_rl.sync.verification import Comparer, SourceComparer, Verification

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What one weight update did."""

    version: int
    servers: int = 0
    """Servers that have the new weights."""
    failed: tuple[str, ...] = ()
    """Addresses of those that left the pool."""
    paused_s: float
    """From the first pause to the last resumption."""
    sent_s: float
    verified_s: float


@dataclass(slots=True)
class ServerSync:
    """Brings weights to inference servers; a `WeightSync`.

    Args:
        pool: what requests go through; it is held during an update.
        servers: how each server is controlled.
        transport: how tensors reach them.
        source: the weights.
        config: what else an update does.
        comparer: finds the servers whose checksums are not those of what was sent; by default
            the source's are computed here.
        cancel_stale: ends what the next version would make too old, before anything is paused:
            requests must not be ended inside a paused server.
    """

    pool: ReplicaPool
    servers: Sequence[ServerControl]
    transport: Transport
    source: WeightSource
    config: SyncConfig = field(default_factory=SyncConfig)
    comparer: Comparer | None = None
    cancel_stale: Callable[[int], Awaitable[None]] | None = None
    last: Published | None = None
    """What the last update did."""
    _version: int | None = None
    _connected: bool = False
    _released: bool = False
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    _changing: asyncio.Lock = field(default_factory=asyncio.Lock)
    _verification: Verification = field(init=False)

    def __post_init__(self) -> None:
        self._verification = Verification(self.comparer or SourceComparer(self.source))

    @asynccontextmanager
    async def updating(self) -> AsyncGenerator[Commit]:
        """Wraps an update of the weights; afterwards the servers have what was committed."""
        async with self._changing, self._updating() as commit:
            yield commit

    async def admit(self, server: ServerControl) -> None:
        """Brings the present weights to a server that was started (again), and it gets requests.

        Waits for the end of an update that is under way. Raises `TrainError` if it can't take them.
        """
        url = server.client.url
        async with self._changing, self._lock:
            self.servers = [*(one for one in self.servers if one.client.url != url), server]
            if self._version is not None:  # else it was started with the weights of all
                await self._deliver_again(server, self._version)
            self.pool.mark_current(url)
        logger.info("%s samples with the weights of version %s", url, self._version or 0)

    def dismiss(self, url: str) -> None:
        """A server has ended: it is sent nothing until it is admitted again."""
        others = [one for one in self.servers if one.client.url != url]
        if len(others) < len(self.servers) and not self.transport.separate:
            self._connected = False
        self.servers = others

    def _dismiss_dead(self) -> None:
        for url in [url for url, state in self.pool.states.items() if state == "dead"]:
            self.dismiss(url)

    async def _deliver_again(self, server: ServerControl, version: int) -> None:
        """Sends a version once more: to one server, or to all where none can be met alone.

        Raises why the server has not got it.
        """
        url = server.client.url
        if self.transport.separate:
            failures = await self._connect_and_deliver([server], version)
            if failures:
                self._forget([url])
                raise failures[url]
            return
        async with self.pool.hold():
            while failures := await self._connect_and_deliver(self.servers, version):
                self._connected = False  # the group has a member that is not there
                blamed = {u: e for u, e in failures.items() if not isinstance(e, PeerFailed)}
                if url in blamed or not blamed or self.config.on_failure == "end":
                    self._forget([url])
                    raise blamed.get(url) or next(iter((blamed or failures).values()))
                await self._drop(blamed)
            self._connected = True

    async def _connect_and_deliver(
        self, servers: Sequence[ServerControl], version: int
    ) -> Failures:
        failures = await self.transport.connect(servers)
        if not failures:
            failures, _ = await self._deliver(servers, version)
        return failures

    async def _drop(self, failures: Failures) -> None:
        """Servers that failed leave the pool."""
        for url, error in failures.items():
            logger.error("an engine leaves the pool: %s", error)
            await self.pool.remove(url, str(error))
        self._forget(failures)

    def _forget(self, urls: Container[str]) -> None:
        self.servers = [one for one in self.servers if one.client.url not in urls]

    @asynccontextmanager
    async def _updating(self) -> AsyncGenerator[Commit]:
        versions: list[int] = []
        if self.config.release == "none":
            yield versions.append
            if versions:
                await self.publish(versions[-1])
            return
        async with self.pool.hold():
            self._dismiss_dead()
            self._released = True
            try:
                try:
                    await self._all("release", self._release)
                    yield versions.append
                finally:
                    await self._all("restore", lambda server: server.restore("weights"))
                if versions or self.config.release == "all":
                    await self.publish(versions[-1] if versions else self.pool.version)
            finally:
                if self._released:  # not published
                    await self._all("restore", self._reopen)
                    self._released = False

    async def publish(self, version: int) -> Published:
        """Sends the weights to all servers as `version`; each version once.

        A server that fails leaves the pool if others remain, and is never sent the same version
        again: nobody knows how much of it arrived.

        Raises:
            TrainError: no server has the weights, or one has failed and the run is to end then.
        """
        async with self._lock, self.pool.hold():
            if self._version is not None and version <= self._version and not self._released:
                raise TrainError(f"version {version} was sent already, or a later one")
            self._version = version
            if self.cancel_stale is not None:
                await self.cancel_stale(version)
            published = await self._publish(version)
            self.last = published
            return published

    async def _publish(self, version: int) -> Published:
        self._dismiss_dead()
        if not self.servers:
            logger.warning(
                "no engine is there for version %d: those that come back get it", version
            )
            self.pool.version = version
            return Published(version=version, paused_s=0.0, sent_s=0.0, verified_s=0.0)
        failures: Failures = {}
        if not self._connected:
            failures |= await self.transport.connect(self.servers)
            self._connected = True
        sending = [one for one in self.servers if one.client.url not in failures]
        found, published = await self._deliver(sending, version)
        failures = {**found, **failures}
        await self._settle(version, failures)
        return replace(published, servers=len(self.servers), failed=tuple(failures))

    async def _deliver(
        self, servers: Sequence[ServerControl], version: int
    ) -> tuple[Failures, Published]:
        """Pauses servers, sends, verifies, and lets them sample again."""
        failures: Failures = {}
        started = time.monotonic()
        sent_s = verified_s = 0.0
        try:
            paused = await on_each(servers, self._pause, failures)
            sending = time.monotonic()
            failures |= await self.transport.send(paused, version)
            sent_s = time.monotonic() - sending
            await self._invalidate(paused, failures)
            verifying = time.monotonic()
            await self._verify(paused, failures)
            verified_s = time.monotonic() - verifying
        finally:
            # Also those that failed: a server that is left paused would hang whoever asks it next.
            ends: Failures = {}
            try:
                await on_each(servers, self._reopen, ends)
            finally:
                self._released = False
        failures = {**ends, **failures}
        paused_s = time.monotonic() - started
        return failures, Published(
            version=version, paused_s=paused_s, sent_s=sent_s, verified_s=verified_s
        )

    async def _pause(self, server: ServerControl) -> None:
        hold = self.config.hold
        keep = (await server.inspect()).spans if hold == "auto" else hold == "always"
        await server.pause(keep=keep)

    async def _invalidate(self, servers: Sequence[ServerControl], failures: Failures) -> None:
        """With a key per version the pool's next requests can't find old prefixes."""
        if self.config.invalidate == "reset":
            await on_each(servers, lambda server: server.reset_cache(), failures)

    async def _verify(self, servers: Sequence[ServerControl], failures: Failures) -> None:
        if self.config.verify != "none":
            await self._verification.verify(servers, failures)

    async def _settle(self, version: int, failures: Failures) -> None:
        """Drops what failed and opens the rest for the new version."""
        reasons = _reasons(failures)
        remaining = [server for server in self.servers if server.client.url not in failures]
        if failures and (not remaining or self.config.on_failure == "end"):
            raise TrainError(f"version {version} did not reach the engines: {reasons}")
        await self._drop(failures)
        self.pool.version = version
        for server in remaining:
            self.pool.mark_current(server.client.url)

    async def _release(self, server: ServerControl) -> None:
        await server.pause(keep=False)
        parts: tuple[Part, ...] = (
            ("weights", "cache") if self.config.release == "all" else ("cache",)
        )
        try:
            await server.release(*parts)
        except TrainError:
            with suppress(TrainError):  # the first error is the one to report
                await server.resume()
            raise

    async def _reopen(self, server: ServerControl) -> None:
        if self._released:
            await server.restore("cache")
        await server.resume()

    async def _all(self, what: str, step: Callable[[ServerControl], Awaitable[None]]) -> None:
        """Takes a step on every server; those that fail leave the pool as in an update."""
        failures: Failures = {}
        succeeded = await on_each(self.servers, step, failures)
        if failures and (not succeeded or self.config.on_failure == "end"):
            raise TrainError(f"the engines did not {what} their memory: {_reasons(failures)}")
        await self._drop(failures)


def _reasons(failures: Failures) -> str:
    """Each reason once: what concerns the trainer alone is that of all servers."""
    return "; ".join(dict.fromkeys(map(str, failures.values())))
