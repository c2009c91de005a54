"""The work that `run_scaling.py` gives to engines and trainers, and what it takes."""

import asyncio
import logging
import math
import os
import signal
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from gpu_training import PEAK_FLOPS, flops
from numpy.typing import NDArray
from scaling_setup import ScalingConfig, decoder_shape

from wideseek_apps.served_engine import ServedEngine
from wideseek_core import Sampling
from wideseek_core.testing import until
from wideseek_rl.batch.samples import TrainingSample
from wideseek_rl.sync.servers import ServerSync
from wideseek_rl.trainers.protocol import Trainer

logger = logging.getLogger(__name__)

LENGTHS = ((700, 180), (1500, 320), (3700, 900), (8200, 1400), (15_000, 2600))
"""Prompt and response tokens of recorded agents; each is as frequent as the others."""

REPLACING_S = 45.0
"""Time that the replacement of an engine takes at least."""
REPLACED_BEFORE_S = 8.0
"""Time that is kept for the end of the last part."""


@dataclass(slots=True)
class Step:
    """Seconds of the parts of one step, and what was worked through."""

    step_s: float = 0.0
    sample_s: float = 0.0
    train_s: float = 0.0
    sync_s: float = 0.0
    """Everything between the end of training and the next request for tokens."""
    pause_s: float = 0.0
    sent_s: float = 0.0
    verified_s: float = 0.0
    sampled: int = 0
    trained: int = 0
    asked: int = 0
    answered: int = 0
    mfu: float = 0.0
    client_cpu: float = 0.0
    """Cores that this process took while agents sampled."""

    @property
    def figures(self) -> dict[str, float]:
        """With rates, and the shares of the step in which half of the GPUs had nothing to do."""
        values = {name: round(value, 4) for name, value in asdict(self).items() if value}
        if self.sample_s:
            values["sampled_per_s"] = round(self.sampled / self.sample_s, 1)
        if self.train_s:
            values["trained_per_s"] = round(self.trained / self.train_s, 1)
        if self.step_s:
            values["engines_idle"] = round(1 - self.sample_s / self.step_s, 4)
            values["trainer_idle"] = round(1 - self.train_s / self.step_s, 4)
        return values


