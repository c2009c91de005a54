"""Continuous batching: admission of requests, forward pass, sampling, retirement.

Synchronous code that one thread at a time may enter; `engine.py` is the asynchronous front.
"""

from collections import deque
from dataclasses import dataclass

import torch

from wideseek_core.errors import PolicyError
from wideseek_core.policy import Finish, Generated
from wideseek_rl.engines.builtin.block_pool import BLOCK_SIZE, BlockPool
from wideseek_rl.engines.builtin.config import BuiltinEngineConfig
from wideseek_rl.engines.builtin.forward import forward, pack
from wideseek_rl.engines.builtin.prefix_cache import (
    CachedSequence,
    PrefixCache,
    block_hashes,
)
from wideseek_rl.engines.builtin.requests import Request
from wideseek_rl.engines.builtin.sampling import sample
from wideseek_rl.engines.builtin.weights import FusedWeights


@dataclass(frozen=True, slots=True)
class Finished:
    """A request that has ended, and how."""

    request: Request
    outcome: Generated | PolicyError


class Scheduler:
    """Continuous batching of requests over one set of weights."""

    def __init__(self, weights: FusedWeights, config: BuiltinEngineConfig) -> None:
        self.weights = weights
        self.config = config
        self.pool = BlockPool(
            weights.config,
            config.max_cache_tokens // BLOCK_SIZE,
            weights.cache_dtype,
            weights.device,
        )
        self.prefix_cache = PrefixCache()
        self.waiting: deque[Request] = deque()
        self.running: list[Request] = []
        """Oldest first."""
        self.version = 0
        self.computed_tokens = 0
        """Tokens that went through the model; reused ones don't count."""

    @property
    def busy(self) -> bool:
        """Whether any request waits or runs."""
        return bool(self.waiting or self.running)

    @property
    def cached_tokens(self) -> int:
        """Tokens whose keys and values blocks are held for."""
        return (self.pool.count - self.pool.free) * BLOCK_SIZE

    def submit(self, request: Request) -> None:
        """Queues a request."""
        if self.config.share_prefixes:
            request.hashes = block_hashes(request.ids)
        self.waiting.append(request)

    def close(self, session: str) -> None:
        """Frees a session's cache; a request of it that still runs leaves none behind."""
        self._release(self.prefix_cache.take(session))
        for request in (*self.waiting, *self.running):
            if request.session == session:
                request.keep = False

    def reset(self) -> None:
        """Drops all keys and values; running requests compute theirs again and continue."""
        while self.running:
            self._preempt(self.running[-1])
        self.prefix_cache.clear()
        self.pool.clear()

    def abandon(self) -> list[Request]:
        """Drops everything and returns the requests that are not finished."""
        self.reset()
        left = list(self.waiting)
        self.waiting.clear()
        return left

    @torch.inference_mode()
    def step(self) -> list[Finished]:
        """Computes one token of every running request, and prompts of new ones."""
        self._drop_cancelled()
        finished = self._admit()
        counts = self._counts()
        self._make_room(counts)
        counts = {request: counts[request] for request in self.running}
        if not counts:
            return finished
        batch = pack(self.weights, self.pool, counts)
        logits = forward(self.weights, self.pool, batch)
        self.computed_tokens += len(batch.ids)
        for request, count in counts.items():
            request.cached.filled += count
        ready = [index for index, request in enumerate(batch.requests) if not request.pending]
        if not ready:
            return finished
        if len(ready) < len(batch.requests):
            logits = logits[ready]
        return finished + self._sampled([batch.requests[index] for index in ready], logits)

    def _sampled(self, requests: list[Request], logits: torch.Tensor) -> list[Finished]:
        eos = self.weights.config.eos_ids
        finished: list[Finished] = []
        for request, choice in zip(requests, sample(logits, requests), strict=True):
            if not request.indexed:
                request.indexed = True
                if self.config.share_prefixes:
                    self.prefix_cache.index(request.cached)
            request.take(choice.id, choice.logprob, self.version)
            stop = choice.id in eos or choice.id in request.sampling.stop_ids
            if stop or request.sampled >= request.max_tokens or request.repeats:
                finish = Finish.STOP if stop else Finish.LENGTH
                finished.append(Finished(request, request.result(finish)))
                self._retire(request)
        return finished

    def _retire(self, request: Request) -> None:
        self.running.remove(request)
        cached = request.cached
        if not request.keep or request.cancelled:
            self._release(cached)
            return
        self._release(self.prefix_cache.put(request.session, cached))
        if self.config.share_prefixes:
            self.prefix_cache.index(cached)

    def _release(self, cached: CachedSequence | None) -> None:
        if cached is not None:
            self.prefix_cache.forget(cached)
            self.pool.release(cached.block_ids)
            cached.block_ids = []
            cached.filled = 0

    def _drop_cancelled(self) -> None:
        for request in [request for request in self.running if request.cancelled]:
            self._retire(request)
        if any(request.cancelled for request in self.waiting):
            self.waiting = deque(r for r in self.waiting if not r.cancelled)

    def _admit(self) -> list[Finished]:
        """Starts waiting requests, as many as fit.

        A request whose prompt begins like one that is just being computed waits for that one, to
        share its blocks afterwards.
        """
        coming = {block_hash for r in self.running if not r.indexed for block_hash in r.hashes}
        kept_back: list[Request] = []
        refused: list[Finished] = []
        while self.waiting and len(self.running) < self.config.max_batch:
            request = self.waiting.popleft()
            if -(-(request.length + 1) // BLOCK_SIZE) > self.pool.count:
                limit = self.config.max_cache_tokens
                message = f"a sequence of {request.length} does not fit max_cache_tokens = {limit}"
                refused.append(Finished(request, PolicyError(message)))
                continue
            source, known = self._source(request)
            shared = sum(block_hash in coming for block_hash in request.hashes)
            if shared * BLOCK_SIZE >= known + BLOCK_SIZE:
                kept_back.append(request)
                continue
            if not self._start(request, source, known):
                self.waiting.appendleft(request)
                break
            coming.update(request.hashes)
        self.waiting.extendleft(reversed(kept_back))
        return refused

    def _source(self, request: Request) -> tuple[CachedSequence | None, int]:
        """The sequence with the longest cached prefix of the request, and its length.

        At least one token is left to compute, since its logits are wanted.
        """
        best = self.prefix_cache.peek(request.session)
        known = best.shared_with(request.ids) if best is not None else 0
        other = self.prefix_cache.with_prefix(request.hashes[known // BLOCK_SIZE :])
        if other is not None:
            shared = other.shared_with(request.ids)
            if shared > known:
                best, known = other, shared
        return best, min(known, request.length - 1)

    def _start(self, request: Request, source: CachedSequence | None, known: int) -> bool:
        """Gives a request its blocks, shared as far as possible; False if there are too few."""
        cached = request.cached
        whole, part = divmod(known, BLOCK_SIZE)
        begun = source.block_ids[whole] if source is not None and part else None
        if source is not None:
            cached.block_ids = self.pool.share(source.block_ids[:whole])
        own = self.prefix_cache.take(request.session)
        if own is not None:
            if begun is not None and own is source and not self.pool.shared(begun):
                cached.block_ids += self.pool.share([begun])
                begun = None
            self._release(own)
        needed = -(-(request.length + 1) // BLOCK_SIZE) - len(cached.block_ids)
        guard = self.pool.share([begun]) if begun is not None else []
        enough = self._free(needed)
        if enough:
            taken = self.pool.take(needed)
            if begun is not None:
                self.pool.copy(begun, taken[0])
            cached.block_ids += taken
            cached.filled = known
            self.running.append(request)
        else:
            self._release(cached)
        self.pool.release(guard)
        return enough

    def _free(self, count: int) -> bool:
        """Makes this many blocks free, if need be by dropping idle sessions."""
        while self.pool.free < count:
            oldest = self.prefix_cache.pop_oldest()
            if oldest is None:
                return False
            self._release(oldest)
        return True

    def _counts(self) -> dict[Request, int]:
        """How many pending tokens of each running request this step computes."""
        budget = self.config.max_step_tokens
        counts: dict[Request, int] = {}
        for request in self.running:
            count = max(1, min(request.pending, budget))
            counts[request] = count
            budget -= count - 1
        return counts

    def _make_room(self, counts: dict[Request, int]) -> None:
        """Gives requests whose blocks are full one more; the youngest may be preempted."""
        for request in list(self.running):
            missing = -(-(request.computed + counts[request]) // BLOCK_SIZE) - len(
                request.cached.block_ids
            )
            if missing <= 0 or request not in self.running:
                continue
            while not self._free(missing):
                youngest = self.running[-1]
                self._preempt(youngest)
                if youngest is request:
                    break
            else:
                request.cached.block_ids += self.pool.take(missing)

    def _preempt(self, request: Request) -> None:
        """Releases a request's blocks and queues it again."""
        self.running.remove(request)
        self._release(request.cached)
        request.indexed = False
        self.waiting.appendleft(request)
