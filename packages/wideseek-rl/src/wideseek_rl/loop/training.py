"""The training loop: tasks in, rollouts, one update, reports and checkpoints out."""

import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from wideseek_core import CheckpointError, DataError, Task, TrainError
from wideseek_core.runs import store_config
from wideseek_rl.algorithm.algorithms import Algorithm, build_step_batch, make_algorithm
from wideseek_rl.config import RLConfig
from wideseek_rl.loop.checkpoint import (
    CheckpointStore,
    TrainerState,
    read_checkpoint,
)
from wideseek_rl.loop.loggers import MetricLogger, StepReport
from wideseek_rl.loop.metrics import rollout_metrics
from wideseek_rl.rollout.runner import RolloutSource
from wideseek_rl.rollout.sampler import PromptSampler
from wideseek_rl.sync.protocol import NoSync, WeightSync
from wideseek_rl.trainers.protocol import Trainer, UpdateMetrics

logger = logging.getLogger(__name__)

Evaluate = Callable[[int], Awaitable[Mapping[str, float]]]
"""Measures the policy after so many steps: `await evaluate(step)` gives metrics by name."""

RESUMABLE_KEYS = frozenset(
    {"steps", "epochs", "max_seconds", "checkpoint", "loggers", "evaluate_every"}
    | {"max_concurrent_rollouts", "backend.threads", "backend.max_batch_tokens"}
    | {"backend.recompute", "backend.recompute_every", "backend.offload", "backend.compile"}
)
"""Keys of `RLConfig` that a resumed run may change."""

