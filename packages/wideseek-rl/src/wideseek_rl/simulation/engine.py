"""A simulated rollout engine: sequences that share its throughput."""

import asyncio
import heapq
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Speeds:
    """How fast an engine generates, in tokens a second."""

    total: float
    """All sequences together, when there are many."""
    sequence: float
    """One sequence, when there are few."""


@dataclass(slots=True)
class Meter:
    """Counts the tokens of a prompt."""

    tokens: float = 0.0
    """Generated so far, for groups that were given up as well."""
    wanted: float = 0.0
    """Of one group."""


@dataclass(order=True, slots=True)
class _Job:
    end: float
    number: int
    width: float = field(compare=False)
    done: asyncio.Future[None] = field(compare=False)


class SimulatedEngine:
    """Each sequence advances by s = min(sequence, total / sequences) tokens a second.

    `progress` is the integral of s over time: a job of n tokens ends when that has grown by n.
    """

    def __init__(self, speeds: Speeds) -> None:
        self._speeds, self._loop = speeds, asyncio.get_running_loop()
        self._jobs: list[_Job] = []
        self._progress, self._width, self._factor = 0.0, 0.0, 1.0
        self._since, self._count = self._loop.time(), 0
        self._timer: asyncio.TimerHandle | None = None
        self._turned = asyncio.Event()
        self.busy_s = 0.0
        """Time in which something was generated."""
        self.tokens = 0.0
        """What was generated."""

    @property
    def active(self) -> bool:
        """Whether it has something to do."""
        return bool(self._jobs)

    async def turned(self) -> None:
        """Waits until it begins to work, or has nothing to do any more."""
        self._turned.clear()
        await self._turned.wait()

    async def serve(self, tokens: float, width: float, meter: Meter | None = None) -> None:
        """Generates so many tokens one after another, in `width` sequences beside each other.

        `meter` counts what was generated, also if this is cancelled.
        """
        self.advance()
        self._count += 1
        done = self._loop.create_future()
        job = _Job(self._progress + tokens, self._count, width, done)
        if not self._jobs:
            self._turned.set()
        heapq.heappush(self._jobs, job)
        self._width += width
        self._plan()
        left = 0.0
        try:
            await done
        finally:
            if not done.done() or done.cancelled():
                self._drop(job)
                left = min(max(job.end - self._progress, 0.0), tokens)
            if meter is not None:
                meter.tokens += (tokens - left) * width

    def slow_down(self, factor: float) -> None:
        """From now on everything takes 1/`factor` times as long; 0 stands still."""
        self.advance()
        self._factor = factor
        self._plan()

    def advance(self) -> None:
        """Accounts for the time up to now."""
        now = self._loop.time()
        seconds, self._since = now - self._since, now
        if self._jobs and self._factor:
            self._progress += seconds * self._speed
            self.busy_s += seconds
            self.tokens += seconds * self._speed * self._width

    @property
    def _speed(self) -> float:
        share = self._speeds.total / max(self._width, 1e-9)
        return self._factor * min(self._speeds.sequence, share)

    def _plan(self) -> None:
        """Sets the timer to the end of the next job."""
        if not self._jobs:
            self._turned.set()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._jobs and self._factor:
            left = max(self._jobs[0].end - self._progress, 0.0)
            self._timer = self._loop.call_later(left / self._speed, self._finish)

    def _finish(self) -> None:
        self.advance()
        end = self._jobs[0].end
        while self._jobs and self._jobs[0].end <= max(end, self._progress):
            job = heapq.heappop(self._jobs)
            self._width -= job.width
            if not job.done.done():
                job.done.set_result(None)
        self._plan()

    def _drop(self, job: _Job) -> None:
        """Forgets a job whose rollout was given up."""
        self.advance()
        if job in self._jobs:
            self._jobs.remove(job)
            heapq.heapify(self._jobs)
            self._width -= job.width
        self._plan()
