"""How rollouts, training and weight sync scale with the GPUs of one host.

    python tests/benchmarks/run_scaling.py tests/benchmarks/scaling.yaml [KEY=VALUE ...]

Agents are made up; their lengths follow a recorded distribution, and weights are random in a
model's shape. Half of the GPUs train and half sample. Servers and groups of ranks of all sizes are
started at the same time; then are measured

- `training`: updates of each group of ranks, with a fixed number of samples per GPU,
- `rollouts`: tokens a second of 1, 2, 4 ... engines, with a fixed number of agents per engine,
- `steps`: whole steps of half of the GPUs training beside the others sampling, one after the other
  (`sync`) and at the same time (`async`); then with one engine killed, until it is replaced.

Each figure is written to OUT/scaling.json at once, and a part that fails or takes too long costs
no other. `rehearse=true` does the same with stub servers and a tiny model on the CPU.
"""

import asyncio
import json
import logging
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from scaling_setup import Held, Places, ScalingConfig, made_model, open_places, own_gpus
from scaling_work import Steps, Work

from wideseek_apps.served_engine import ServedEngine
from wideseek_core.config import load_arguments
from wideseek_core.exits import exit_on_error
from wideseek_rl.trainers.protocol import Trainer

USAGE = "run_scaling.py [CONFIG.yaml ...] [KEY=VALUE ...]"
START = time.monotonic()
CLOSING_S = 5.0
"""Time that is kept for ending processes."""


class Results:
    """Figures by part, in a file from the moment that they are there."""

    def __init__(self, config: ScalingConfig) -> None:
        self._file = config.out / "scaling.json"
        self._seconds = config.seconds
        self.values: dict[str, Any] = {
            "cards": _cards(),
            "versions": _versions("torch", config.engine),
            "settings": config.model_dump(mode="json"),
        }

    def note(self, name: str, value: object) -> None:
        """Keeps a figure."""
        self.values[name] = value
        line = json.dumps(value, default=str)[-700:]
        sys.stdout.write(f"[{time.monotonic() - START:6.1f} s] {name}: {line}\n")
        sys.stdout.flush()
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._file.write_text(json.dumps(self.values, indent=1, default=str) + "\n")

    def seconds_left(self) -> float:
        """Until everything has to be over."""
        return self._seconds - CLOSING_S - (time.monotonic() - START)

    async def part(
        self, name: str, work: Callable[[], Awaitable[None]], limit_s: float = 3600.0
    ) -> None:
        """One part; the others still count when it fails."""
        started = time.monotonic()
        try:
            await asyncio.wait_for(work(), max(min(self.seconds_left(), limit_s), 0.0))
        except Exception as error:
            logging.exception("%s failed", name)
            self.note(f"FAILED {name}", f"{type(error).__name__}: {error}"[:900])
        self.note(f"seconds of {name}", round(time.monotonic() - started, 1))