MAX_EMPTY_STEPS = 3
"""Steps in a row that may lose all their rollouts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainSummary:
    """How a run ended."""

    steps: int
    updates: int
    seconds: float
    checkpoint: Path
    best: float | None
    """Highest value of the best-checkpoint metric, if it was measured."""


class TrainingLoop:
    """Trains a policy on rollouts of tasks, in `folder`, where it goes on if it was interrupted.

    Example: `await TrainingLoop(config, backend, rollouts, folder=run).fit(tasks)`

    Args:
        config: how to train.
        backend: holds the weights.
        rollouts: gives each step its scored rollouts.
        folder: of the run; its `checkpoints/` say where to go on.
        sync: brings new weights to the engine that makes the rollouts.
        algorithm: replaces the configured one.
        evaluate: called every `evaluate_every` steps.
        loggers: take the reports.
    """

    def __init__(
        self,
        config: RLConfig,
        backend: Trainer,
        rollouts: RolloutSource,
        *,
        folder: Path,
        sync: WeightSync | None = None,
        algorithm: Algorithm | None = None,
        evaluate: Evaluate | None = None,
        loggers: Sequence[MetricLogger] = (),
    ) -> None:
        self._config, self._backend, self._rollouts = config, backend, rollouts
        self._folder = folder
        self._sync = sync or NoSync()
        self._algorithm = algorithm or make_algorithm(config.algorithm)
        self._evaluate = evaluate
        self._loggers = loggers
        self._store = CheckpointStore(folder / "checkpoints", keep_last=config.checkpoint.keep_last)
        self._empty_steps = 0

    async def fit(self, tasks: Sequence[Task]) -> TrainSummary:
        """Trains to the end, or goes on to it.

        Raises `CheckpointError` for a checkpoint that is damaged or of other tasks, `ConfigError`
        for one of another configuration, `TrainError` when training can't go on.
        """
        if not tasks:
            raise DataError("there are no tasks to train on")
        config = self._config
        order = PromptSampler(tasks, per_step=config.prompts_per_step, seed=config.seed)
        total = config.steps or order.steps(config.epochs)
        state = await self._resume(order)
        for metric_logger in self._loggers:
            metric_logger.start(state.step)
        try:
            saved = state.step if self._store.latest() else -1
            while state.step < total and not self._late(state):
                state = await self._step(order.at(state.step), state)
                if state.step % config.checkpoint.every_steps == 0:
                    self._store.save(state, self._backend.save)
                    saved = state.step
            if saved != state.step:
                self._store.save(state, self._backend.save)
        finally:
            for metric_logger in self._loggers:
                metric_logger.close()
        return self._summary(state)

    async def _resume(self, order: PromptSampler) -> TrainerState:
        """The state to go on from; the backend has loaded its weights."""
        self._store.clean()
        latest = self._store.latest()
        path = self._folder / "rl_config.json"
        if latest is None:
            store_config(path, self._config, resuming=False)
            return TrainerState(step=0, tasks=order.fingerprint)
        state = read_checkpoint(latest)
        store_config(path, self._config, resuming=True, resumable_keys=RESUMABLE_KEYS)
        if state.tasks != order.fingerprint:
            raise CheckpointError(f"{latest}: belongs to a run on other tasks")
        async with self._sync.updating() as changed:
            self._backend.load(latest)
            changed(state.updates)
        logger.info("going on after step %d", state.step)
        return state

    def _late(self, state: TrainerState) -> bool:
        limit = self._config.max_seconds
        return limit is not None and state.seconds >= limit

    async def _step(self, tasks: Sequence[Task], state: TrainerState) -> TrainerState:
        started = time.monotonic()
        groups = await self._rollouts.collect(tasks, state.step)
        collected = time.monotonic()
        trained = build_step_batch(groups, self._algorithm)
        self._check_rollouts(groups_left=len(trained.rewards), dropped=trained.dropped)
        update = UpdateMetrics()
        if trained.samples:
            async with self._sync.updating() as changed:
                update = self._backend.update(trained.samples)
                if update.updates:
                    changed(state.updates + 1)
        done = time.monotonic()
        metrics = rollout_metrics(groups, trained)
        rollout_s, update_s = collected - started, done - collected
        metrics |= {f"update/{name}": float(value) for name, value in asdict(update).items()}
        metrics |= {
            "time/rollouts_s": rollout_s,
            "time/update_s": update_s,
            "time/step_s": done - started,
            "speed/generated_per_s": metrics["tokens/generated"] / max(rollout_s, 1e-9),
            "speed/trained_per_s": update.tokens_run / max(update_s, 1e-9),
        }
        step = state.step + 1
        state = state.model_copy(
            update={
                "step": step,
                "updates": state.updates + (update.updates > 0),
                "seconds": state.seconds + done - started,
            }
        )
        report = StepReport(step=step, metrics=metrics, groups=groups, rewards=trained.rewards)
        self._report(report)
        return await self._evaluated(state)

    def _check_rollouts(self, *, groups_left: int, dropped: int) -> None:
        self._empty_steps = 0 if groups_left else self._empty_steps + 1
        if dropped:
            logger.warning("%d rollouts broke or were not scored; they are left out", dropped)
        if self._empty_steps >= MAX_EMPTY_STEPS:
            raise TrainError(f"no rollout could be used in {self._empty_steps} steps in a row")

    async def _evaluated(self, state: TrainerState) -> TrainerState:
        """Evaluates if it is time to; the state remembers the best value."""
        every = self._config.evaluate_every
        if self._evaluate is None or not every or state.step % every:
            return state
        metrics = await self._evaluate(state.step)
        self._report(
            StepReport(step=state.step, metrics={f"eval/{k}": v for k, v in metrics.items()})
        )
        metric = self._config.checkpoint.best_metric
        if metric is None:
            return state
        if metric not in metrics:
            raise TrainError(f"evaluation gives no {metric!r}; it has {sorted(metrics)}")
        if state.best is not None and metrics[metric] <= state.best:
            return state
        state = state.model_copy(update={"best": metrics[metric]})
        self._store.save_best(state, self._backend.save)
        return state

    def _report(self, report: StepReport) -> None:
        for metric_logger in self._loggers:
            metric_logger.write(report)

    def _summary(self, state: TrainerState) -> TrainSummary:
        latest = self._store.latest()
        assert latest is not None
        return TrainSummary(
            steps=state.step,
            updates=state.updates,
            seconds=state.seconds,
            checkpoint=latest,
            best=state.best,
        )
