"""Which replica takes which request: load caps, session affinity and a bounded queue."""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from wideseek_agents.engines.config import ServersConfig
from wideseek_agents.engines.replica import Replica
from wideseek_core import PolicyUnavailable
from wideseek_core.counting import counted


class State(StrEnum):
    """Whether a replica may get requests."""

    READY = "ready"
    DEAD = "dead"
    """It does not answer; probes go on."""
    OUTDATED = "outdated"
    """It answers, but its weights are not known to be the current ones."""
    LEAVING = "leaving"
    """It finishes what it has and gets nothing new."""


@dataclass(slots=True, eq=False)
class Slot:
    """A replica's place in the pool."""

    replica: Replica
    lost: asyncio.Event
    """Set when the replica dies; a new one is made when it comes back."""
    state: State = State.READY
    running: int = 0
    failed_probes: int = 0
    idle: asyncio.Event = field(default_factory=asyncio.Event)
    """Set whenever a request has ended and none runs."""
    suspicion: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while the replica is probed after a failed request."""


@dataclass(slots=True, eq=False)
class _Waiter:
    session: str
    since: float
    slot: asyncio.Future[Slot] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )


class Placement:
    """Deals requests to slots in order of arrival.

    A session goes back to the replica that holds its prefix, unless that one is full or gone. While
    the placement is held nothing is dealt.
    """

    def __init__(self, config: ServersConfig, now: Callable[[], float]) -> None:
        self._config = config
        self._now = now
        self.slots: list[Slot] = []
        self.held = 0
        self._homes: dict[str, Slot] = {}
        self._queue: deque[_Waiter] = deque()
        self._revisit: asyncio.TimerHandle | None = None

    @property
    def waiting(self) -> int:
        """Requests in the queue."""
        return len(self._queue)

    async def take(self, session: str) -> Slot:
        """A slot for one request, which `release` gives back. Raises `PolicyUnavailable`."""
        if len(self._queue) >= self._config.max_queued:
            raise PolicyUnavailable(
                f"the engines have a queue of {counted(len(self._queue), 'request')} already"
            )
        waiter = _Waiter(session, self._now())
        self._queue.append(waiter)
        self.deal()
        try:
            async with asyncio.timeout(self._config.queue_timeout_s):
                return await waiter.slot
        except TimeoutError:
            self._leave(waiter)
            limit = self._config.queue_timeout_s
            raise PolicyUnavailable(f"no engine was free within {limit:g} s") from None
        except BaseException:
            self._leave(waiter)
            raise

    def release(self, slot: Slot) -> None:
        """Gives a slot back."""
        slot.running -= 1
        if not slot.running:
            slot.idle.set()
        self.deal()

    def forget(self, session: str) -> None:
        """Forgets where a session's prefix is."""
        self._homes.pop(session, None)

    def fail_all(self, problem: str) -> None:
        """Fails every request in the queue."""
        for waiter in self._queue:
            if not waiter.slot.done():
                waiter.slot.set_exception(PolicyUnavailable(problem))

    def deal(self) -> None:
        """Gives free places to waiting requests."""
        while not self.held:
            choice = self._next()
            if choice is None:
                return
            waiter, slot = choice
            self._queue.remove(waiter)
            slot.running += 1
            slot.idle.clear()
            self._homes[waiter.session] = slot
            waiter.slot.set_result(slot)

    def _next(self) -> tuple[_Waiter, Slot] | None:
        """The first request that may go somewhere now, and where.

        One whose own replica is full waits for it a while before it goes elsewhere.
        """
        open_slots = [slot for slot in self.slots if self._open(slot)]
        if not open_slots:
            return None
        soonest: float | None = None
        for waiter in self._queue:
            if waiter.slot.done():
                continue
            home = self._homes.get(waiter.session)
            if home in open_slots:
                return waiter, home
            patience = waiter.since + self._config.affinity_wait_s - self._now()
            if home is None or home.state is not State.READY or patience <= 0:
                return waiter, min(open_slots, key=lambda slot: slot.running)
            soonest = patience if soonest is None else min(soonest, patience)
        if soonest is not None:
            self._revisit_in(soonest)
        return None

    def _revisit_in(self, seconds: float) -> None:
        if self._revisit is not None:
            self._revisit.cancel()
        self._revisit = asyncio.get_running_loop().call_later(seconds + 0.001, self.deal)

    def _open(self, slot: Slot) -> bool:
        return slot.state is State.READY and slot.running < self._config.max_running

    def _leave(self, waiter: _Waiter) -> None:
        """Takes a request out of the queue; a slot that it got too late goes back."""
        if waiter in self._queue:
            self._queue.remove(waiter)
        slot = waiter.slot
        if slot.done() and not slot.cancelled() and slot.exception() is None:
            self.release(slot.result())
