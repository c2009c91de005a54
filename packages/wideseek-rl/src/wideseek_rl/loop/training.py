"""The training loop: prompts in, rollouts, one update, reports and checkpoints out.

It sees four interfaces (`RolloutSource`, `Trainer`, `WeightSync`, `MetricLogger`) and an
`Algorithm`, and knows nothing of what is behind them.
"""

import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from wideseek_core import (
    CheckpointError,
    Config,
    DataError,
    Task,
)
from wideseek_core.exception_groups import ungrouped
from wideseek_core.garbage import rare_garbage_collection
from wideseek_core.runs import plain, sole_writer, store_config
from wideseek_core.tasks import source_of
from wideseek_rl.algorithm.open import open_algorithm
from wideseek_rl.algorithm.protocol import Algorithm
from wideseek_rl.algorithm.step_batch import has_signal
from wideseek_rl.loop.best import best_value
from wideseek_rl.loop.checkpoint import CheckpointStore, TrainerState, known_best
from wideseek_rl.loop.collapse import CollapseWatch, rule_of
from wideseek_rl.loop.collecting import Collected, collect
from wideseek_rl.loop.held_out import HELD_OUT, HeldOutReports
from wideseek_rl.loop.loggers.protocol import MetricLogger, StepReport
from wideseek_rl.loop.metrics import rollout_metrics, source_metrics, update_metrics
from wideseek_rl.loop.updating import Outcome, train_and_publish
from wideseek_rl.rollout.progress import PromptProgress
from wideseek_rl.rollout.runner import RolloutSource
from wideseek_rl.rollout.sampler import PromptSampler
from wideseek_rl.rollout.schedule import Schedule, ScheduleInputs, open_schedule
from wideseek_rl.sync.protocol import NoSync, WeightSync
from wideseek_rl.threads import in_thread
from wideseek_rl.trainers.protocol import Trainer

if TYPE_CHECKING:
    from wideseek_rl.config import RLConfig

logger = logging.getLogger(__name__)

Evaluate = Callable[[int], Awaitable[Mapping[str, float]]]
"""Measures the policy after so many steps: `await evaluate(step)` gives metrics by name, which is
`SET/METRIC` where there are several evaluation sets."""

