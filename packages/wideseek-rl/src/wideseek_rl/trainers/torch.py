"""The trainer backend on one device, in plain torch."""

import copy
import logging
import math
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from wideseek_core import ConfigError, TrainError
from wideseek_rl.batch.packing import BatchShape, MicroBatch, collate, plan
from wideseek_rl.batch.samples import TrainingSample, split_samples
from wideseek_rl.config import TorchTrainerConfig
from wideseek_rl.models.open import TrainableModel, load_any_weights, save_any_model
from wideseek_rl.trainers.loss import LossInputs, LossOutputs, policy_loss, token_logprobs
from wideseek_rl.trainers.optimizer import learning_rate, make_optimizer, set_learning_rate
from wideseek_rl.trainers.optimizer_state import load_optimizer, save_optimizer
from wideseek_rl.trainers.protocol import UpdateMetrics
from wideseek_rl.trainers.update_stats import Accumulated, UpdateStats

OPTIMIZER = "optimizer.safetensors"

MAX_BROKEN = 3
"""Updates in a sample whose gradient may be other than finite."""

logger = logging.getLogger(__name__)


class TorchTrainer:
    """Trains a `Decoder` in place, so that an engine over the same module samples what it learns.

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
        self._reference = copy.deepcopy(model).requires_grad_(False) if config.loss.kl else None
        self._optimizer = make_optimizer(model, config.optimizer)
        self._updates = 0
        self._broken = 0
        self._device = next(model.parameters()).device
        model.recompute("layer" if config.checkpoint_layers else "none")

    def update(self, samples: Sequence[TrainingSample]) -> UpdateMetrics:
        """One step: as many optimizer steps as configured, on samples that have a gradient."""
        started = time.monotonic()
        live = [sample for sample in samples if self._has_gradient(sample)]
        stats = UpdateStats(
            samples=len(live), zero_advantage_samples=len(samples) - len(live), device=self._device
        )
        if live:
            with _matmul_precision(self._config.matmul):
                for number, part in enumerate(self._prepare(live)):
                    if not self._update(part, stats, unchanged=number == 0):
                        break
        return stats.metrics(time.monotonic() - started)

    def save(self, folder: Path) -> None:
        """Writes `model/` in Hugging Face format and `optimizer.safetensors`."""
        save_any_model(self.model, folder / "model", self._tokenizer_file)
        save_optimizer(self._optimizer, self.model, folder / OPTIMIZER, self._updates)

    def load(self, folder: Path) -> None:
        """Takes over what `save` wrote, into the module given at construction."""
        load_any_weights(self.model, folder / "model")
        self._updates = load_optimizer(self._optimizer, self.model, folder / OPTIMIZER)

    def _has_gradient(self, sample: TrainingSample) -> bool:
        if self._config.loss.needs_all_tokens:
            return sample.trained > 0
        if sample.nll < self._config.min_nll:
            return False
        return bool(np.any(sample.weights * sample.advantages))

    def _prepare(self, samples: Sequence[TrainingSample]) -> list[list["_Prepared"]]:
        """The micro-batches of each update.

        Later updates need the old log-probs of the weights as they are now; the first one finds
        them in its own forward pass.
        """
        config = self._config
        parts = [
            [
                _Prepared(collate(batch, self._device))
                for batch in plan(
                    part,
                    BatchShape(max_tokens=config.max_batch_tokens, share=config.share_prefixes),
                )
            ]
            for part in split_samples(samples, config.updates_per_step)
        ]
        if config.recompute_logprobs:
            with torch.no_grad():
                for prepared in (one for part in parts[1:] for one in part):
                    prepared.old = self._logprobs(self.model, prepared.batch)[0]
        return parts

    def _update(self, part: Sequence["_Prepared"], stats: UpdateStats, *, unchanged: bool) -> bool:
        """One optimizer step; False if the rest of the step must be given up."""
        config = self._config.optimizer
        stats.lr = learning_rate(config, self._updates)
        self._optimizer.zero_grad(set_to_none=True)
        total = Accumulated(self._device)
        for prepared in part:
            outputs, logprobs = self._loss(prepared)
            torch.autograd.backward(outputs.loss)
            total.add(outputs)
            stats.tokens_run += prepared.batch.tokens
            if unchanged:
                limit = self._config.loss.log_ratio_limit
                stats.add_mismatch(logprobs, prepared.batch.logprobs, limit)
        if total.mean_ratio > self._config.max_mean_ratio:
            logger.warning("mean ratio %.3g: the rest of the step is given up", total.mean_ratio)
            stats.stopped = True
            stats.add_update(total.sums, total.loss, None)
            return False
        norm = float(nn.utils.clip_grad_norm_(self.model.parameters(), config.grad_clip))
        finite = math.isfinite(norm)
        stats.add_update(total.sums, total.loss, norm if finite else None)
        if finite:
            set_learning_rate(self._optimizer, stats.lr)
            self._optimizer.step()  # pyright: ignore[reportUnknownMemberType]
            self._updates += 1
            self._broken = 0
        else:
            self._skip(stats, norm)
        return True

    def _skip(self, stats: UpdateStats, norm: float) -> None:
        stats.skipped += 1
        self._broken += 1
        logger.warning("gradient norm %s: update left out", norm)
        if self._broken >= MAX_BROKEN:
            raise TrainError(f"the gradient was not finite {self._broken} times in a sample")

    def _loss(self, prepared: "_Prepared") -> tuple[LossOutputs, Tensor]:
        """Loss of one micro-batch, and the log-probabilities it saw."""
        batch, config = prepared.batch, self._config.loss
        logprobs, entropy = self._logprobs(self.model, batch)
        weights, old = batch.weights, batch.logprobs
        if self._config.recompute_logprobs:
            old = logprobs.detach() if prepared.old is None else prepared.old
            if config.importance_cap is not None:
                weights = weights * (old - batch.logprobs).exp().clamp(max=config.importance_cap)
        reference = None
        if self._reference is not None:
            with torch.no_grad():
                reference = self._logprobs(self._reference, batch)[0]
        inputs = LossInputs(
            logprobs=logprobs,
            old_logprobs=old,
            advantages=batch.advantages,
            weights=weights,
            entropy=entropy,
            reference_logprobs=reference,
        )
        return policy_loss(inputs, config), logprobs.detach()

    def _logprobs(self, model: TrainableModel, batch: MicroBatch) -> tuple[Tensor, Tensor]:
        loss = self._config.loss
        bfloat16 = self._config.autocast == "bfloat16"
        with torch.autocast(self._device.type, dtype=torch.bfloat16, enabled=bfloat16):
            return token_logprobs(
                model, batch, temperature=loss.temperature, entropy_grad=loss.entropy > 0
            )


@dataclass(slots=True)
class _Prepared:
    """A micro-batch and, once recomputed, its old log-probabilities."""

    batch: MicroBatch
    old: Tensor | None = None


@contextmanager
def _matmul_precision(precision: str) -> Generator[None]:
    """Sets torch's global precision for a while: whoever samples in this process keeps its own."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
