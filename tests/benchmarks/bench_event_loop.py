"""What an update costs the event loop: gaps between its turns, and its own processor time.

`python tests/benchmarks/bench_event_loop.py [--quick]` trains the start policy on the same rollouts
with the trainer in a thread of this process and in a process of its own, while a task on the event
loop asks for its turn every millisecond; the same without an update shows what the machine adds.
A gap is the time between two turns. Whatever agents wait for meanwhile waits so long, too.
"""

import argparse
import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

import numpy as np
from bench_training import agents

from wideseek_core.progress import show
from wideseek_rl import LossConfig, ModelConfig, PolicyModel, TorchTrainerConfig, build_samples
from wideseek_rl.batch.samples import TrainingSample
from wideseek_rl.cluster.local import LocalLauncher
from wideseek_rl.trainers.open import open_trainer
from wideseek_rl.trainers.protocol import Trainer
from wideseek_rl.trainers.remote.client import Processes

INTERVAL_S = 0.001


@dataclass(frozen=True, kw_only=True)
class Watched:
    """How an event loop fared while something was awaited."""

    seconds: float
    loop_cpu_s: float
    """Processor time of the loop's thread."""
    gaps_ms: Sequence[float]

    def gap(self, quantile: float) -> float:
        """A quantile of the gaps, in milliseconds."""
        return float(np.quantile(self.gaps_ms, quantile))


async def watched(work: Callable[[], Awaitable[object]]) -> Watched:
    """Awaits some work beside a task that takes its turns."""
    gaps: list[float] = []

    async def take_turns() -> None:
        last = time.perf_counter()
        while True:
            await asyncio.sleep(INTERVAL_S)
            now = time.perf_counter()
            gaps.append(1000 * (now - last))
            last = now

    turns = asyncio.create_task(take_turns())
    await asyncio.sleep(0.01)
    gaps.clear()
    started, cpu = time.perf_counter(), time.thread_time()
    await work()
    seconds, cpu = time.perf_counter() - started, time.thread_time() - cpu
    turns.cancel()
    await asyncio.gather(turns, return_exceptions=True)
    return Watched(seconds=seconds, loop_cpu_s=cpu, gaps_ms=gaps)


async def measured(
    name: str, opened: AbstractAsyncContextManager[Trainer], samples: Sequence[TrainingSample]
) -> None:
    """Three updates with a trainer, the first of which is not counted, and as long without one."""
    async with opened as trainer:
        await trainer.update(samples)
        found = [await watched(lambda: trainer.update(samples)) for _ in range(2)]
        idle = await watched(lambda: asyncio.sleep(found[0].seconds))
    for label, one in [(name, one) for one in found] + [("  no update", idle)]:
        share = one.loop_cpu_s / one.seconds
        show(
            f"{label:26}{one.seconds:>9.2f}{one.loop_cpu_s:>9.3f}{share:>8.1%}"
            f"{one.gap(0.5):>9.1f}{one.gap(0.99):>9.1f}{one.gap(1):>9.1f}"
        )


async def run(quick: bool) -> None:
    """Both places of a trainer."""
    made = agents(random.Random(0), 1 if quick else 6)
    samples = [row for group, turns in made for row in build_samples(turns, group=group)]
    samples = samples[:8] if quick else samples
    model = PolicyModel(ModelConfig())
    # The tokens are random ones: without recomputed log-probs their ratios would be masked.
    config = TorchTrainerConfig(max_batch_tokens=2048, recompute_logprobs=True)
    processes = Processes(launcher=LocalLauncher(), count=1)
    tokens = sum(map(len, samples))
    show(f"{len(samples)} samples of {tokens} tokens; gaps in milliseconds")
    show(f"{'':26}{'update s':>9}{'loop s':>9}{'share':>8}{'median':>9}{'99 %':>9}{'longest':>9}")
    for name, place in (("in a thread", None), ("in its own process", processes)):
        await measured(name, open_trainer(config, LossConfig(), model, place), samples)


def main() -> None:
    """Measures and shows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rollouts")
    asyncio.run(run(parser.parse_args().quick))


if __name__ == "__main__":
    main()
