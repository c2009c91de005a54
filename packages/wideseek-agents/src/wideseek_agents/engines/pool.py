"""Replicas of one model behind a single `TokenEngine`."""

import asyncio
import logging
import math
import random
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, replace
from types import TracebackType
from typing import Self

from wideseek_agents.engines.config import ServersConfig
from wideseek_agents.engines.placement import Placement, Slot, State
from wideseek_agents.engines.replica import End, Replica, Sampled
from wideseek_core import (
    ConfigError,
    ContextOverflow,
    Finish,
    Generated,
    PolicyError,
    PolicyUnavailable,
    Sampling,
    one_version,
)
from wideseek_core.counting import counted
from wideseek_core.versions import join_spans

logger = logging.getLogger(__name__)

_CLOSED = "the engine pool was closed"


@dataclass(slots=True)
class PoolCounts:
    """What the pool has done so far."""

    requests: int = 0
    """Requests that were answered."""
    resent: int = 0
    """Attempts that failed, after which the request was sent again."""
    continued: int = 0
    """Requests that a server broke off, and that were continued from what it had sampled."""
    prompt_tokens: int = 0
    cached_tokens: int = 0
    """Prompt tokens that a prefix cache held, where servers report them."""
    response_tokens: int = 0
    deaths: int = 0
    """Replicas that stopped answering."""


