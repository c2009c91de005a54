"""Which requests run, and one step of them: admission, forward pass, sampling, retirement.

Synchronous code that one thread at a time may enter; `torch_engine` is the asynchronous front.
"""

from collections import deque
from dataclasses import dataclass

import torch

from wideseek_core.errors import PolicyError
from wideseek_core.policy import Finish, Generated
from wideseek_rl.engine.cache import CacheShape
from wideseek_rl.engine.config import EngineConfig
from wideseek_rl.engine.forward import forward, pack
from wideseek_rl.engine.requests import Request
from wideseek_rl.engine.rows import Rows, room_for
from wideseek_rl.engine.sampling import sample
from wideseek_rl.engine.store import BLOCK, Store, Stored, block_hashes, common_prefix
from wideseek_rl.engine.weights import FusedWeights

HEADROOM = 16
"""Tokens of response that a new row has room for before it must move to a larger one."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A request that has ended, and how."""

    request: Request
    outcome: Generated | PolicyError


class Scheduler:
    """Continuous batching of requests over one set of weights."""

    def __init__(self, weights: FusedWeights, config: EngineConfig) -> None:
        self.weights = weights
        self.config = config
        shape = weights.config
        caches = CacheShape(
            shape.layers, shape.kv_heads, shape.head_dim, weights.cache_dtype, weights.device
        )
        self.rows = Rows(caches)
        self.store = Store(caches)
        self.waiting: deque[Request] = deque()
        self.version = 0
        self.computed_tokens = 0
        """Tokens that went through the model; reused ones don't count."""

    @property
    def busy(self) -> bool:
        """Whether any request waits or runs."""
        return bool(self.waiting) or len(self.rows) > 0

    @property
    def cached_tokens(self) -> int:
        """Tokens whose keys and values memory is held for."""
        return self.rows.tokens + self.store.tokens

    def submit(self, request: Request) -> None:
        """Queues a request."""
        if self.config.share_prefixes:
            request.blocks = block_hashes(request.ids)
        self.waiting.append(request)

    def close(self, session: str) -> None:
        """Frees a session's cache; a request of it that still runs leaves none behind."""
        self.store.drop(session)
        for request in (*self.waiting, *self.rows.requests):
            if request.session == session:
                request.keep = False

    @torch.inference_mode()
    def reset(self) -> None:
        """Forgets all keys and values; running requests go on after computing theirs again."""
        for request in reversed(self.rows.requests):
            self._preempt(request)
        self.rows.drop_empty()
        self.store.clear()

    def abandon(self) -> list[Request]:
        """Forgets everything and returns the requests that were not answered."""
        left = [*self.rows.requests, *self.waiting]
        self.waiting.clear()
        for request in self.rows.requests:
            self.rows.remove(request)
        self.reset()
        return left

    @torch.inference_mode()
    def step(self) -> list[Finished]:
        """Computes one token of every running request, and prompts of new ones."""
        self._drop_cancelled()
        finished = self._admit()
        if not len(self.rows):
            return finished
        counts = self._counts()
        self._make_room(counts)
        counts = {request: counts[request] for request in self.rows.requests}
        if not counts:
            return finished
        batch = pack(self.weights, self.rows, counts)
        logits = forward(self.weights, batch)
        self.computed_tokens += len(batch.ids)
        order = [request for tails in batch.tails for request in tails.arena.requests]
        for request, count in counts.items():
            request.computed += count
        ready = [index for index, request in enumerate(order) if not request.pending]
        if len(ready) < len(order):
            logits = logits[ready]
        return finished + self._sampled([order[index] for index in ready], logits)

    def _sampled(self, requests: list[Request], logits: torch.Tensor) -> list[Finished]:
        finished: list[Finished] = []
        if not requests:
            return finished
        eos = self.weights.config.eos_ids
        for request, choice in zip(requests, sample(logits, requests), strict=True):
            if not request.stored:
                self._remember(request, evict=False)
            request.ids.append(choice.id)
            request.logprobs.append(choice.logprob)
            stop = choice.id in eos
            if stop or request.sampled >= request.max_tokens:
                self._remember(request, evict=True)
                self.rows.remove(request)
                finish = Finish.STOP if stop else Finish.LENGTH
                finished.append(Finished(request, request.result(finish)))
        return finished

    def _remember(self, request: Request, *, evict: bool) -> None:
        """Puts what is computed of a request into the store, if there is room.

        `evict` says that older sessions may have to go for it.
        """
        request.stored = True
        if not request.keep or request.cancelled:
            return
        limit = self.config.max_cache_tokens
        while self.cached_tokens + self.store.growth(request.session, request.computed) > limit:
            if not self.rows.drop_empty() and not (evict and self.store.drop_oldest()):
                return
        ids = request.ids[: request.computed]
        self.store.put(request.session, ids, self.rows.cache(request))

    def _drop_cancelled(self) -> None:
        for request in self.rows.requests:
            if request.cancelled:
                self.rows.remove(request)
        if any(request.cancelled for request in self.waiting):
            self.waiting = deque(r for r in self.waiting if not r.cancelled)

    def _admit(self) -> list[Finished]:
        """Gives rows to waiting requests, as many as fit.

        A request whose prompt begins like one that is just being computed waits for that one, to
        copy the common part afterwards.
        """
        coming = {block for r in self.rows.requests if not r.stored for block in r.blocks}
        kept_back: deque[Request] = deque()
        refused: list[Finished] = []
        while self.waiting and len(self.rows) < self.config.max_batch:
            request = self.waiting.popleft()
            source, known = self._source(request)
            shared = sum(block in coming for block in request.blocks) * BLOCK
            if shared >= known + BLOCK:
                kept_back.append(request)
                continue
            tokens = request.length + min(HEADROOM, request.max_tokens)
            if not self._fits(tokens):
                if not len(self.rows):
                    limit = self.config.max_cache_tokens
                    message = f"{tokens} tokens don't fit max_cache_tokens = {limit}"
                    refused.append(Finished(request, PolicyError(message)))
                    continue
                self.waiting.appendleft(request)
                break
            self.rows.add(request, tokens)
            self._start(request, source, known)
            coming.update(request.blocks)
        self.waiting.extendleft(reversed(kept_back))
        return refused

    def _start(self, request: Request, source: Stored | None, known: int) -> None:
        if not request.sampled:
            request.version = self.version
        request.computed = known
        if source is not None and known:
            self.rows.cache(request).span(0, known).fill(source.cache.span(0, known))

    def _source(self, request: Request) -> tuple[Stored | None, int]:
        """The stored session with the longest common prefix, and that prefix's length.

        At least one token is left to compute, since its logits are wanted.
        """
        best = self.store.of_session(request.session)
        known = common_prefix(best.ids, request.ids) if best is not None else 0
        other = self.store.with_prefix(request.blocks[known // BLOCK :])
        if other is not None:
            shared = common_prefix(other.ids, request.ids)
            if shared > known:
                best, known = other, shared
        return best, min(known, request.length - 1)

    def _fits(self, tokens: int) -> bool:
        """Makes room for a new row, if need be by forgetting idle sessions."""
        limit = self.config.max_cache_tokens
        if room_for(tokens) > limit:
            return False
        while self.cached_tokens + self.rows.growth(tokens) > limit:
            if not self.rows.drop_empty() and not self.store.drop_oldest():
                return False
        return True

    def _counts(self) -> dict[Request, int]:
        """How many pending tokens of each running request this step computes."""
        budget = self.config.max_step_tokens
        counts: dict[Request, int] = {}
        for request in self.rows.requests:
            count = max(1, min(request.pending, budget))
            counts[request] = count
            budget -= count - 1
        return counts

    def _make_room(self, counts: dict[Request, int]) -> None:
        """Moves requests that fill their rows to larger ones; the youngest may have to wait."""
        for request in self.rows.requests:
            if request not in self.rows:
                continue
            arena, _ = self.rows.place(request)
            tokens = request.computed + counts[request]
            if tokens <= arena.size:
                continue
            while not self._fits(tokens):
                youngest = self.rows.requests[-1]
                self._preempt(youngest)
                if youngest is request:
                    break
            else:
                self.rows.enlarge(request, tokens)

    def _preempt(self, request: Request) -> None:
        self.rows.remove(request)
        request.computed = 0
        request.stored = False
        self.waiting.appendleft(request)
