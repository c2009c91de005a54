"""One request in the engine."""

import asyncio
import hashlib
from dataclasses import dataclass, field

import numpy as np

from wideseek_core.policy import Finish, Generated, Sampling
from wideseek_core.repetition import repeats_at_end
from wideseek_core.versions import VersionSpan
from wideseek_rl.engines.builtin.prefix_cache import CachedSequence

DRAWS = 64
"""Random numbers drawn at a time."""
CHECKED_EVERY = 16
"""Tokens from one look for repeats to the next."""


@dataclass(slots=True, eq=False, kw_only=True)
class Request:
    """A prompt and what has been sampled after it."""

    session: str
    cached: CachedSequence
    """The prompt, then the response so far, and how much of it is in the cache."""
    prompt_length: int
    max_tokens: int
    sampling: Sampling
    seed: int
    future: asyncio.Future[Generated]
    logprobs: list[float] = field(default_factory=list[float])
    versions: list[VersionSpan] = field(default_factory=list[VersionSpan])
    cancelled: bool = False
    """Its caller has given it up."""
    keep: bool = True
    """Keep its cache for the session's next turn."""
    indexed: bool = False
    """Its prompt is computed and may be shared by others."""
    hashes: tuple[int, ...] = ()
    """Hashes of the prompt's leading blocks."""
    _draws: "np.ndarray[tuple[int], np.dtype[np.float32]]" = field(
        default_factory=lambda: np.empty(0, np.float32)
    )
    _generator: np.random.Generator | None = None

    @property
    def ids(self) -> list[int]:
        """The prompt, then the response so far."""
        return self.cached.ids

    @property
    def computed(self) -> int:
        """Leading tokens whose keys and values are in the cache."""
        return self.cached.filled

    @property
    def length(self) -> int:
        """Prompt and response so far."""
        return len(self.ids)

    @property
    def pending(self) -> int:
        """Tokens that are still to be computed before the next one can be sampled."""
        return len(self.cached.ids) - self.cached.filled

    @property
    def sampled(self) -> int:
        """Tokens of the response so far."""
        return len(self.ids) - self.prompt_length

    @property
    def repeats(self) -> bool:
        """Whether the response has repeated itself as often as it may; looked at now and then."""
        limit, sampled = self.sampling.max_repeats, self.sampled
        if limit is None or sampled % CHECKED_EVERY:
            return False
        return repeats_at_end(self.ids[self.prompt_length :], limit) is not None

    def draw(self) -> float:
        """The random number in [0, 1) that decides the next token.

        It depends on the engine's seed, the request's own (without one: the session), the prompt's
        length and the token's index alone, so a response does not change with what else is in the
        batch.
        """
        if self._generator is None:
            own = self.session if self.sampling.seed is None else self.sampling.seed
            name = f"{self.seed}\0{own}\0{self.prompt_length}".encode()
            key = int.from_bytes(hashlib.blake2b(name, digest_size=16).digest())
            self._generator = np.random.Generator(np.random.Philox(key=key))
        while len(self._draws) <= self.sampled:
            more = self._generator.random(DRAWS, dtype=np.float32)
            self._draws = np.concatenate((self._draws, more))
        return float(self._draws[self.sampled])

    def take(self, token: int, logprob: float, version: int) -> None:
        """Appends a sampled token, and which weights sampled it."""
        at = self.sampled
        self.ids.append(token)
        self.logprobs.append(logprob)
        start = at
        if self.versions and self.versions[-1].version == version:
            start = self.versions.pop().start
        self.versions.append(VersionSpan(version=version, start=start, end=at + 1))

    def result(self, finish: Finish) -> Generated:
        """The response as the caller gets it."""
        return Generated(
            ids=tuple(self.ids[self.prompt_length :]),
            logprobs=tuple(self.logprobs),
            finish=finish,
            versions=tuple(self.versions),
        )
