"""The trainer in plain torch, in this process."""

import copy
import logging
import math
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from wideseek_core import TrainError
from wideseek_core.counting import counted
from wideseek_core.memory import return_freed_memory
from wideseek_rl.batch.prefix_tree import single
from wideseek_rl.batch.samples import Floats, TrainingSample, split_samples
from wideseek_rl.models.lora import load_adapter, put_adapter, save_adapter
from wideseek_rl.models.open import TrainableModel, load_any_weights, network, save_any_model
from wideseek_rl.sync.source import ModuleSource
from wideseek_rl.trainers.config import LossConfig, TorchTrainerConfig
from wideseek_rl.trainers.loss_scale import LossScale
from wideseek_rl.trainers.masters import MasterAdamW
from wideseek_rl.trainers.objectives.config import check_correction
from wideseek_rl.trainers.optimizer import learning_rate
from wideseek_rl.trainers.optimizer_state import Counts, load_optimizer, save_optimizer
from wideseek_rl.trainers.policy_pass import Planned, PolicyPass, trained_tokens
from wideseek_rl.trainers.profiling import profiled
from wideseek_rl.trainers.protocol import UpdateMetrics
from wideseek_rl.trainers.ranks import OneRank, Ranks, reshard
from wideseek_rl.trainers.screening import screen
from wideseek_rl.trainers.update_stats import Step, UpdateStats, UpdateSums

OPTIMIZER = "optimizer.safetensors"
ADAPTER = "adapter"

MAX_BROKEN = 3
"""Updates in a row whose gradient may be other than finite."""

MIN_CHANGED = 0.5
"""Part of the weights that an update must change to be worth its name."""

logger = logging.getLogger(__name__)