class Work:
    """Agents and samples of the recorded lengths."""

    def __init__(self, config: ScalingConfig) -> None:
        self._config = config
        self._shape = decoder_shape(config)
        self._random = np.random.default_rng(0)
        self._named = 0
        divisor = 100 if config.rehearse else config.shorten
        self._lengths = [(prompt // divisor, answer // divisor) for prompt, answer in LENGTHS]

    async def rollouts(
        self, engine: ServedEngine, agents: int
    ) -> tuple[list[TrainingSample], Step]:
        """All agents at once; the same lengths for every number of engines."""
        lengths = [self._lengths[number % len(self._lengths)] for number in range(agents)]
        prompts = [self._ids(prompt).tolist() for prompt, _ in lengths]
        started, cpu = time.monotonic(), time.process_time()
        asked = (self._agent(engine, i, n) for i, (_, n) in zip(prompts, lengths, strict=True))
        ends = await asyncio.gather(*asked, return_exceptions=True)
        seconds = time.monotonic() - started
        for end in ends:
            if isinstance(end, BaseException):
                logger.error("an agent got no answer: %r", end)
        made = [end for end in ends if isinstance(end, TrainingSample)]
        step = Step(sample_s=seconds, asked=agents, answered=len(made))
        step.sampled = sum(sample.trained for sample in made)
        step.client_cpu = (time.process_time() - cpu) / seconds
        return made, step

    async def _agent(self, engine: ServedEngine, ids: list[int], answer: int) -> TrainingSample:
        self._named += 1
        name, seed = f"agent-{self._named}", self._named
        sampling = Sampling(max_tokens=answer, seed=seed)
        made = await engine.generate(ids, session=name, sampling=sampling)
        await engine.close_session(name)
        return self._sample([*ids, *made.ids], made.logprobs)

    def samples(self, count: int) -> list[TrainingSample]:
        """Samples as agents would leave them, without an engine."""
        made: list[TrainingSample] = []
        for number in range(count):
            prompt, answer = self._lengths[number % len(self._lengths)]
            chance = -math.log(self._shape.vocab_size)
            made.append(self._sample(self._ids(prompt + answer).tolist(), [chance] * answer))
        return made

    def _ids(self, count: int) -> NDArray[Any]:
        return self._random.integers(3, self._shape.vocab_size, count)

    def _sample(self, ids: Sequence[int], logprobs: Sequence[float]) -> TrainingSample:
        length, trained = len(ids), len(logprobs)
        weights = np.zeros(length, np.float32)
        weights[length - trained :] = 1e-4
        old = np.zeros(length, np.float32)
        old[length - trained :] = logprobs
        advantage = float(self._random.uniform(-1, 1))
        return TrainingSample(
            ids=np.array(ids, np.int32),
            weights=weights,
            advantages=np.full(length, advantage, np.float32),
            logprobs=old,
        )

    async def update(self, trainer: Trainer, batch: Sequence[TrainingSample], ranks: int) -> Step:
        """One update."""
        started = time.monotonic()
        await trainer.update(batch)
        step = Step(train_s=time.monotonic() - started, trained=sum(map(len, batch)))
        done = flops(self._shape, [len(sample) for sample in batch])
        step.mfu = done / step.train_s / PEAK_FLOPS / ranks
        return step


Note = Callable[[str, object], None]
"""Keeps a figure by its name, at once."""


@dataclass(slots=True)
class Steps:
    """Whole steps of a group of ranks and as many engines."""

    config: ScalingConfig
    work: Work
    engine: ServedEngine
    trainer: Trainer
    ranks: int
    note: Note
    seconds_left: Callable[[], float]
    _version: int = 0

    async def run(self, *, kill: bool) -> None:
        """Warms up, then measures steps in turn, overlapped, and with an engine killed."""
        sync = self.engine.sync(self.trainer)
        assert isinstance(sync, ServerSync)
        engines = len(self.engine.pool.states)
        agents = self.config.step_agents * engines
        batch, _ = await self.work.rollouts(self.engine, engines)
        self.note("first", (await self._train(sync, batch)).figures)  # servers and ranks meet
        done: list[dict[str, float]] = []
        for _ in range(self.config.repeats):
            batch, figures = await self._in_turn(sync, agents)
            done.append(figures)
            self.note("sync", done)
        done = []
        for _ in range(self.config.repeats):
            batch, figures = await self._overlapped(sync, agents, batch)
            done.append(figures)
            self.note("async", done)
        if kill and self.seconds_left() > REPLACING_S:
            await self._with_a_kill(sync, agents, batch)
        elif kill:
            self.note("killed", f"left out with {self.seconds_left():.0f} s to go")

    async def _in_turn(
        self, sync: ServerSync, agents: int
    ) -> tuple[list[TrainingSample], dict[str, float]]:
        started = time.monotonic()
        batch, step = await self.work.rollouts(self.engine, agents)
        trained = await self._train(sync, batch)
        return batch, self._joined(step, trained, time.monotonic() - started)

    async def _overlapped(
        self,
        sync: ServerSync,
        agents: int,
        batch: Sequence[TrainingSample],
        beside: Callable[[], Awaitable[None]] | None = None,
    ) -> tuple[list[TrainingSample], dict[str, float]]:
        started = time.monotonic()
        coming = asyncio.create_task(self.work.rollouts(self.engine, agents))
        other = asyncio.create_task(_none() if beside is None else _awaited(beside()))
        trained = await self._train(sync, batch)
        made, step = await coming
        await other
        return made, self._joined(step, trained, time.monotonic() - started)

    async def _train(self, sync: ServerSync, batch: Sequence[TrainingSample]) -> Step:
        """An update, and its weights to the engines."""
        started = time.monotonic()
        async with sync.updating() as commit:
            step = await self.work.update(self.trainer, batch, self.ranks)
            self._version += 1
            commit(self._version)
        step.sync_s = time.monotonic() - started - step.train_s
        if (last := sync.last) is not None:
            step.pause_s, step.sent_s = last.paused_s, last.sent_s
            step.verified_s = last.verified_s
        return step

    def _joined(self, sampled: Step, trained: Step, seconds: float) -> dict[str, float]:
        names = ("train_s", "sync_s", "pause_s", "sent_s", "verified_s", "trained", "mfu")
        for name in names:
            setattr(sampled, name, getattr(trained, name))
        sampled.step_s = seconds
        return sampled.figures

    async def _with_a_kill(
        self, sync: ServerSync, agents: int, batch: Sequence[TrainingSample]
    ) -> None:
        """Overlapped steps; one engine is killed in the first, and they end when it is replaced."""
        pool, before = self.engine.pool, len(self.engine.pool.states)
        victim, *_ = pool.states
        killed = 0.0
        replaced: float | None = None

        async def kill() -> None:
            nonlocal killed
            await asyncio.sleep(0.0 if self.config.rehearse else 1.0)
            killed = time.monotonic()
            kill_server(victim)

        async def watch() -> None:
            nonlocal replaced
            await until(
                lambda: killed > 0 and victim not in pool.states and _complete(pool.states, before)
            )
            replaced = time.monotonic() - killed

        watching = asyncio.create_task(watch())
        done: list[dict[str, float]] = []
        found: dict[str, object] = {"victim": victim, "steps": done}
        try:
            while len(done) < 2 or not watching.done():
                beside = None if done else kill
                batch, figures = await self._overlapped(sync, agents, batch, beside)
                done.append(figures)
                counts = pool.counts
                found |= {
                    "replaced_s": replaced,
                    "lost": sum(s["asked"] - s.get("answered", 0) for s in done),
                }
                found |= {"deaths": counts.deaths, "resent": counts.resent}
                found |= {
                    "continued": counts.continued,
                    "states": list(map(str, pool.states.values())),
                }
                self.note("killed", found)
                usual = min(step["step_s"] for step in done)
                if self.seconds_left() < usual + REPLACED_BEFORE_S:
                    break
            if watching.done():  # a step with all engines again
                batch, figures = await self._overlapped(sync, agents, batch)
                self.note("after it was replaced", figures)
        finally:
            watching.cancel()


def _complete(states: "dict[str, Any]", count: int) -> bool:
    return len(states) == count and all(str(state) == "ready" for state in states.values())


async def _none() -> None:
    """Nothing."""


async def _awaited(work: Awaitable[None]) -> None:
    await work


def kill_server(url: str) -> None:
    """Kills the process group of what was started to listen at an address on this host."""
    port = url.rsplit(":", 1)[1].encode()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
            if b"--port" in words and words[words.index(b"--port") + 1] == port:
                os.killpg(os.getpgid(int(folder.name)), signal.SIGKILL)
                return
        except OSError:
            continue
    logger.error("no process listens at %s", url)
