"""What both fake servers share: a made-up model, its prefix cache, and pausing.

The next token follows from the weights, the ids before it and the request's seed by a hash, so a
test can tell which weights sampled a token. The cache remembers which weights computed a prefix:
reading one of other weights is counted.
"""

import asyncio
import base64
import hashlib
import itertools
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from wideseek_core.testing.waiting import until

_JOINED = {
    "q_proj": ("qkv_proj", 0),
    "k_proj": ("qkv_proj", 1),
    "v_proj": ("qkv_proj", 2),
    "gate_proj": ("gate_up_proj", 0),
    "up_proj": ("gate_up_proj", 1),
}
INITIAL = {"model.embed_tokens.weight": b"initial"}


def fingerprint(weights: Mapping[str, bytes]) -> str:
    """A short name of the weights' content."""
    digest = hashlib.blake2b(digest_size=8)
    for name in sorted(weights):
        digest.update(name.encode() + b"\0" + hashlib.sha256(weights[name]).digest())
    return digest.hexdigest()


def draw(weights: str, ids: Sequence[int], seed: int | None, vocab_size: int) -> tuple[int, float]:
    """The token after `ids` and its log-probability, under weights of a fingerprint."""
    name = f"{weights}|{len(ids)}|{tuple(ids[-8:])}|{seed}".encode()
    value = int.from_bytes(hashlib.blake2b(name, digest_size=8).digest())
    return value % vocab_size, -(1 + value % 997) / 100


@dataclass(slots=True)
class Running:
    """A request on its way."""

    ids: list[int] = field(default_factory=list[int])
    logprobs: list[float] = field(default_factory=list[float])
    labels: list[str] = field(default_factory=list[str])
    aborted: bool = False
    cached: int = 0


@dataclass(slots=True)
class FakeEngine:
    """The engine behind a fake server."""

    vocab_size: int = 1000
    context_tokens: int = 4096
    eos_ids: tuple[int, ...] = ()
    token_s: float = 0.0
    """Time of one token."""
    hold_at: int | None = None
    """Tokens at which every request waits until this is changed; None for no waiting."""
    processed_logprobs: bool = True
    """Whether temperature shows in log-probabilities."""
    top_logprob: float = -2.0
    """Log-probability of the likeliest token, where it is asked for."""
    weights: dict[str, bytes] = field(default_factory=lambda: dict(INITIAL))
    parts: dict[str, dict[int, bytes]] = field(default_factory=dict[str, dict[int, bytes]])
    """Of joined tensors, what has come so far."""
    label: str = "default"
    paused: bool = False
    running: dict[str, Running] = field(default_factory=dict[str, Running])
    cache: dict[str, list[tuple[tuple[int, ...], str]]] = field(
        default_factory=dict[str, list[tuple[tuple[int, ...], str]]]
    )
    stale_reads: int = 0
    """Prompts that found keys and values of other weights in the cache."""
    most_running: int = 0
    seeds: list[int | None] = field(default_factory=list[int | None])
    """Seeds of all requests so far."""
    _go: asyncio.Event = field(default_factory=asyncio.Event)
    _numbers: "itertools.count[int]" = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        self._go.set()

    async def sample(
        self, name: str, prompt: Sequence[int], parameters: Mapping[str, Any], key: str
    ) -> tuple[Running, str]:
        """Samples one continuation; returns it with the reason of its end."""
        request = Running()
        self.running[name] = request
        self.most_running = max(self.most_running, len(self.running))
        seed = parameters.get("seed")
        self.seeds.append(seed)
        draws = seed if seed is not None else -1 - next(self._numbers)
        try:
            await self._go.wait()
            request.cached = self._lookup(key, prompt)
            while len(request.ids) < parameters["max_tokens"]:
                await asyncio.sleep(self.token_s)
                await until(lambda: not self._is_held(request))
                if not request.aborted:
                    await self._go.wait()
                if request.aborted:
                    return request, "abort"
                if self._next(request, prompt, draws, parameters.get("stop_token_ids") or ()):
                    return request, "stop"
            return request, "length"
        finally:
            del self.running[name]
            known = self.cache.setdefault(key, [])
            known.append(((*prompt, *request.ids), fingerprint(self.weights)))

    def _is_held(self, request: Running) -> bool:
        is_there = self.hold_at is not None and len(request.ids) >= self.hold_at
        return is_there and not request.aborted

    def _next(
        self, request: Running, prompt: Sequence[int], seed: int, stops: Sequence[int]
    ) -> bool:
        weights = fingerprint(self.weights)
        token, logprob = draw(weights, [*prompt, *request.ids], seed, self.vocab_size)
        request.ids.append(token)
        request.logprobs.append(logprob)
        request.labels.append(self.label)
        return token in self.eos_ids or token in stops

    def _lookup(self, key: str, prompt: Sequence[int]) -> int:
        best = 0
        for ids, weights in self.cache.get(key, ()):
            shared = 0
            for a, b in zip(ids, prompt[:-1], strict=False):
                if a != b:
                    break
                shared += 1
            if shared > best:
                best = shared
            if shared and weights != fingerprint(self.weights):
                self.stale_reads += 1
        return best

    async def reached(self, tokens: int, requests: int = 1) -> None:
        """Waits until so many requests run and have at least so many tokens each."""

        def true() -> bool:
            return sum(len(one.ids) >= tokens for one in self.running.values()) >= requests

        await until(true)

    def pause(self, *, abort: bool) -> None:
        """Stops sampling; requests are given up or held."""
        self.paused = True
        if abort:
            self.abort()
        else:
            self._go.clear()

    def abort(self, name: str | None = None) -> None:
        """Gives requests up with what they have."""
        for key, request in self.running.items():
            if name is None or key == name:
                request.aborted = True
        self._go.set()
        if self.paused:
            asyncio.get_running_loop().call_soon(self._go.clear)

    def resume(self) -> None:
        """Samples again."""
        self.paused = False
        self._go.set()

    def flush(self) -> bool:
        """Empties the cache; false, with nothing done, while a request holds blocks."""
        if self.running:
            return False
        self.cache.clear()
        return True

    def spans(self, request: Running) -> list[dict[str, Any]]:
        """Which label sampled which tokens, as both servers put it."""
        spans: list[dict[str, Any]] = []
        for at, label in enumerate(request.labels):
            if spans and spans[-1]["version"] == label:
                spans[-1]["end"] = at + 1
            else:
                spans.append({"version": label, "start": at, "end": at + 1})
        return spans

    def load(self, tensors: Mapping[str, bytes]) -> None:
        """Takes weights over; projections of one input are joined, as real servers do."""
        for name, data in tensors.items():
            whole, place = name, 0
            for part, (target, at) in _JOINED.items():
                if f".{part}." in name:
                    whole, place = name.replace(f".{part}.", f".{target}."), at
            parts = self.parts.setdefault(whole, {})
            parts[place] = data
            self.weights[whole] = b"".join(parts[at] for at in sorted(parts))

    def logprob_scale(self, temperature: float) -> float:
        """Factor of reported log-probabilities; greedy ones are those of temperature 1."""
        return 1 / temperature if self.processed_logprobs and temperature > 0 else 1.0

    def checksums(self) -> dict[str, str]:
        """The SHA-256 of every tensor."""
        return {name: hashlib.sha256(data).hexdigest() for name, data in self.weights.items()}


def unpickled(text: str) -> Any:
    """What a sender packed as a pickle in base64."""
    return pickle.loads(base64.b64decode(text))