class TorchTrainer:
    """Trains a model in place, so that an engine over the same module samples what it learns.

    The reference model of the KL term is the model as it is given here, before any `load`.
    `tokenizer_file` is copied into every saved model folder. With several `ranks` the model must be
    float32 and the same on all of them; it is sharded, every rank calls every method with the same
    arguments, and the first one writes files.

    With `lora` settings adapters are put in the model, and only those are trained: those of the
    folder `adapter`, or new ones. Engines over the same module would not know them.
    """

    def __init__(
        self,
        model: TrainableModel,
        config: TorchTrainerConfig,
        loss: LossConfig | None = None,
        *,
        tokenizer_file: Path | None = None,
        ranks: Ranks | None = None,
        adapter: Path | None = None,
    ) -> None:
        loss = loss or LossConfig()
        self._ranks: Ranks = ranks or OneRank()
        if config.threads is not None:
            torch.set_num_threads(config.threads)
        check_correction(loss, recompute_logprobs=config.recompute_logprobs)
        self.model = model
        self._config, self._loss_config = config, loss
        self._tokenizer_file = tokenizer_file
        if config.lora is not None:
            put_adapter(network(model), config.lora, adapter)
        reference = self._frozen_copy() if loss.kl else None
        self._pass = PolicyPass(model, reference, config, loss, self._ranks)
        if self._ranks.count > 1:
            self._pass.shard()
        else:
            _name_unused(config)
        self._optimizer = MasterAdamW(model, config.optimizer)
        half = next(model.parameters()).dtype == torch.float16 or config.autocast == "float16"
        self._scale = LossScale(config.loss_scale) if half else None
        self._updates = 0
        self._broken = 0
        self._returned = self._optimizer.begun
        """Optimizer steps begun when the last update returned."""
        if config.offload:
            self._optimizer.move("cpu")

    def update(self, samples: Sequence[TrainingSample]) -> UpdateMetrics:
        """One step: as many optimizer steps as configured, on samples that have a gradient.

        An error before the first of these has begun leaves the trainer as it was. One that comes
        later can't be undone: `intact` is false then, until `load`.
        """
        before = self._counts
        try:
            metrics = self._profiled(samples)
        except BaseException as error:
            if self.intact:
                self._count_on(before)
            # What the passes held would be missing when weights are saved.
            traceback.clear_frames(error.__traceback__)
            self._optimizer.zero_grad()
            raise
        self._returned = self._optimizer.begun
        return metrics

    @property
    def intact(self) -> bool:
        """Whether weights and optimizer are what the last `update` or `load` that returned left."""
        return self._optimizer.begun == self._returned

    def _profiled(self, samples: Sequence[TrainingSample]) -> UpdateMetrics:
        next_ones = range(self._updates, self._updates + self._config.updates_per_step)
        if self._ranks.first and any(update in next_ones for update in self._config.profile):
            with profiled(self._config.profile_folder, self._updates):
                return self._train(samples)
        return self._train(samples)

    def _frozen_copy(self) -> TrainableModel:
        """A copy of the model; weights that are frozen anyway are shared with it."""
        one = self._ranks.count == 1
        shared = {id(p): p for p in self.model.parameters() if one and not p.requires_grad}
        return copy.deepcopy(self.model, cast(dict[int, Any], shared)).requires_grad_(False)

    def _train(self, samples: Sequence[TrainingSample]) -> UpdateMetrics:
        started = time.monotonic()
        screened = screen(samples, self.model.config.vocab_size)
        live = [sample for sample in screened.samples if self._has_gradient(sample)]
        stats = UpdateStats(
            samples=len(live),
            zero_advantage_samples=len(screened.samples) - len(live),
            loss=self._loss_config,
            device=self._pass.device,
        )
        with self._pass.reset_on_error(), self._pass.seeded(self._updates):
            for part in self._prepare(live) if live else ():
                if not self._update(part, stats):
                    break
        stats.reduce(self._ranks.sum)
        stats.masked_tokens += screened.tokens  # which are the same on all ranks
        stats.masked_samples += screened.dropped
        stats.loss_scale = self._loss_scale
        if self._config.offload:
            self._optimizer.zero_grad()  # nothing of the update stays on the device
        if self._pass.device.type == "cpu":
            return_freed_memory()
        return stats.metrics(time.monotonic() - started)

    @property
    def weights(self) -> ModuleSource:
        """The parameters of the model as they are now."""
        return ModuleSource(network(self.model), published=self.model.published)

    def logprobs(self, samples: Sequence[TrainingSample]) -> list[Floats]:
        """For each sample, the log-prob of each of its tokens; 0 where the token does not train."""
        results = [np.zeros(len(sample), dtype=np.float32) for sample in samples]
        with self._pass.reset_on_error():
            for sample, values in zip(samples, results, strict=True):
                if sample.trained:
                    batch = self._pass.collate([single(sample)])
                    values[sample.weights != 0] = self._pass.logprobs(batch).float().cpu().numpy()
        if self._ranks.count > 1:
            reshard(network(self.model))
        return results

    def save(self, folder: Path) -> None:
        """Writes `model/` in Hugging Face format and `optimizer.safetensors`.

        With adapters also `adapter/` in PEFT's format; those of `model/` are merged.
        """
        first = self._ranks.first
        if self._config.lora is not None:
            base = None if self._tokenizer_file is None else self._tokenizer_file.parent
            save_adapter(network(self.model), folder / ADAPTER, base, writes=first)
        save_any_model(self.model, folder / "model", self._tokenizer_file, writes=first)
        save_optimizer(self._optimizer, folder / OPTIMIZER, self._counts, writes=first)

    def load(self, folder: Path) -> None:
        """Restores what `save` wrote, in the module given at construction."""
        self._returned = -1  # not intact before all of it is there
        if self._config.lora is None:
            load_any_weights(self.model, folder / "model")
        else:
            load_adapter(network(self.model), folder / ADAPTER)
        counts = load_optimizer(self._optimizer, folder / OPTIMIZER)
        if self._config.offload:
            self._optimizer.move("cpu")
        self._count_on(counts)
        self._returned = self._optimizer.begun

    @property
    def _counts(self) -> Counts:
        return Counts(
            updates=self._updates,
            loss_scale=self._loss_scale,
            good=0 if self._scale is None else self._scale.good,
            broken=self._broken,
        )

    def _count_on(self, counts: Counts) -> None:
        self._updates, self._broken = counts.updates, counts.broken
        if self._scale is not None and counts.loss_scale is not None:
            self._scale = LossScale(counts.loss_scale, counts.good)

    @property
    def _loss_scale(self) -> float:
        return 1.0 if self._scale is None else self._scale.value

    def _has_gradient(self, sample: TrainingSample) -> bool:
        if self._loss_config.needs_all_tokens:
            return sample.trained > 0
        if sample.nll < self._config.min_nll:
            return False
        return bool(np.any((sample.weights != 0) & (sample.advantages != 0)))

    def _prepare(self, samples: Sequence[TrainingSample]) -> list[list[Planned]]:
        """The micro-batches of each update.

        Later updates need the old log-probs of the weights as they are now; the first one finds
        them in its own forward pass.
        """
        split = split_samples(samples, self._config.updates_per_step)
        parts = [self._pass.plan(part) for part in split]
        if self._config.recompute_logprobs:
            for planned in (one for part in parts[1:] for one in part):
                planned.old = self._pass.logprobs(self._pass.collate(planned.trees))
        return parts

    def _update(self, part: Sequence[Planned], stats: UpdateStats) -> bool:
        """One optimizer step; False if the rest of the step must be given up."""
        stats.lr = learning_rate(self._config.optimizer, self._updates)
        self._optimizer.zero_grad()
        total = UpdateSums(self._pass.device)
        for left, planned in enumerate(part, 1 - len(part)):
            self._run(planned, total, stats, last=left == 0)
        if not self._config.offload:
            self._optimizer.measure()
        total.reduce(self._ranks.sum)
        if total.dropped:
            logger.warning(
                "left out: %s, whose mean ratio ran away", counted(int(total.dropped), "token")
            )
        if not total.tokens:
            stats.add_update(total.sums, total.loss, None)
            return True
        if total.mean_ratio > self._config.max_mean_ratio:
            logger.warning("mean ratio %.3g: the rest of the step is given up", total.mean_ratio)
            stats.stopped = True
            stats.add_update(total.sums, total.loss, None)
            return False
        step = self._step(stats.lr)
        finite = math.isfinite(step.norm)
        stats.add_update(total.sums, total.loss, step if finite else None)
        if finite:
            self._stepped(step, stats.lr)
        else:
            self._skip(stats, step.norm)
        return True

    def _run(self, planned: Planned, total: UpdateSums, stats: UpdateStats, *, last: bool) -> None:
        """Forward and backward pass of one micro-batch, without samples that break it.

        Several ranks make the same passes: where one breaks, all run theirs again, and each makes
        exactly one backward pass.
        """
        self._optimizer.accumulate()  # what an earlier pass of the update left
        batch = self._pass.collate(planned.trees)
        found = self._pass.evaluate(batch, planned.old)
        broken: set[int] = set()
        if not planned.silent:
            broken = self._pass.broken(batch, found, planned.old)
        if self._ranks.any(bool(broken)):
            stats.masked_tokens += trained_tokens(batch, broken)
            stats.masked_samples += len(broken)
            rest = self._pass.without(planned, batch, broken)
            del found, batch  # frees what the backward pass would have used
            for again in rest:
                self._run(again, total, stats, last=last)
            return
        factor = 0.0 if planned.silent else self._loss_scale
        self._pass.backward(found.outputs.loss, factor, last=last)
        stats.tokens_run += batch.tokens
        stats.micro_batches += 1
        if not planned.silent:
            total.add(found.outputs)

    def _step(self, lr: float) -> Step:
        if self._config.offload:
            self._optimizer.move(self._pass.device)
        step = self._optimizer.step(lr, self._loss_scale)
        if self._config.offload:
            self._optimizer.move("cpu")
        return step

    def _stepped(self, step: Step, lr: float) -> None:
        self._updates += 1
        self._broken = 0
        if self._scale is not None:
            self._scale.succeeded()
        if step.changed is not None and step.changed < MIN_CHANGED and lr > 0:
            logger.warning(
                "the update changed %.2g %% of the weights that have a gradient: at a learning "
                "rate of %g the rest rounds away",
                100 * step.changed,
                lr,
            )

    def _skip(self, stats: UpdateStats, norm: float) -> None:
        stats.skipped += 1
        if self._scale is not None:
            self._scale.overflowed()
            return
        self._broken += 1
        logger.warning("gradient norm %s: update left out", norm)
        if self._broken >= MAX_BROKEN:
            raise TrainError(
                f"the gradient was not finite {counted(self._broken, 'time')} in a row"
            )


def _name_unused(config: TorchTrainerConfig) -> None:
    """Says which settings do nothing where one rank holds the whole model."""
    unused = ["keep_gathered=true"] if config.keep_gathered else []
    if config.reduce_gradients != "each_pass":
        unused.append(f"reduce_gradients={config.reduce_gradients}")
    if unused:
        logger.warning("%s: no effect on one rank, which gathers nothing", ", ".join(unused))
