"""The trainer in plain torch, in this process."""

import copy
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from wideseek_core import ConfigError, TrainError
from wideseek_rl.batch.packing import BatchShape, MicroBatch, collate, plan
from wideseek_rl.batch.prefix_tree import PrefixTree
from wideseek_rl.batch.samples import TrainingSample, split_samples
from wideseek_rl.config import TorchTrainerConfig
from wideseek_rl.models.decoder import Decoder
from wideseek_rl.models.open import TrainableModel, load_any_weights, save_any_model
from wideseek_rl.trainers.head import HeadOptions
from wideseek_rl.trainers.loss import SUMS, LossInputs, LossOutputs, policy_loss, within
from wideseek_rl.trainers.loss_scale import LossScale
from wideseek_rl.trainers.masters import MasterAdamW, Step
from wideseek_rl.trainers.micro_batch_loss import (
    Evaluated,
    precision,
    token_logprobs,
    token_loss,
)
from wideseek_rl.trainers.optimizer import learning_rate
from wideseek_rl.trainers.optimizer_state import load_optimizer, save_optimizer
from wideseek_rl.trainers.protocol import UpdateMetrics
from wideseek_rl.trainers.screening import screen
from wideseek_rl.trainers.update_stats import Accumulated, UpdateStats

OPTIMIZER = "optimizer.safetensors"

MAX_BROKEN = 3
"""Updates in a row whose gradient may be other than finite."""

MIN_CHANGED = 0.5
"""Part of the weights that an update must change to be worth its name."""

logger = logging.getLogger(__name__)