RESUMABLE_KEYS = frozenset(
    {"steps", "epochs", "max_seconds", "checkpoint", "loggers", "log_episodes", "log_tokens"}
    | {"evaluate_every", "max_concurrent_rollouts", "stop"}
    | {"rollout_deadline_s", "group_deadline_s", "on_duplicates"}
)
"""Keys of `RLConfig` that a resumed run may change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainSummary:
    """How a run ended."""

    steps: int
    updates: int
    seconds: float
    checkpoint: Path
    """The policy that the run ended with: the last one, or after a stop the best one."""
    best: float | None
    """Highest value of the best-checkpoint metric, if it was measured."""
    stopped: str = ""
    """Why a stop rule ended the run; empty if none did."""


class TrainingLoop:
    """Trains a policy on rollouts of tasks, and resumes the run in `folder` if there is one.

    Example: `await TrainingLoop(config, trainer, rollouts, folder=run).fit(tasks)`

    Args:
        config: how to train.
        trainer: holds the weights.
        rollouts: gives each step its scored rollouts.
        folder: of the run; its `checkpoints/` say how far it is.
        sync: brings new weights to the engine that samples the rollouts.
        algorithm: replaces the configured one.
        evaluate: called every `evaluate_every` steps and after the last one.
        baseline: measures held-out tasks before the first step, with the weights that training
            begins with in the engine.
        final: measures the same tasks after the last step.
        loggers: take the reports.
        trainer_config: of the trainer; a resumed run has to share it.
        publish_start: whether the engine may sample with other weights than those that the trainer
            begins with, as after the loss of an earlier trainer.
        complete: adds files to the folder of a checkpoint, whose weights are there.
    """

    def __init__(
        self,
        config: "RLConfig",
        trainer: Trainer,
        rollouts: RolloutSource,
        *,
        folder: Path,
        sync: WeightSync | None = None,
        algorithm: Algorithm | None = None,
        evaluate: Evaluate | None = None,
        baseline: Evaluate | None = None,
        final: Evaluate | None = None,
        loggers: Sequence[MetricLogger] = (),
        trainer_config: Config | None = None,
        publish_start: bool = False,
        complete: Callable[[Path], None] | None = None,
    ) -> None:
        self._publish_start, self._complete = publish_start, complete
        self._config, self._trainer, self._rollouts = config, trainer, rollouts
        self._folder, self._trainer_config = folder, trainer_config
        self._sync = sync or NoSync()
        self._algorithm = algorithm or open_algorithm(config.algorithm)
        self._evaluate, self._baseline, self._final = evaluate, baseline, final
        self._loggers = loggers
        self._store = CheckpointStore(folder / "checkpoints", keep_last=config.checkpoint.keep_last)
        self._watch = CollapseWatch(config.stop)
        self._reports = HeldOutReports(folder / "held_out.json")
        self._mixed = False

    async def fit(self, tasks: Sequence[Task]) -> TrainSummary:
        """Trains to the end of the run.

        Raises `CheckpointError` if no checkpoint is undamaged or they are of other tasks,
        `ConfigError` if they are of another configuration or another process writes to the folder,
        `TrainError` when training can't continue.
        """
        if not tasks:
            raise DataError("there are no tasks to train on")
        config = self._config
        self._mixed = len({source_of(task.source) for task in tasks}) > 1
        sampler = PromptSampler(tasks, per_step=config.prompts_per_step, seed=config.seed)
        with sole_writer(self._store.folder), rare_garbage_collection():
            return await self._run(sampler, config.steps or sampler.steps(config.epochs))

    async def _run(self, sampler: PromptSampler, total: int) -> TrainSummary:
        state, schedule = await self._resume(sampler, total)
        self._watch = CollapseWatch(self._config.stop, state.broken_rules)
        self._reports.start(state.step)
        for metric_logger in self._loggers:
            await metric_logger.start(state.step)
        try:
            try:
                state = await self._train(schedule, state, total)
            finally:
                # What was begun ahead of a step that never comes must not slow the end down.
                await schedule.close()
            if state.stopped:
                await self._return_to_best(state)
            if self._final is not None:
                await self._report_final(state.step, await self._final(state.step))
        finally:
            for metric_logger in self._loggers:
                await metric_logger.close()
        return self._summary(state)

    async def _train(self, schedule: Schedule, state: TrainerState, total: int) -> TrainerState:
        """All steps that are left, evaluated and saved; the state after the last one."""
        if not state.step and self._baseline is not None:
            await self._report_held_out(0, await self._baseline(0))
        saved = state.step if self._store.latest() else -1
        if state.unevaluated:
            state, saved = await self._evaluated(schedule, state), -1
        while state.step < total and not self._late(state) and not state.stopped:
            state = await self._step(schedule, state, total)
            unevaluated = self._before_evaluation(state, total)
            if unevaluated.unevaluated:
                async with self._saving_on_error(schedule, unevaluated):
                    state = await self._evaluated(schedule, unevaluated)
            if state.step % self._config.checkpoint.every_steps == 0:
                await self._save(schedule, state)
                saved = state.step
        if saved != state.step:
            await self._save(schedule, state)
        return state

    @asynccontextmanager
    async def _saving_on_error(
        self, schedule: Schedule, state: TrainerState
    ) -> AsyncGenerator[None]:
        """Around what ends the run if it fails: no step is lost while the trainer is intact.

        So it is with all that leaves the weights alone, and with updates that had not begun to
        change them. The prompts of the step that failed have not been trained on then.
        """
        try:
            with ungrouped():  # rollouts of a step fail together
                yield
        except Exception:  # whatever failed
            if self._trainer.intact and state.step and not self._store.has(state.step):
                await self._save_last(schedule, state)
            raise

    async def _save_last(self, schedule: Schedule, state: TrainerState) -> None:
        """Saves before the run ends with an error, which is the one to report."""
        try:
            await self._save(schedule, state)
        except Exception as error:  # noqa: BLE001 - such as memory that is short for both
            logger.error("step %d could not be saved: %s", state.step, error)

    async def _save(self, schedule: Schedule, state: TrainerState, *, best: bool = False) -> None:
        # As of now: rollouts that are finished while the weights are written wait for the next one.
        state = state.model_copy(update={"prompts": schedule.progress})

        async def write(folder: Path) -> None:
            await in_thread(lambda: schedule.save(folder))
            await self._trainer.save(folder)
            if (complete := self._complete) is not None:
                await in_thread(lambda: complete(folder))

        await (self._store.save_best if best else self._store.save)(state, write)

    async def _resume(self, sampler: PromptSampler, total: int) -> tuple[TrainerState, Schedule]:
        """The state to begin with, the trainer's weights restored and published."""
        self._store.clean()
        saved = await self._store.newest_whole()
        self._store_config(resuming=saved is not None)
        inputs = ScheduleInputs(
            rollouts=self._rollouts,
            sampler=sampler,
            steps=total,
            progress=(saved.state.prompts if saved else None) or PromptProgress(),
            checkpoint=saved.path if saved else None,
            has_signal=lambda group: has_signal(group, self._algorithm),
        )
        if saved is None:
            state = TrainerState(step=0, tasks=sampler.fingerprint)
            if self._publish_start:
                async with self._sync.updating() as commit:
                    commit(0)
            return state, open_schedule(self._config.schedule, inputs)
        if saved.state.tasks != sampler.fingerprint:
            raise CheckpointError(f"{saved.path}: belongs to a run on other tasks")
        async with self._sync.updating() as commit:
            await self._trainer.load(saved.path)
            commit(saved.state.updates)
        logger.info("resuming from step %d", saved.state.step)
        best = await self._store.whole_best()
        value = known_best(best, self._config.checkpoint.best_metric)
        state = saved.state.model_copy(update={"best": value})
        if state.stopped and getattr(self._config.stop, rule_of(state.stopped), None) is None:
            state = state.model_copy(update={"stopped": ""})
        return state, open_schedule(self._config.schedule, inputs)

    async def _return_to_best(self, state: TrainerState) -> None:
        """Restores and publishes the weights of the best checkpoint after a stop."""
        logger.warning("training is stopped after step %d: %s", state.step, state.stopped)
        if (best := await self._store.whole_best()) is None:
            logger.warning("no best checkpoint was kept (rl.evaluate_every): the last one remains")
            return
        async with self._sync.updating() as commit:
            await self._trainer.load(best.path)
            commit(state.updates + 1)

    def _store_config(self, *, resuming: bool) -> None:
        """Writes `rl_config.json`, or compares a resumed run with it."""
        values = plain(self._config)
        keys = set(RESUMABLE_KEYS)
        if (trainer := self._trainer_config) is not None:
            values["trainer"] = plain(trainer)
            keys |= {f"trainer.{key}" for key in getattr(trainer, "RESUMABLE_KEYS", ())}
        path = self._folder / "rl_config.json"
        store_config(path, values, resuming=resuming, resumable_keys=keys)

    def _late(self, state: TrainerState) -> bool:
        limit = self._config.max_seconds
        return limit is not None and state.seconds >= limit

    async def _step(self, schedule: Schedule, state: TrainerState, total: int) -> TrainerState:
        """Collects, trains and reports; the state after it. No failure loses a step before it."""
        async with self._saving_on_error(schedule, state):
            collected = await collect(
                schedule,
                self._algorithm,
                state.step,
                empty_steps=state.empty_steps,
                on_duplicates=self._config.on_duplicates,
            )
        made = await train_and_publish(
            self._trainer,
            self._sync,
            collected.batch,
            version=state.updates + 1,
            unchanged=self._saving_on_error(schedule, state),
        )
        schedule.trained(published=made.problem is None)
        done = time.monotonic()
        metrics = self._metrics(collected, made, version=state.updates, done=done)
        state = state.model_copy(
            update={
                "step": state.step + 1,
                "updates": state.updates + (made.update.updates > 0),
                "seconds": state.seconds + done - collected.started,
                "stopped": self._watch.see(metrics),
                "broken_rules": self._watch.broken,
                "empty_steps": collected.empty_steps,
            }
        )
        async with self._saving_on_error(schedule, self._before_evaluation(state, total)):
            try:
                await self._report(_step_report(state.step, collected, metrics))
            finally:  # whether or not it could be reported, this is what ends the run
                if made.problem is not None:
                    raise made.problem
        return state

    def _metrics(
        self, collected: Collected, made: Outcome, *, version: int, done: float
    ) -> dict[str, float]:
        """All metrics of a step that is `done`, by the monotonic clock."""
        groups, batch, duplicates = collected.groups, collected.batch, collected.duplicates
        metrics = rollout_metrics(
            groups, batch, version=version, unused_tokens=collected.unused_tokens
        )
        if duplicates.pairs:
            metrics["groups/equal_responses"] = float(duplicates.equal)
            metrics["groups/equal_responses_expected"] = duplicates.expected
        if self._mixed:
            metrics |= source_metrics(groups, batch)
        return metrics | update_metrics(
            made.update,
            generated=metrics["tokens/generated"],
            rollouts_s=collected.ended - collected.started,
            update_s=made.trained - collected.ended,
            sync_s=done - made.trained,
        )

    def _before_evaluation(self, state: TrainerState, total: int) -> TrainerState:
        """The state after a step, with the evaluation that is due: that of the last step is."""
        every = self._config.evaluate_every
        last = state.step == total or self._late(state)
        due = bool(every) and not state.stopped and (last or not state.step % every)
        return state.model_copy(update={"unevaluated": due})

    async def _evaluated(self, schedule: Schedule, state: TrainerState) -> TrainerState:
        """Evaluates; the state remembers the best value."""
        state = state.model_copy(update={"unevaluated": False})
        if self._evaluate is None or not self._config.evaluate_every:
            return state
        metrics = await self._evaluate(state.step)
        await self._report(
            StepReport(step=state.step, metrics={f"eval/{k}": v for k, v in metrics.items()})
        )
        metric = self._config.checkpoint.best_metric
        value = None if metric is None else best_value(metrics, metric)
        if value is None or (state.best is not None and value <= state.best):
            return state
        state = state.model_copy(update={"best": value, "best_metric": metric})
        await self._save(schedule, state, best=True)
        return state

    async def _report_held_out(self, step: int, metrics: Mapping[str, float]) -> None:
        if metrics:
            named = {f"{HELD_OUT}{name}": value for name, value in metrics.items()}
            await self._report(StepReport(step=step, metrics=named))

    async def _report_final(self, step: int, metrics: Mapping[str, float]) -> None:
        if self._reports.due(step):
            await self._report_held_out(step, metrics)
            self._reports.done(step)

    async def _report(self, report: StepReport) -> None:
        for metric_logger in self._loggers:
            await metric_logger.write(report)

    def _summary(self, state: TrainerState) -> TrainSummary:
        checkpoint = self._store.latest()
        if state.stopped:
            checkpoint = self._store.best() or checkpoint
        assert checkpoint is not None
        return TrainSummary(
            steps=state.step,
            updates=state.updates,
            seconds=state.seconds,
            checkpoint=checkpoint,
            best=state.best,
            stopped=state.stopped,
        )


def _step_report(step: int, collected: Collected, metrics: Mapping[str, float]) -> StepReport:
    return StepReport(
        step=step,
        metrics=metrics,
        groups=collected.groups,
        rewards=collected.batch.rewards,
        trained=collected.batch.trained,
    )