class Measurement:
    """Everything that is opened, and what is measured with it."""

    def __init__(self, config: ScalingConfig, results: Results, places: Places) -> None:
        self._config, self._results, self._places = config, results, places
        self._work = Work(config)
        half, gpus = config.half, config.gpus
        self._back = Held(places.servers("back", range(half, gpus)))
        """The engines of whole steps."""
        self._front: Held[ServedEngine] | None = None
        if config.apart and "rollouts" in config.parts:
            self._front = Held(places.servers("front", range(half)))
        self._groups: dict[int, Held[Trainer]] = {}
        for size in config.groups:
            if "training" in config.parts or ("steps" in config.parts and size <= half):
                self._groups[size] = Held(places.trainer(size))

    async def run(self) -> None:
        """Waits for all processes and measures, the largest group first: it needs all GPUs."""
        held: list[Held[Any]] = [*self._servers, *self._groups.values()]
        start_s = self._config.start_s
        await self._results.part("starting", lambda: _all_there(held), start_s)
        half = self._config.half
        for size in [size for size in self._groups if size != half]:
            await self._train(size)
            if size > half or "steps" not in self._config.parts:
                await self._groups.pop(size).close()
        some = [count for count in self._config.engines if count <= half]
        apart = asyncio.create_task(self._rollouts(some))  # on other GPUs than the next group
        await self._train(half)
        await apart
        await self._rollouts([count for count in self._config.engines if count > half])
        if self._front is not None:
            await self._front.close()
            self._front = None
        if "steps" in self._config.parts:
            for size in sorted(self._groups):
                await self._results.part(f"steps, {2 * size} GPUs", partial(self._steps, size))
                await self._groups.pop(size).close()

    @property
    def _servers(self) -> list[Held[ServedEngine]]:
        return [self._back] if self._front is None else [self._front, self._back]

    async def close(self) -> None:
        """Ends all processes."""
        held: list[Held[Any]] = [*self._servers, *self._groups.values()]
        await asyncio.gather(*(one.close() for one in held))

    async def _train(self, size: int) -> None:
        if "training" in self._config.parts:
            work = partial(self._updates, size)
            await self._results.part(f"training, {size} GPUs", work, self._config.part_s)

    async def _updates(self, size: int) -> None:
        trainer = self._groups[size].get()
        batch = self._work.samples(self._config.samples * size)
        done: list[dict[str, float]] = []
        for _ in range(1 + self._config.repeats):  # the first one is a warm-up
            done.append((await self._work.update(trainer, batch, size)).figures)
            self._results.note(f"training, {size} GPUs", done)

    async def _rollouts(self, counts: Sequence[int]) -> None:
        if "rollouts" not in self._config.parts:
            return
        for count in counts:
            work = partial(self._sample, count)
            await self._results.part(f"rollouts, {count} engines", work, self._config.part_s)

    async def _sample(self, count: int) -> None:
        sets = [self._back] if count <= self._config.half else self._servers
        urls = [url for servers in sets for url in servers.get().pool.states]
        async with self._places.some(urls[-count:]) as engine:
            await self._work.rollouts(engine, 4 * count)  # a warm-up
            _, step = await self._work.rollouts(engine, self._config.agents * count)
        self._results.note(f"rollouts, {count} engines", step.figures)

    async def _steps(self, size: int) -> None:
        trainer = self._groups[size].get()
        async with self._engines(size) as engine:
            steps = Steps(
                self._config,
                self._work,
                engine,
                trainer,
                size,
                lambda name, value: self._results.note(f"steps, {2 * size} GPUs, {name}", value),
                self._results.seconds_left,
            )
            await steps.run(kill=self._config.kill and size == self._config.half)

    @asynccontextmanager
    async def _engines(self, size: int) -> AsyncGenerator[ServedEngine]:
        """As many engines as ranks, the last ones."""
        back = self._back.get()
        if size == self._config.half:
            yield back
            return
        async with self._places.some(list(back.pool.states)[-size:]) as engine:
            yield engine


async def _all_there(held: Sequence[Held[Any]]) -> None:
    """Waits for everything, also when something fails, and then raises why it did."""
    ends = await asyncio.gather(*(one.opened() for one in held), return_exceptions=True)
    for end in ends:
        if isinstance(end, BaseException):
            raise end


def scaling(values: dict[str, Any], config: ScalingConfig) -> dict[str, float]:
    """Speed a GPU, relative to the smallest number of GPUs: 1 is linear."""
    found: dict[str, float] = {}

    def add(name: str, sizes: Sequence[int], rates: dict[int, float]) -> None:
        known = [size for size in sizes if size in rates]
        for size in known[1:]:
            found[f"{name}, {known[0]} to {size}"] = round(
                rates[size] / rates[known[0]] * known[0] / size, 3
            )

    sampled = {
        n: values[key]["sampled_per_s"]
        for n in config.engines
        if (key := f"rollouts, {n} engines") in values
    }
    add("rollouts", config.engines, sampled)
    groups = sorted(config.groups)
    trained = {
        n: max(one["trained_per_s"] for one in values[key])
        for n in groups
        if (key := f"training, {n} GPUs") in values
    }
    add("training", groups, trained)
    for kind in ("sync", "async"):
        steps = {
            2 * n: 2 * n / min(one["step_s"] for one in values[key])
            for n in groups
            if (key := f"steps, {2 * n} GPUs, {kind}") in values
        }
        add(f"steps, {kind}", [2 * n for n in groups], steps)
    return found


def _cards() -> str:
    query = ("nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader")
    try:
        return subprocess.check_output(query, text=True).strip()
    except (OSError, subprocess.CalledProcessError):
        return "CPU"


def _versions(*names: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed here"
    return found


async def measure(config: ScalingConfig) -> None:
    """All parts."""
    own_gpus(config)  # before the model is made, which takes a while
    results = Results(config)
    model = await asyncio.to_thread(made_model, config)
    results.note("model", str(model))
    async with open_places(config) as places:
        measurement = Measurement(config, results, places)
        try:
            await measurement.run()
        finally:
            results.note("scaling", scaling(results.values, config))
            await measurement.close()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    with exit_on_error():
        settings = load_arguments(ScalingConfig, sys.argv[1:], usage=USAGE).config
        asyncio.run(measure(settings))