class TorchTrainer:
    """Trains a model in place, so that an engine over the same module samples what it learns.

    The reference model of the KL term is the model as it is given here, before any `load`.
    `tokenizer_file` is copied into every saved model folder.
    """

    def __init__(
        self,
        model: TrainableModel,
        config: TorchTrainerConfig,
        *,
        tokenizer_file: Path | None = None,
    ) -> None:
        if config.threads is not None:
            torch.set_num_threads(config.threads)
        if config.loss.importance_cap is not None and not config.recompute_logprobs:
            raise ConfigError("loss.importance_cap needs recompute_logprobs: true")
        self.model = model
        self._config = config
        self._tokenizer_file = tokenizer_file
        self._device = next(model.parameters()).device
        self._reference = copy.deepcopy(model).requires_grad_(False) if config.loss.kl else None
        self._optimizer = MasterAdamW(model, config.optimizer)
        self._scale = self._loss_scale()
        self._updates = 0
        self._broken = 0
        self._head = HeadOptions(
            temperature=config.loss.temperature,
            entropy_grad=config.loss.entropy > 0,
            max_logits=config.max_logits,
        )
        self._shape = self._batch_shape()
        model.recompute(config.recompute, every=config.recompute_every)
        for module in (model, self._reference):
            if module is not None and self._compiles():
                _compile_layers(module)
        if config.offload:
            self._optimizer.move("cpu")

    def update(self, samples: Sequence[TrainingSample]) -> UpdateMetrics:
        """One step: as many optimizer steps as configured, on samples that have a gradient."""
        started = time.monotonic()
        screened = screen(samples, self.model.config.vocab_size)
        live = [sample for sample in screened.samples if self._has_gradient(sample)]
        stats = UpdateStats(
            samples=len(live),
            zero_advantage_samples=len(screened.samples) - len(live),
            device=self._device,
        )
        stats.masked_tokens, stats.masked_samples = screened.tokens, screened.dropped
        for number, part in enumerate(self._prepare(live) if live else ()):
            if not self._update(part, stats, unchanged=number == 0):
                break
        stats.loss_scale = 1.0 if self._scale is None else self._scale.value
        return stats.metrics(time.monotonic() - started)

    def save(self, folder: Path) -> None:
        """Writes `model/` in Hugging Face format and `optimizer.safetensors`."""
        save_any_model(self.model, folder / "model", self._tokenizer_file)
        scale = 1.0 if self._scale is None else self._scale.value
        save_optimizer(self._optimizer, folder / OPTIMIZER, self._updates, scale)

    def load(self, folder: Path) -> None:
        """Restores what `save` wrote, in the module given at construction."""
        load_any_weights(self.model, folder / "model")
        self._updates, scale = load_optimizer(self._optimizer, folder / OPTIMIZER)
        if self._scale is not None and scale is not None:
            self._scale = LossScale(scale)

    def _loss_scale(self) -> LossScale | None:
        half = next(self.model.parameters()).dtype == torch.float16
        if half or self._config.autocast == "float16":
            return LossScale(self._config.loss_scale)
        return None

    def _batch_shape(self) -> BatchShape:
        config = self._config
        packed = config.attention == "packed" or (
            config.attention == "auto" and self._device.type != "cpu"
        )
        return BatchShape(
            max_tokens=config.max_batch_tokens,
            kind="packed" if packed else "rows",
            share=config.share_prefixes and self.model.shares_prefixes,
        )

    def _compiles(self) -> bool:
        wanted = self._config.compile
        return self._device.type != "cpu" if wanted is None else wanted

    def _has_gradient(self, sample: TrainingSample) -> bool:
        if self._config.loss.needs_all_tokens:
            return sample.trained > 0
        if sample.nll < self._config.min_nll:
            return False
        return bool(np.any(sample.weights * sample.advantages))

    def _prepare(self, samples: Sequence[TrainingSample]) -> list[list["_Planned"]]:
        """The micro-batches of each update.

        Later updates need the old log-probs of the weights as they are now; the first one finds
        them in its own forward pass.
        """
        parts = [
            [_Planned(trees) for trees in plan(part, self._shape)]
            for part in split_samples(samples, self._config.updates_per_step)
        ]
        if self._config.recompute_logprobs:
            for planned in (one for part in parts[1:] for one in part):
                planned.old = self._logprobs(self.model, self._collate(planned.trees))
        return parts

    def _collate(self, trees: Sequence[PrefixTree]) -> MicroBatch:
        """A micro-batch's tensors, made when it runs: all of a step's would be too large."""
        flex = self._shape.kind == "packed" and self._device.type != "cpu"
        return collate(
            trees,
            self._device,
            packed=self._shape.kind == "packed",
            kernel="flex" if flex else "mask",
        )

    def _update(self, part: Sequence["_Planned"], stats: UpdateStats, *, unchanged: bool) -> bool:
        """One optimizer step; False if the rest of the step must be given up."""
        stats.lr = learning_rate(self._config.optimizer, self._updates)
        self._optimizer.zero_grad()
        total = Accumulated(self._device)
        for planned in part:
            self._run(planned, total, stats, unchanged=unchanged)
            if len(part) > 1:
                self._optimizer.accumulate()
        if total.mean_ratio > self._config.max_mean_ratio:
            logger.warning("mean ratio %.3g: the rest of the step is given up", total.mean_ratio)
            stats.stopped = True
            stats.add_update(total.sums, total.loss, None)
            return False
        step = self._step(stats.lr)
        finite = np.isfinite(step.norm)
        stats.add_update(total.sums, total.loss, step if finite else None)
        if finite:
            self._stepped(step, stats.lr)
        else:
            self._skip(stats, step.norm)
        return True

    def _step(self, lr: float) -> Step:
        if self._config.offload:
            self._optimizer.move(self._device)
        step = self._optimizer.step(lr, 1.0 if self._scale is None else self._scale.value)
        if self._config.offload:
            self._optimizer.move("cpu")
        return step

    def _stepped(self, step: Step, lr: float) -> None:
        self._updates += 1
        self._broken = 0
        if self._scale is not None:
            self._scale.succeeded()
        if step.changed < MIN_CHANGED and lr > 0:
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
            raise TrainError(f"the gradient was not finite {self._broken} times in a row")

    def _run(
        self, planned: "_Planned", total: Accumulated, stats: UpdateStats, *, unchanged: bool
    ) -> None:
        """Forward and backward pass of one micro-batch, without samples that break it."""
        batch = self._collate(planned.trees)
        found = self._evaluate(batch, planned.old)
        broken = self._broken_samples(batch, found, stats, planned.old)
        if broken:
            if not planned.last_try:
                for again in self._without(planned, batch, broken):
                    self._run(again, total, stats, unchanged=unchanged)
            return
        scale = 1.0 if self._scale is None else self._scale.value
        torch.autograd.backward(found.outputs.loss * scale if scale != 1 else found.outputs.loss)
        total.add(found.outputs)
        stats.tokens_run += batch.tokens
        stats.micro_batches += 1
        if unchanged:
            limit = self._config.loss.log_ratio_limit
            stats.add_mismatch(found.logprobs, batch.logprobs, limit)

    def _without(
        self, planned: "_Planned", batch: MicroBatch, broken: set[int]
    ) -> list["_Planned"]:
        """Micro-batches of a micro-batch's other samples."""
        kept = {at: sample for at, sample in enumerate(batch.samples) if at not in broken}
        if not kept:
            return []
        old = planned.old
        known = {id(s): None if old is None else old[batch.owners == at] for at, s in kept.items()}
        rest: list[_Planned] = []
        for trees in plan(list(kept.values()), self._shape):
            parts = [known[id(sample)] for tree in trees for sample in tree.samples]
            values = [part for part in parts if part is not None]
            rest.append(_Planned(trees, torch.cat(values) if values else None, last_try=True))
        return rest

    def _broken_samples(
        self, batch: MicroBatch, found: Evaluated, stats: UpdateStats, old: Tensor | None
    ) -> set[int]:
        """Samples for whose tokens the model gave no number; names them, and masked tokens."""
        odd = ~torch.isfinite(found.logprobs)
        masked = found.outputs.sums[SUMS.index("masked")]
        if not float(odd.sum() + masked):
            return set()
        broken = set(batch.owners[odd].tolist())
        if broken:
            groups = sorted({batch.samples[at].group for at in broken})
            lost = sum(batch.samples[at].trained for at in broken)
            logger.warning(
                "the model gives no log-probabilities for %d samples of prompts %s: "
                "%d tokens are not trained",
                len(broken),
                groups,
                lost,
            )
            stats.masked_tokens += lost
            stats.masked_samples += len(broken)
            return broken
        ratio = found.logprobs - (batch.logprobs if old is None else old)
        far = ~within(ratio, self._config.loss)
        groups = sorted({batch.samples[at].group for at in set(batch.owners[far].tolist())})
        logger.warning(
            "%d tokens of prompts %s are not trained: log-ratios up to %.3g",
            int(far.sum()),
            groups,
            float(ratio[far].abs().max()) if bool(far.any()) else float("nan"),
        )
        return set()

    def _evaluate(self, batch: MicroBatch, old: Tensor | None) -> Evaluated:
        """Loss of one micro-batch, and the log-probabilities it saw."""
        reference = None
        if self._reference is not None:
            reference = self._logprobs(self._reference, batch)

        def loss(logprobs: Tensor, entropies: Tensor, span: slice) -> LossOutputs:
            return self._span_loss(batch, old, reference, logprobs, entropies, span)

        with precision(self._device, self._config.autocast, self._config.matmul):
            return token_loss(self.model, batch, loss, self._head)

    def _span_loss(
        self,
        batch: MicroBatch,
        old: Tensor | None,
        reference: Tensor | None,
        logprobs: Tensor,
        entropies: Tensor,
        span: slice,
    ) -> LossOutputs:
        config, weights, sampled = self._config.loss, batch.weights[span], batch.logprobs[span]
        before = sampled
        if self._config.recompute_logprobs:
            before = logprobs.detach() if old is None else old[span]
            if config.importance_cap is not None:
                weights = weights * (before - sampled).exp().clamp(max=config.importance_cap)
        inputs = LossInputs(
            logprobs=logprobs,
            old_logprobs=before,
            advantages=batch.advantages[span],
            weights=weights,
            entropy=entropies,
            reference_logprobs=None if reference is None else reference[span],
        )
        return policy_loss(inputs, config)

    @torch.no_grad()
    def _logprobs(self, model: TrainableModel, batch: MicroBatch) -> Tensor:
        with precision(self._device, self._config.autocast, self._config.matmul):
            return token_logprobs(model, batch, self._head)[0]


@dataclass(slots=True)
class _Planned:
    """The trees of a micro-batch and, once recomputed, its old log-probabilities."""

    trees: list[PrefixTree]
    old: Tensor | None = None
    last_try: bool = False
    """Samples that broke it were left out already."""


def _compile_layers(model: TrainableModel) -> None:
    """Compiles each layer, for all lengths at once; other models compile themselves or do not."""
    if isinstance(model, Decoder):
        for layer in model.model.layers:
            layer.compile(dynamic=True)
