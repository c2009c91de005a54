"""NeMo-Aligner's REINFORCE trainer, fed with samples from outside instead of its own rollouts.

`fit` is NeMo-Aligner's. Where it would generate rollouts it carries out what the client asks for,
until that is an update; then it trains on it and comes back. Imported after `compat.install`.
"""

import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
from megatron.core import parallel_state
from nemo_aligner.algorithms.reinforce import ReinforceTrainer
from nemo_aligner.utils.distributed import ScopedTimer
from nemo_aligner.utils.train_script_utils import FakeCheckpointCallback, FakeScheduler
from omegaconf import OmegaConf

from wideseek_core import TrainError
from wideseek_core.counting import counted
from wideseek_rl.batch.samples import TrainingSample, split_samples
from wideseek_rl.trainers.megatron.actor import Part, PolicyActor, over_data_parallel_ranks
from wideseek_rl.trainers.megatron.batches import PackedBatch, collate, deal, pack
from wideseek_rl.trainers.megatron.config import NemoAlignerConfig
from wideseek_rl.trainers.megatron.optimizers import DividedAdam, RankOptimizer, WholeAdam
from wideseek_rl.trainers.optimizer import learning_rate
from wideseek_rl.trainers.protocol import UpdateMetrics
from wideseek_rl.trainers.update_stats import Step, UpdateStats

MAX_BROKEN = 3
"""Updates in succession whose gradient may be other than finite."""

ENDLESS = 1 << 40
"""Number of steps that NeMo-Aligner is configured with; the client decides when a run ends."""

logger = logging.getLogger(__name__)


