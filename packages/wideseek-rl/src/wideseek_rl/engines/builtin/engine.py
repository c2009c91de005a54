"""The asynchronous interface of the builtin engine."""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import asynccontextmanager

import torch
from torch import Tensor

from wideseek_core.counting import counted
from wideseek_core.errors import ContextOverflow, PolicyError
from wideseek_core.memory import return_freed_memory
from wideseek_core.policy import Generated, Sampling
from wideseek_rl.engines.builtin.config import BuiltinEngineConfig
from wideseek_rl.engines.builtin.prefix_cache import CachedSequence
from wideseek_rl.engines.builtin.requests import Request
from wideseek_rl.engines.builtin.scheduler import Finished, Scheduler
from wideseek_rl.engines.builtin.weights import FusedWeights
from wideseek_rl.models.decoder import Decoder
from wideseek_rl.sync.in_process import InProcessSync
from wideseek_rl.sync.protocol import WeightSync
from wideseek_rl.threads import in_thread
from wideseek_rl.trainers.protocol import Trainer

logger = logging.getLogger(__name__)


class TorchEngine:
    """Samples from a `Decoder` model in this process; a `wideseek_core.TokenEngine`.

    All requests in flight, of whatever agent or rollout, share one batch that they enter and leave
    between two tokens. A session's cache stays until `close_session`, and whatever a new prompt has
    in common with a cached one is not computed again. Computation runs in a worker thread.

    The weights are copies of the model's as of the last `reset_cache`, so that the model may change
    while the engine samples:

        optimizer.step()
        async with engine.paused():
            engine.reset_cache()
            engine.version += 1
    """

    def __init__(self, model: Decoder, config: BuiltinEngineConfig | None = None) -> None:
        self.config = config or BuiltinEngineConfig()
        self.model = model
        weights = FusedWeights(model, sampling_dtype(model, self.config.dtype))
        self._scheduler = Scheduler(weights, self.config)
        self._submitted: deque[Request] = deque()
        self._closed: deque[str] = deque()
        self._pausing = 0
        self._computing = False
        self._driver: asyncio.Task[None] | None = None
        self._lock = asyncio.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def version(self) -> int:
        """Number of updates the weights have seen; set by whoever updates them."""
        return self._scheduler.version

    @version.setter
    def version(self, version: int) -> None:
        self._scheduler.version = version

    @property
    def computed_tokens(self) -> int:
        """Tokens that went through the model: responses, and of prompts what was not cached."""
        return self._scheduler.computed_tokens

    @property
    def cached_tokens(self) -> int:
        """Tokens whose keys and values memory is held for at present."""
        return self._scheduler.cached_tokens

    async def generate(
        self, prompt_ids: Sequence[int], *, session: str, sampling: Sampling
    ) -> Generated:
        """Samples one continuation; see `wideseek_core.TokenEngine`.

        The response depends on the engine's seed, the session's name and the prompt, and not on
        what else is in the batch (except for ties within rounding). Log-probabilities are those of
        the distribution sampled from: after temperature, and renormalized over the nucleus if
        `top_p < 1`. For greedy sampling they are those at temperature 1.

        Raises:
            ContextOverflow: the prompt leaves no room for a token.
            PolicyError: the request can't be computed.
        """
        room = self.config.context_tokens - len(prompt_ids)
        if room < 1:
            limit = self.config.context_tokens
            tokens = counted(len(prompt_ids), "token")
            raise ContextOverflow(f"a prompt of {tokens} does not fit a context of {limit}")
        self._check(prompt_ids, sampling)
        self._use_running_loop()
        request = Request(
            session=session,
            cached=CachedSequence(list(prompt_ids)),
            prompt_length=len(prompt_ids),
            max_tokens=min(sampling.max_tokens, room),
            sampling=sampling,
            seed=self.config.seed,
            future=asyncio.get_running_loop().create_future(),
        )
        self._submitted.append(request)
        self._wake()
        try:
            return await request.future
        except asyncio.CancelledError:
            request.cancelled = True
            raise

    async def close_session(self, session: str) -> None:
        """Frees a session's cache; closing one twice, or one that is not known, is fine."""
        self._use_running_loop()
        self._closed.append(session)
        self._wake()

    def sync(self, trainer: Trainer) -> WeightSync:
        """Connects the engine to a trainer; see `RolloutEngine`."""
        return InProcessSync(self, trainer.weights)

    async def load_weights(self, tensors: Iterator[tuple[str, Tensor]], version: int) -> None:
        """Samples with these weights from now on, and labels them `version`.

        Requests under way continue, each token with the version that sampled it.
        """

        def load() -> None:
            self.model.load_state_dict(dict(tensors))
            self.reset_cache()
            return_freed_memory()

        async with self.paused():
            await in_thread(load)
            self.version = version

    @asynccontextmanager
    async def paused(self) -> AsyncGenerator[None]:
        """Within this block nothing is sampled. Requests under way continue afterwards."""
        self._use_running_loop()
        self._pausing += 1
        try:
            async with self._lock:
                yield
        finally:
            self._pausing -= 1

    def reset_cache(self) -> None:
        """Copies the model's present weights and forgets what older ones computed.

        Call it within `paused()`, or when no request is under way. Requests under way keep the
        tokens they have, each with the version that sampled it.
        """
        if self._computing:
            raise RuntimeError("reset_cache needs the engine paused: async with engine.paused()")
        self._scheduler.weights.refresh()
        self._scheduler.reset()

    def _check(self, prompt_ids: Sequence[int], sampling: Sampling) -> None:
        vocabulary = self.model.config.vocab_size
        if not prompt_ids:
            raise PolicyError("a prompt needs at least one token")
        if min(prompt_ids) < 0 or max(prompt_ids) >= vocabulary:
            raise PolicyError(f"the prompt has ids outside of 0..{vocabulary - 1}")
        if sampling.max_tokens < 1:
            raise PolicyError(f"max_tokens must be at least 1, got {sampling.max_tokens}")
        if sampling.temperature < 0 or not 0 < sampling.top_p <= 1:
            raise PolicyError(
                f"can't sample at temperature {sampling.temperature}, top_p {sampling.top_p}"
            )

    def _use_running_loop(self) -> None:
        """Drops the requests of an earlier event loop that has ended."""
        loop = asyncio.get_running_loop()
        if self._loop is loop:
            return
        if self._loop is not None and not self._loop.is_closed():
            raise RuntimeError("an engine serves one event loop at a time")
        self._loop = loop
        self._lock = asyncio.Lock()
        self._driver = None
        self._submitted.clear()
        self._scheduler.abandon()

    def _wake(self) -> None:
        if self._driver is None or self._driver.done():
            self._driver = asyncio.create_task(self._drive())

    async def _drive(self) -> None:
        """Computes until no request is left."""
        while self._submitted or self._closed or self._scheduler.busy:
            async with self._lock:
                self._computing = True
                try:
                    finished = await asyncio.to_thread(self._advance)
                except Exception as error:
                    # Whatever torch raises, the callers that wait have to get it.
                    logger.exception("sampling failed")
                    finished = self._failed(error)
                finally:
                    self._computing = False
            for done in finished:
                _settle(done)
            # Callers of these requests may submit their next one in time for the next step.
            await asyncio.sleep(0)

    def _advance(self) -> list[Finished]:
        """Steps until a request is finished or submitted, or the engine is to pause."""
        while True:
            self._take_in()
            finished = self._scheduler.step()
            if finished or self._submitted or self._closed or self._pausing:
                return finished
            if not self._scheduler.busy:
                return finished

    def _take_in(self) -> None:
        while self._submitted:
            self._scheduler.submit(self._submitted.popleft())
        while self._closed:
            self._scheduler.close(self._closed.popleft())

    def _failed(self, error: Exception) -> list[Finished]:
        reason = PolicyError(f"sampling failed: {type(error).__name__}: {error}")
        return [Finished(request, reason) for request in self._scheduler.abandon()]


def sampling_dtype(model: Decoder, name: str, *, fast_bfloat16: bool | None = None) -> torch.dtype:
    """The dtype that `BuiltinEngineConfig.dtype` names for this model.

    `fast_bfloat16` says whether the CPU multiplies bfloat16 natively; None looks it up.
    """
    own = model.output_weight
    if name in ("float32", "bfloat16"):
        return getattr(torch, name)
    fast = native_bfloat16() if fast_bfloat16 is None else fast_bfloat16
    if name == "auto" and own.device.type == "cpu" and fast:
        return torch.bfloat16
    return own.dtype


def native_bfloat16() -> bool:
    """Whether this CPU has instructions for products of bfloat16 numbers."""
    capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def _settle(finished: Finished) -> None:
    future = finished.request.future
    if future.done():
        return
    if isinstance(finished.outcome, Generated):
        future.set_result(finished.outcome)
    else:
        future.set_exception(finished.outcome)
