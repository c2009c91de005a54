"""Weights from the ranks to the servers that sample: rank 0 sends, the others help to gather."""

import asyncio
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from wideseek_core import PeerFailed, WideSeekError
from wideseek_rl.engines.control.protocol import ServerControl
from wideseek_rl.sync.checksum import SentTensors
from wideseek_rl.sync.fanout import Failures
from wideseek_rl.sync.open import open_control, open_transport
from wideseek_rl.sync.protocol import Transport
from wideseek_rl.sync.source import CastSource, TensorInfo, WeightSource
from wideseek_rl.sync.verification import differences
from wideseek_rl.trainers.remote.requests import (
    Compare,
    Connect,
    Digest,
    Done,
    Reached,
    Send,
)


class GatheredOnce:
    """A source whose tensors all ranks gather together: every reading is made to its end."""

    def __init__(self, source: WeightSource) -> None:
        self._source = source
        self._open: Iterator[tuple[str, Tensor]] | None = None

    def metadata(self) -> Sequence[TensorInfo]:
        """What `tensors` will yield."""
        return self._source.metadata()

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """The tensors of the source."""
        self._open = self._source.tensors()
        yield from self._open

    def drain(self) -> None:
        """Reads what nobody has read: the other ranks wait for it."""
        for _ in self._source.tensors() if self._open is None else self._open:
            pass
        self._open = None


class Publisher:
    """Brings the weights of a group of ranks to servers. Every rank calls every method alike."""

    def __init__(self, source: WeightSource, *, first: bool) -> None:
        self._weights, self._first = source, first
        self._controls: dict[str, ServerControl] = {}
        self._source: GatheredOnce | None = None
        self._transport: Transport | None = None
        self._runner = asyncio.Runner()
        self._digested = False
        """Whether the tensors were gathered for the comparison that is to come."""
        self._sent: SentTensors | None = None
        """These tensors and their checksums; of the first rank alone."""

    def close(self) -> None:
        """Ends what talks to the servers; nothing can be asked any more."""
        self._runner.close()

    def answer(self, request: Connect | Send | Digest | Compare) -> Reached | Done:
        """Does what is asked for."""
        match request:
            case Connect():
                return self.connect(request)
            case Send():
                return self.send(request)
            case Digest():
                self.digest(request)
                return Done()
            case Compare():
                return self.compare(request)

    def connect(self, request: Connect) -> Reached:
        """Meets servers; see `Transport.connect`."""
        route = request.route
        if self._source is None:
            self._source = GatheredOnce(CastSource(self._weights, getattr(torch, route.dtype)))
        if not self._first:
            return Reached(failures={})
        try:
            if self._transport is None:
                self._transport = open_transport(
                    route.kind, self._source, route.sync, ranks=route.ranks
                )
            found = {url: open_control(route.kind, url, route.control) for url in request.servers}
            self._controls |= found
            failures = self._runner.run(self._transport.connect(list(found.values())))
        except WideSeekError as error:
            return _all_failed(request.servers, error)
        return _reached(failures)

    def send(self, request: Send) -> Reached:
        """Sends all weights to servers that were met."""
        assert self._source is not None
        self._sent, self._digested = None, False
        if not self._first:
            self._source.drain()
            return Reached(failures={})
        assert self._transport is not None
        servers = [self._controls[url] for url in request.servers]
        try:
            return _reached(self._runner.run(self._transport.send(servers, request.version)))
        except WideSeekError as error:
            return _all_failed(request.servers, error)
        finally:
            self._source.drain()

    def digest(self, request: Digest) -> None:
        """Computes checksums of what was sent, ahead of `compare`."""
        self._sent, self._digested = self._gathered(), True
        if self._sent is not None:
            self._sent.compute(request.algorithm)

    def compare(self, request: Compare) -> Reached:
        """The first tensors of each server that are not what was sent."""
        sent = self._sent if self._digested else self._gathered()
        self._sent, self._digested = None, False
        return Reached(failures=differences(sent, dict(request.reported)) if sent else {})

    def _gathered(self) -> SentTensors | None:
        """All tensors, on the first rank; the others only help to gather them."""
        assert self._source is not None
        if not self._first:
            self._source.drain()
            return None
        sent = SentTensors(dict(self._source.tensors()))
        self._source.drain()  # a later failure must not find this reading and take it for its own
        return sent


def _reached(failures: Failures) -> Reached:
    return Reached(
        failures={url: str(error) for url, error in failures.items()},
        peers=frozenset(u for u, error in failures.items() if isinstance(error, PeerFailed)),
    )


def _all_failed(servers: Sequence[str], error: WideSeekError) -> Reached:
    return Reached(failures=dict.fromkeys(servers, str(error)))
