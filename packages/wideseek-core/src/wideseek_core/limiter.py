"""Slots, pace, attempts and deadline of the requests to one service, of whatever protocol."""

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from wideseek_core.counting import counted
from wideseek_core.endpoint import RequestLimits
from wideseek_core.errors import ServiceError, ServiceFault

T = TypeVar("T")
PASSING_STATUSES = frozenset(
    {408, 409, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524, 527, 529, 530}
)
"""HTTP statuses that may be gone at the next attempt."""
MAX_PAUSE_S = 60.0
"""Longest pause between attempts, whatever the server asks for."""


class RequestLimiter:
    """Runs requests within `RequestLimits`; the one place that retries.

    A request waits for a slot, then has `deadline_s` for all its attempts, and keeps its slot
    between them: a service that fails gets fewer requests.
    """

    def __init__(self, name: str, limits: RequestLimits) -> None:
        """`name` of the service opens the messages of errors."""
        self._name, self._limits = name, limits
        self._slots = asyncio.Semaphore(limits.max_concurrent)
        self._next_start = 0.0

    async def run(self, attempt: Callable[[float], Awaitable[T]], name: str = "") -> T:
        """The result of `attempt`, which gets the seconds it has, repeated while faults can pass.

        Raises `ServiceError` with the number of attempts; `attempt` itself must raise no other.
        """
        limits, attempts = self._limits, 0
        async with self._slot():
            await self._pace()
            loop = asyncio.get_running_loop()
            deadline = loop.time() + limits.deadline_s
            while True:
                left_s = max(0.0, deadline - loop.time())
                attempts += 1
                try:
                    return await attempt(min(limits.timeout_s, left_s))
                except ServiceError as fault:
                    pause_s = self._pause_s(fault, attempts)
                    left_s = deadline - loop.time()
                    is_last = attempts >= limits.max_attempts or pause_s >= left_s
                    if is_last or not fault.can_pass:
                        raise _final(fault, name or self._name, attempts) from None
                await asyncio.sleep(pause_s)
                await self._pace()

    @asynccontextmanager
    async def _slot(self) -> AsyncGenerator[None]:
        limit_s = self._limits.queue_timeout_s
        try:
            async with asyncio.timeout(limit_s):
                await self._slots.acquire()
        except TimeoutError:
            line = f"{self._name}: no free slot within {limit_s:g} s"
            raise ServiceError(line, kind=ServiceFault.QUEUE, attempts=0) from None
        try:
            yield
        finally:
            self._slots.release()

    async def _pace(self) -> None:
        """Waits for the next start that the rate limit allows."""
        if self._limits.max_requests_per_s is not None:
            now = asyncio.get_running_loop().time()
            start = max(now, self._next_start)
            self._next_start = start + 1.0 / self._limits.max_requests_per_s
            await asyncio.sleep(start - now)

    def _pause_s(self, fault: ServiceError, attempts: int) -> float:
        """What the server asks for, else a doubling pause with jitter."""
        if fault.retry_after_s is not None:
            return min(fault.retry_after_s, MAX_PAUSE_S)
        doubled = self._limits.backoff_s * 2.0 ** min(attempts - 1, 30)
        return min(doubled, MAX_PAUSE_S) * random.uniform(0.5, 1.0)


def _final(fault: ServiceError, name: str, attempts: int) -> ServiceError:
    """The fault as the caller gets it, with the service's name and the number of attempts."""
    tried = f" (after {counted(attempts, 'attempt')})" if attempts > 1 else ""
    return ServiceError(
        f"{name}: {fault}{tried}",
        kind=fault.kind,
        status=fault.status,
        body=fault.body,
        attempts=attempts,
        can_pass=fault.can_pass,
        retry_after_s=fault.retry_after_s,
    )