class Closed(Exception):
    """Ends `fit`: the client has no more work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """Who asks for updates, and gets what became of them."""

    next_update: Callable[[], list[TrainingSample]]
    """Blocks until there is one and returns its samples, or raises `Closed`."""
    done: Callable[[UpdateMetrics], None]
    """Called with the metrics of each."""
    failed: Callable[[Exception], bool]
    """Called with the error of one that changed nothing; whether the next one may come."""


class PolicyTrainer(ReinforceTrainer):
    """Makes the updates that a client asks for."""

    def __init__(
        self,
        config: NemoAlignerConfig,
        actor: PolicyActor,
        optimizer: torch.optim.Optimizer,
        client: Client,
    ) -> None:
        ranks = parallel_state.get_data_parallel_world_size()
        settings = {
            "max_epochs": 1,
            "max_steps": -1,
            "initial_policy_kl_penalty": 0.0,
            # One row of what `generate_rollouts` returns on each rank is one optimizer step.
            "model_gbs": ranks,
            "rollout_batch_seq_length": None,
            "val_check_interval": 0,
            "save_interval": 0,
            "gradient_clip_val": config.optimizer.grad_clip,
        }
        super().__init__(
            cfg=OmegaConf.create(settings),
            model=actor,
            optimizer=optimizer,
            scheduler=FakeScheduler(),
            train_dataloader_builder=_endless,
            val_dataloader_builder=_endless,
            collate_fn=None,
            rm=None,
            batch_iterator_cls=None,
            logger=_Silent(),
            ckpt_callback=FakeCheckpointCallback(),
            run_timer=SimpleNamespace(start_time=lambda: None, is_finished=lambda: False),
        )
        self._config = config
        self.adam: RankOptimizer = (
            DividedAdam(optimizer, config.optimizer.eps)
            if config.distributed_optimizer
            else WholeAdam(optimizer)
        )
        self._client = client
        self._changed = False
        """Whether the update that is made has begun to change weights."""
        self._broken_before = 0
        self._parts: list[Part] = []
        self._stats = self._nothing_done(samples=0)
        self.broken = 0
        """Optimizer steps in a row whose gradient was not finite."""
        if not torch.cuda.is_available():  # a timer that waits for CUDA asserts that there is one
            self.timer = ScopedTimer(reduction="mean", sync_cuda=False, buffer_size=1)

    @torch.no_grad()
    def generate_rollouts(self) -> tuple[dict[str, torch.Tensor], dict[str, Any], dict[str, float]]:
        """Waits for the next update; its optimizer steps are rows of `response_tokens`."""
        while (samples := self._planned()) is None:
            pass
        self._stats = self._nothing_done(len(samples))
        self.consumed_samples += len(samples)
        # NeMo-Aligner keeps every step's row of this table for ever.
        self.train_df = self.train_df.iloc[:0]
        table = {"prompt": "", "response": "", "reward": 0.0}
        steps = torch.arange(len(self._parts))[:, None]
        return {"response_tokens": steps}, {"table": table}, {"none": 0.0}

    def _planned(self) -> list[TrainingSample] | None:
        """The samples of the next update, whose parts are made; None if that failed."""
        samples = self._client.next_update()
        self._changed, self._broken_before = False, self.broken
        updates = self._config.updates_per_step
        try:
            self._parts = [self._part(list(some)) for some in split_samples(samples, updates)]
        except Exception as error:
            if not self._undone(error):
                raise
            return None
        return samples

    def _undone(self, error: Exception) -> bool:
        """Whether an update that failed has changed nothing, and the next one may come."""
        if self._changed:
            return False
        self.broken = self._broken_before
        self.optimizer.zero_grad()
        return self._client.failed(error)

    def _part(self, samples: list[TrainingSample]) -> Part:
        """This rank's micro-batches of one optimizer step.

        NeMo-Aligner's own `chunk` gives every rank the whole batch, so it is never called.
        """
        lengths = [len(sample) for sample in samples]
        dealt = deal(lengths, parallel_state.get_data_parallel_world_size())
        own = dealt[parallel_state.get_data_parallel_rank()]
        device = torch.device(torch.cuda.current_device())
        multiple = self.model.cfg.tensor_model_parallel_size
        packed = pack(lengths, own, self._config.max_batch_tokens) or [[]]
        batches = [collate(samples, c, multiple=multiple, device=device) for c in packed]
        return self._compared(batches)

    def _compared(self, batches: list[PackedBatch]) -> Part:
        """Micro-batches with the log-probabilities that the loss compares the new ones with."""
        loss, old = self.model.loss, [batch.logprobs for batch in batches]
        reference = None
        if loss.kl > 0:
            self._changed = True  # the weights of the reference model are in their place
            reference = self.model.reference_logprobs(batches)
            self._changed = False
        if self._config.recompute_logprobs:
            old = self.model.logprobs(batches)
        return Part(batches=batches, old=old, reference=reference)

    def run_training(self, dataloader_iter: Iterator[dict[str, torch.Tensor]]) -> tuple[Any, Any]:
        """The optimizer steps of one update, as NeMo-Aligner makes them.

        Beside its own it stops when the mean ratio has run away, leaves out a gradient that is not
        finite, and sets the learning rate itself.
        """
        self.model.prepare_for_training()
        try:
            for row in dataloader_iter:
                if not self._step(self._parts[int(row["response_tokens"])]):
                    break
        except Exception as error:
            if not self._undone(error):
                raise
            return None, None
        self.model.finish_training()
        self.optimizer.zero_grad()
        self._stats.reduce(over_data_parallel_ranks)
        metrics = self._stats.metrics()
        self._client.done(metrics)
        return metrics.loss, metrics

    def _nothing_done(self, samples: int) -> UpdateStats:
        return UpdateStats(
            samples=samples,
            zero_advantage_samples=0,
            loss=self.model.loss,
            device=torch.device(torch.cuda.current_device()),
        )

    def _step(self, part: Part) -> bool:
        """One optimizer step; False if the rest of the update must be given up."""
        stats = self._stats
        stats.lr = learning_rate(self._config.optimizer, self.reinforce_optimization_step)
        stats.micro_batches += len(part.batches)
        stats.tokens_run += sum(len(batch.ids) for batch in part.batches)
        self.optimizer.zero_grad()
        self.model.prepare_for_training_step()
        loss, total = self.model.get_loss_and_metrics(batch=part, forward_only=False)
        self.model.finish_training_step()
        step: Step | None = None
        over = total.mean_ratio > self._config.max_mean_ratio
        if over:
            logger.warning("mean ratio %.3g: the rest is given up", total.mean_ratio)
            stats.stopped = True
        elif total.tokens:  # else every micro-batch was left out
            step = self._advance(stats.lr)
        stats.add_update(total.sums, loss, step)
        return not over

    def _advance(self, lr: float) -> Step | None:
        """Changes the weights; None if the gradient is not finite."""
        norm = self.adam.clip(self._config.optimizer.grad_clip)
        if not math.isfinite(norm):
            self._stats.skipped += 1
            self.broken += 1
            logger.warning("gradient norm %s: update left out", norm)
            if self.broken >= MAX_BROKEN:
                raise TrainError(
                    f"the gradient was not finite {counted(self.broken, 'time')} in succession"
                )
            return None
        self.broken = 0
        self.reinforce_optimization_step += 1
        self._changed = True
        return Step(norm=norm, changed=self.adam.step(lr))

    def save(self, extra_candidates: Any = None, is_train_end: bool = False) -> None:
        """Does nothing: the client says when and where a checkpoint is written."""


class _Silent:
    """Takes the reports that NeMo-Aligner makes; the client gets its own."""

    def log_metrics(self, *_: Any, **__: Any) -> None:
        """Drops them."""

    def log_table(self, *_: Any, **__: Any) -> None:
        """Drops it."""

    def finalize(self) -> None:
        """Has nothing to close."""


def _endless(consumed_samples: int) -> Any:
    """What NeMo-Aligner computes the steps of an epoch from: so many that none is the last."""
    del consumed_samples
    sampler = SimpleNamespace(
        total_samples=ENDLESS, global_batch_size=1, drop_last=True, micro_batch_size=1
    )
    return SimpleNamespace(batch_sampler=sampler)