class EnginePool:
    """Samples on several servers; a `wideseek_core.TokenEngine`.

    The token ids of a request are its whole state, so a replica that dies loses nothing: its
    requests are sent again elsewhere. A request that a server breaks off (for new weights) resumes
    from what was sampled, under the weights that are there then, and its version spans tell the
    parts apart. Prefix caches are keyed by version: no weights read the keys of others.

    Use with `async with`. Whoever updates weights wraps that in `hold`, and sets `version`.

    Args:
        config: addresses, limits and time-outs.
        connect: makes the client of an address; the pool closes it.
        vocab_size: token ids from here on are refused, since some servers crash on them.
    """

    def __init__(
        self, config: ServersConfig, connect: Callable[[str], Replica], *, vocab_size: int
    ) -> None:
        self._config = config
        self._connect = connect
        self._vocab_size = vocab_size
        self._context_tokens: int | None = None
        self._placement = Placement(config, lambda: asyncio.get_running_loop().time())
        self._watchers: dict[Slot, asyncio.Task[None]] = {}
        self._outage: asyncio.TimerHandle | None = None
        self._closed = False
        self._version = 0
        self._lineage = 0
        self.counts = PoolCounts()

    async def __aenter__(self) -> Self:
        for url in self._config.base_urls:
            await self.add(url)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for watcher in self._watchers.values():
            watcher.cancel()
        await asyncio.gather(*self._watchers.values(), return_exceptions=True)
        self._watchers.clear()
        if self._outage is not None:
            self._outage.cancel()
        self._closed = True
        slots, self._placement.slots = self._placement.slots, []
        for slot in slots:
            slot.state = State.LEAVING
            slot.lost.set()
        self._placement.fail_all(_CLOSED)
        await asyncio.gather(*(slot.replica.close() for slot in slots))

    @property
    def version(self) -> int:
        """Number of updates that the weights of all ready replicas have seen."""
        return self._version

    @version.setter
    def version(self, value: int) -> None:
        # A run that went back to a checkpoint counts its versions once more from there, with other
        # weights: what is cached of the first ones must not be found under the same key.
        self._lineage += value < self._version
        self._version = value

    @property
    def states(self) -> dict[str, State]:
        """The state of every replica, by address."""
        return {slot.replica.url: slot.state for slot in self._placement.slots}

    @property
    def metrics(self) -> dict[str, float]:
        """Counts so far, and the load at present."""
        slots = self._placement.slots
        return {
            **asdict(self.counts),
            "running": sum(slot.running for slot in slots),
            "waiting": self._placement.waiting,
            "ready": sum(slot.state is State.READY for slot in slots),
        }

    async def generate(
        self, prompt_ids: Sequence[int], *, session: str, sampling: Sampling
    ) -> Generated:
        """Samples one continuation; see `wideseek_core.TokenEngine`.

        Raises:
            ContextOverflow: the prompt leaves no room for a token.
            PolicyUnavailable: no replica answered.
            PolicyError: the request can't be answered by any.
        """
        sampling = self._checked(prompt_ids, sampling)
        parts: list[Sampled] = []
        taken: list[int] = []
        failures = 0
        while True:
            try:
                part = await self._attempt([*prompt_ids, *taken], session, _rest(sampling, taken))
            except PolicyUnavailable as problem:
                failures += 1
                if failures >= self._config.max_attempts:
                    raise PolicyUnavailable(f"{problem} ({counted(failures, 'attempt')})") from None
                self.counts.resent += 1
                logger.info("a request is sent again: %s", problem)
                continue
            parts.append(part)
            taken += part.ids
            if part.end is not End.ABORT or len(taken) >= sampling.max_tokens:
                return self._joined(len(prompt_ids), parts)
            self.counts.continued += 1
            failures = 0 if part.ids else failures + 1
            if failures >= self._config.max_attempts:
                raise PolicyUnavailable(
                    f"the engines broke a request off {counted(failures, 'time')}"
                )

    async def close_session(self, session: str) -> None:
        """Forgets where a session's prefix is; the servers evict it themselves."""
        self._placement.forget(session)

    @asynccontextmanager
    async def hold(self) -> AsyncGenerator[None]:
        """Sends nothing inside the block; requests wait, and those in flight go on."""
        self._placement.held += 1
        try:
            yield
        finally:
            self._placement.held -= 1
            self._placement.deal()

    async def check(self) -> None:
        """Asks every replica for its model, and checks its log-probabilities if so configured.

        Raises `PolicyError` for a replica that does not answer or serves something else, and
        `ConfigError` for one whose log-probabilities are not those of the sampling distribution.
        """
        for slot in self._placement.slots:
            limit = (await slot.replica.model()).context_tokens
            if limit is not None:
                known = self._context_tokens
                self._context_tokens = limit if known is None else min(known, limit)
            if self._config.check_logprobs:
                await _check_convention(slot.replica, self._vocab_size)

    async def versions(self) -> dict[str, int | None]:
        """What each replica says of the version of its weights. Raises `PolicyError`."""
        return {slot.replica.url: await slot.replica.version() for slot in self._placement.slots}

    async def add(self, url: str, *, current: bool = True) -> None:
        """Takes a replica in, which gets requests if its weights are of the pool's version.

        Else it gets them when `mark_current` says so. Raises `ConfigError`.
        """
        replica = self._connect(url)
        await replica.open()
        slot = Slot(replica, asyncio.Event(), State.READY if current else State.OUTDATED)
        self._placement.slots.append(slot)
        self._watchers[slot] = asyncio.create_task(self._watch(slot))
        self._placement.deal()

    async def remove(self, url: str, problem: str = "") -> None:
        """Removes a replica after its requests; with a `problem` at once, and they are resent."""
        for slot in [slot for slot in self._placement.slots if slot.replica.url == url]:
            if problem:
                self._mark_lost(slot, problem)
            slot.state = State.LEAVING
            self._placement.slots.remove(slot)
            self._watchers.pop(slot).cancel()
            if slot.running:
                await slot.idle.wait()
            await slot.replica.close()
        self._mind_outage()

    def mark_current(self, url: str) -> None:
        """Says that a replica has the weights of the pool's version, so it may get requests."""
        for slot in self._placement.slots:
            if slot.replica.url == url and slot.state is State.OUTDATED:
                self._revive(slot)

    async def _attempt(self, ids: list[int], session: str, sampling: Sampling) -> Sampled:
        """One request to one replica. Raises `PolicyUnavailable` also when that one dies."""
        if self._closed:
            raise PolicyError(_CLOSED)
        self._mind_outage()
        slot = await self._placement.take(session)
        version = self.version
        request = asyncio.create_task(
            slot.replica.generate(ids, sampling=sampling, cache_key=self._cache_key)
        )
        lost = asyncio.create_task(slot.lost.wait())
        try:
            await asyncio.wait((request, lost), return_when=asyncio.FIRST_COMPLETED)
            if not request.done():
                raise PolicyUnavailable(f"{slot.replica.url} has stopped answering")
            part = request.result()
        except PolicyUnavailable as problem:
            await self._suspect(slot, str(problem))
            raise
        finally:
            request.cancel()
            lost.cancel()
            try:
                await asyncio.gather(request, lost, return_exceptions=True)
            finally:
                # Whoever asked may be cancelled while the request ends.
                self._placement.release(slot)
        self._check_sampled(part, slot, sampling)
        if part.versions is None:
            return replace(part, versions=one_version(version, len(part.ids)))
        return part

    def _check_sampled(self, part: Sampled, slot: Slot, sampling: Sampling) -> None:
        """Raises `PolicyError` for an answer that no such model can have sampled."""
        if len(part.ids) > sampling.max_tokens:
            problem = f"{counted(len(part.ids), 'token')}, asked for: {sampling.max_tokens}"
        elif part.ids and not 0 <= min(part.ids) <= max(part.ids) < self._vocab_size:
            problem = f"token ids outside of 0..{self._vocab_size - 1}: another model?"
        else:
            return
        raise PolicyError(f"{slot.replica.url}: {problem}")

    @property
    def _cache_key(self) -> str:
        lineage = f"l{self._lineage}" if self._lineage else ""
        return f"v{self._version}{lineage}"

    async def _suspect(self, slot: Slot, problem: str) -> None:
        """Probes a replica that failed a request: a refusal is not yet a death."""
        async with slot.suspicion:
            if slot.state is not State.READY:
                return
            try:
                await slot.replica.probe()
            except PolicyError:
                self._mark_lost(slot, problem)
                return
        await asyncio.sleep(self._config.backoff_s * random.uniform(0.5, 1))

    async def _watch(self, slot: Slot) -> None:
        """Probes one replica for as long as it is in the pool."""
        while True:
            await asyncio.sleep(self._config.probe_interval_s)
            try:
                await slot.replica.probe()
                slot.failed_probes = 0
                if slot.state is State.DEAD:
                    await self._welcome(slot)
            except PolicyError as problem:
                self._probe_failed(slot, str(problem))
            except Exception as problem:
                # Nobody awaits this task: if it ended, a dead replica would get requests for ever.
                logger.exception("%s can't be probed", slot.replica.url)
                self._probe_failed(slot, f"{slot.replica.url}: {problem!r}")

    def _probe_failed(self, slot: Slot, problem: str) -> None:
        slot.failed_probes += 1
        if slot.failed_probes >= self._config.max_failed_probes:
            self._mark_lost(slot, problem)

    async def _welcome(self, slot: Slot) -> None:
        """Takes a replica back that answers again, if its weights are the current ones.

        A server that was started anew has the weights it was started with.
        """
        try:
            version = await slot.replica.version()
        except PolicyError:
            return
        if self.version == 0 or version == self.version:
            self._revive(slot)
        else:
            slot.state = State.OUTDATED
            logger.warning("%s is back with weights of another version", slot.replica.url)

    def _revive(self, slot: Slot) -> None:
        slot.lost = asyncio.Event()
        slot.state = State.READY
        if self._outage is not None:
            self._outage.cancel()
            self._outage = None
        logger.info("%s is ready again", slot.replica.url)
        self._placement.deal()

    def _mark_lost(self, slot: Slot, problem: str) -> None:
        if slot.state in (State.READY, State.OUTDATED):
            slot.state = State.DEAD
            slot.lost.set()
            self.counts.deaths += 1
            logger.warning("an engine is lost: %s", problem)
        self._mind_outage()

    def _mind_outage(self) -> None:
        """Fails what waits if no replica comes back in time."""
        if self._outage is None and not any(
            slot.state is State.READY for slot in self._placement.slots
        ):
            limit = self._config.outage_timeout_s
            self._outage = asyncio.get_running_loop().call_later(limit, self._give_up)

    def _give_up(self) -> None:
        self._outage = None
        if not any(slot.state is State.READY for slot in self._placement.slots):
            names = ", ".join(self.states) or "none are left"
            limit = self._config.outage_timeout_s
            self._placement.fail_all(f"no engine has answered for {limit:g} s ({names})")

    def _checked(self, prompt_ids: Sequence[int], sampling: Sampling) -> Sampling:
        """The sampling within the context. Raises `PolicyError` for ids outside the vocabulary."""
        if not prompt_ids:
            raise PolicyError("a prompt needs at least one token")
        for token in (min(prompt_ids), max(prompt_ids)):
            if not 0 <= token < self._vocab_size:
                raise PolicyError(f"token id {token} is outside of 0..{self._vocab_size - 1}")
        if self._context_tokens is None:
            return sampling
        room = self._context_tokens - len(prompt_ids)
        if room < 1:
            raise ContextOverflow(
                f"a prompt of {counted(len(prompt_ids), 'token')} does not fit a context of "
                f"{self._context_tokens}"
            )
        return replace(sampling, max_tokens=min(sampling.max_tokens, room))

    def _joined(self, prompt_tokens: int, parts: Sequence[Sampled]) -> Generated:
        ids = tuple(token for part in parts for token in part.ids)
        self.counts.requests += 1
        self.counts.prompt_tokens += prompt_tokens
        self.counts.response_tokens += len(ids)
        self.counts.cached_tokens += sum(part.cached_tokens or 0 for part in parts)
        return Generated(
            ids=ids,
            logprobs=tuple(logprob for part in parts for logprob in part.logprobs),
            finish=Finish.STOP if parts[-1].end is End.STOP else Finish.LENGTH,
            versions=join_spans(part.versions or () for part in parts),
        )


def _rest(sampling: Sampling, taken: Sequence[int]) -> Sampling:
    """What is left to sample. It gets another seed: the first one's draws have been used."""
    if not taken:
        return sampling
    seed = sampling.seed
    return replace(
        sampling,
        max_tokens=sampling.max_tokens - len(taken),
        seed=None if seed is None else (seed + len(taken) * 0x9E3779B97F4A7C15) % 2**63,
    )


async def _check_convention(replica: Replica, vocab_size: int) -> None:
    """Raises `ConfigError` if temperature leaves the reported log-probabilities as they are.

    A low temperature shows in any distribution but those that are certain, or quite flat, anyway.
    """
    prompt = [token % vocab_size for token in range(5, 9)]
    plain, cold = [await replica.top_logprob(prompt, temperature) for temperature in (1.0, 0.01)]
    telling = -math.log(vocab_size) + 0.05 < plain < -0.01
    if telling and abs(plain - cold) < 1e-3:
        raise ConfigError(
            f"{replica.url} reports log-probabilities before temperature: start vLLM with "
            "--logprobs-mode processed_logprobs, SGLang without SGLANG_RETURN_ORIGINAL_LOGPROB"
        )
