"""Forward passes of micro-batches: from trees of samples to losses and log-probabilities."""

import logging
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from wideseek_core import ConfigError
from wideseek_core.counting import counted
from wideseek_rl.batch.packing import PACKED_MULTIPLE, BatchShape, MicroBatch, collate, plan
from wideseek_rl.batch.prefix_tree import PrefixTree, single
from wideseek_rl.batch.samples import TrainingSample
from wideseek_rl.models.compiling import MAX_LENGTHS, compiling
from wideseek_rl.models.decoder import Decoder
from wideseek_rl.models.documents import one_by_one_pays
from wideseek_rl.models.lora import dropouts, seeded
from wideseek_rl.models.open import TrainableModel, network
from wideseek_rl.trainers.config import LossConfig, TorchTrainerConfig
from wideseek_rl.trainers.head import HeadOptions
from wideseek_rl.trainers.loss import (
    SUMS,
    LossInputs,
    LossOutputs,
    policy_loss,
    within,
    without_runaway,
)
from wideseek_rl.trainers.micro_batch_loss import (
    Evaluated,
    matmul_precision,
    precision,
    token_logprobs,
    token_loss,
)
from wideseek_rl.trainers.ranks import OneRank, Ranks, forget_passes, prepare_backward, shard

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Planned:
    """The trees of a micro-batch and, once recomputed, its old log-probabilities."""

    trees: list[PrefixTree]
    old: Tensor | None = None
    last_try: bool = False
    """Samples that broke it were left out already."""
    silent: bool = False
    """It adds nothing: other ranks have more to do, and all must make the same passes."""


class PolicyPass:
    """Runs micro-batches through a model, and through the reference model if there is one."""

    def __init__(
        self,
        model: TrainableModel,
        reference: TrainableModel | None,
        config: TorchTrainerConfig,
        loss: LossConfig,
        ranks: Ranks | None = None,
    ) -> None:
        self.ranks: Ranks = ranks or OneRank()
        self.device = next(model.parameters()).device
        self._model, self._reference = model, reference
        self._config, self._loss_config = config, loss
        self._head = HeadOptions(
            temperature=loss.temperature,
            entropy_grad=loss.entropy > 0,
            max_logits=config.max_logits,
        )
        on_gpu = self.device.type != "cpu"
        self._packed = _packs(model, config.attention, on_gpu=on_gpu)
        self._one_by_one = config.attention == "documents" and self._documents_pay()
        self._flex = self._packed and on_gpu
        parts = MAX_LENGTHS if self._flex else config.max_batch_tokens
        self._multiple = padding_multiple(config.max_batch_tokens, parts)
        self.shape = BatchShape(
            max_tokens=config.max_batch_tokens,
            kind="packed" if self._packed else "rows",
            share=config.share_prefixes and model.shares_prefixes,
            ranks=self.ranks.count,
        )
        self._dropouts = dropouts(network(model)) if config.lora and config.lora.dropout else []
        model.recompute(config.recompute, every=config.recompute_every)
        self._compiled = on_gpu if config.compile is None else config.compile
        if self._compiled:
            for module in (model, reference):
                _compile_layers(module, dynamic=False if self._flex else None)

    def _documents_pay(self) -> bool:
        """Whether attention of documents one by one has a fast kernel here."""
        found = _half(self._config.autocast) or next(self._model.parameters()).dtype
        head = self._model.config.head_dim if isinstance(self._model, Decoder) else 0
        return one_by_one_pays(self.device.type, found, head)

    def shard(self) -> None:
        """Spreads the models over the ranks; passes compute in the precision of `autocast`."""
        dtype = _half(self._config.autocast)
        for module in (self._model, self._reference):
            if module is not None:
                keep = self._config.keep_gathered and module is self._model
                shard(module, dtype or torch.float32, keep_gathered=keep)
        self._config = self._config.model_copy(update={"autocast": "off"})

    def backward(self, loss: Tensor, factor: float, *, last: bool) -> None:
        """Backward pass of a loss times a factor; the `last` one of an update reduces gradients."""
        if self.ranks.count > 1:
            # The gradients of a sharded model are averaged over ranks; here they are to be summed.
            factor *= self.ranks.count
            prepare_backward(
                network(self._model),
                reduce=last or self._config.reduce_gradients == "each_pass",
                free=last or not self._config.keep_gathered,
            )
        # Layers that are computed again must compute what they did: compiled kernels differ with
        # the precision of products, and with them what is kept. Autograd restores autocast itself.
        with matmul_precision(self._config.matmul):
            torch.autograd.backward(loss if factor == 1 else loss * factor)

    @contextmanager
    def reset_on_error(self) -> Generator[None]:
        """Around passes, with or without a backward half: an error leaves nothing of them."""
        try:
            yield
        except BaseException:
            for module in (self._model, self._reference) if self.ranks.count > 1 else ():
                if module is not None:
                    forget_passes(network(module))
            raise

    def plan(self, samples: Sequence[TrainingSample]) -> list[Planned]:
        """This rank's micro-batches of some samples, the largest first."""
        dealt = self.ranks.deal(plan(samples, self.shape))
        return [Planned(trees) if trees else silent_pass() for trees in dealt]

    def collate(self, trees: Sequence[PrefixTree]) -> MicroBatch:
        """A micro-batch's tensors, made when it runs: all of a step's would be too large."""
        return collate(
            trees,
            self.device,
            packed=self._packed,
            kernel="flex" if self._flex else "mask",
            multiple=self._multiple,
            one_by_one=self._one_by_one,
        )

    def evaluate(self, batch: MicroBatch, old: Tensor | None) -> Evaluated:
        """Loss of a micro-batch, and the log-probabilities it saw."""
        reference = None
        if self._reference is not None:
            reference = self.logprobs(batch, self._reference)

        def loss(logprobs: Tensor, entropies: Tensor, span: slice) -> LossOutputs:
            inputs = self._inputs(batch, old, logprobs, span)
            reference_logprobs = None if reference is None else reference[span]
            return policy_loss(
                replace(inputs, entropy=entropies, reference_logprobs=reference_logprobs),
                self._loss_config,
            )

        with self._running(), self._dropping():
            together = self._loss_config.needs_sequences
            found = token_loss(self._model, batch, loss, self._head, together=together)
        if self._config.ratio_stop == "micro_batch":
            outputs = without_runaway(found.outputs, self._config.max_mean_ratio)
            found = replace(found, outputs=outputs)
        return found

    @contextmanager
    def seeded(self, update: int) -> Generator[None]:
        """What is dropped inside follows from the update, so that a resumed run drops the same."""
        if not self._dropouts:
            yield
            return
        with seeded(update, self.device):
            yield

    @contextmanager
    def _running(self) -> Generator[None]:
        """Arithmetic and compiler settings of a forward pass."""
        with ExitStack() as stack:
            if self._compiled:
                # Only our own layers are compiled as a whole. In a model of the library attention
                # alone is, and all that could be computed again there is attention.
                cheap = self._config.recompute != "none" and isinstance(self._model, Decoder)
                stack.enter_context(compiling(cheap_again=cheap))
            arithmetic = precision(self.device, self._config.autocast, self._config.matmul)
            stack.enter_context(arithmetic)
            yield

    @contextmanager
    def _dropping(self) -> Generator[None]:
        """Adapters drop inputs in the passes that train, and in no others."""
        for layer in self._dropouts:
            layer.train()
        try:
            yield
        finally:
            for layer in self._dropouts:
                layer.eval()

    @torch.no_grad()
    def logprobs(self, batch: MicroBatch, model: TrainableModel | None = None) -> Tensor:
        """Log-probabilities of the trained tokens, `[N]`, of the model or another one."""
        with self._running():
            return token_logprobs(model or self._model, batch, self._head)[0]

    def broken(self, batch: MicroBatch, found: Evaluated, old: Tensor | None) -> set[int]:
        """Numbers of the samples for whose tokens the model gave none; names them.

        Tokens that the loss masked are named too.
        """
        odd = ~torch.isfinite(found.logprobs)
        masked = found.outputs.sums[SUMS.index("masked")]
        if not float(odd.sum() + masked):
            return set()
        broken = _owners(batch, odd)
        if broken:
            logger.warning(
                "the model gives no log-probabilities for %s of prompts %s: %s not trained",
                counted(len(broken), "sample"),
                _groups(batch, broken),
                counted(trained_tokens(batch, broken), "token"),
            )
            return broken
        ratio = found.logprobs - (batch.logprobs if old is None else old)
        far = ~within(ratio, self._loss_config)
        logger.warning(
            "%s of prompts %s not trained: log-ratios up to %.3g",
            counted(int(masked), "token"),
            _groups(batch, _owners(batch, far)),
            float(torch.where(far, ratio.abs(), 0.0).max()),
        )
        return set()

    def without(self, planned: Planned, batch: MicroBatch, broken: set[int]) -> list[Planned]:
        """What is run in place of a micro-batch that broke on this rank or on another one.

        These are the other samples, and nothing where some were left out before. Of several ranks
        each gets one micro-batch, whatever is left.
        """
        if not broken:
            return [planned]
        if planned.last_try:
            return [silent_pass()] if self.ranks.count > 1 else []
        kept = {at: sample for at, sample in enumerate(batch.samples) if at not in broken}
        old = planned.old
        known = {id(s): None if old is None else old[batch.owners == at] for at, s in kept.items()}
        rest: list[Planned] = []
        batches = plan(list(kept.values()), self.shape) if kept else []
        if self.ranks.count > 1:
            if not kept:
                return [silent_pass()]
            batches = [[tree for trees in batches for tree in trees]]
        for trees in batches:
            parts = [known[id(sample)] for tree in trees for sample in tree.samples]
            values = [part for part in parts if part is not None]
            rest.append(Planned(trees, torch.cat(values) if values else None, last_try=True))
        return rest

    def _inputs(
        self, batch: MicroBatch, old: Tensor | None, logprobs: Tensor, span: slice
    ) -> LossInputs:
        """What the loss needs, but for entropies and reference."""
        sampled, before = batch.logprobs[span], None
        if self._config.recompute_logprobs:
            before = logprobs.detach() if old is None else old[span]
        return LossInputs(
            logprobs=logprobs,
            old_logprobs=sampled if before is None else before,
            advantages=batch.advantages[span],
            weights=batch.weights[span],
            entropy=logprobs,
            sampled_logprobs=None if before is None else sampled,
            sequences=self._sequences(batch)[span],
        )

    def _sequences(self, batch: MicroBatch) -> Tensor:
        return batch.turns if self._loss_config.sequence == "turn" else batch.owners


def _packs(model: TrainableModel, attention: str, *, on_gpu: bool) -> bool:
    """Whether samples run as one sequence. Raises `ConfigError` if they may not."""
    chosen = attention in ("packed", "documents")
    if model.packs:
        return chosen or (attention == "auto" and on_gpu)
    if chosen:
        raise ConfigError(
            f"trainer.attention={attention}: this model does not keep samples of one sequence "
            "apart; set rows"
        )
    return False


def _half(autocast: str) -> torch.dtype | None:
    """The arithmetic that a setting of `autocast` asks for, if any."""
    return {"bfloat16": torch.bfloat16, "float16": torch.float16}.get(autocast)


def silent_pass() -> Planned:
    """The smallest micro-batch, to be run for nothing."""
    one = np.array([0, 1], dtype=np.float32)
    ids = np.zeros(2, dtype=np.int32)
    sample = TrainingSample(ids=ids, weights=one, advantages=one, logprobs=-one)
    return Planned([single(sample)], old=None, last_try=True, silent=True)


def trained_tokens(batch: MicroBatch, samples: set[int]) -> int:
    """How many tokens of some samples of a micro-batch train."""
    return sum(batch.samples[at].trained for at in samples)


def _owners(batch: MicroBatch, tokens: Tensor) -> set[int]:
    """The numbers of the samples that some tokens, `[N]` of bool, are of."""
    return {int(owner) for owner in batch.owners[tokens].cpu().numpy()}


def _groups(batch: MicroBatch, samples: set[int]) -> list[int]:
    return sorted({batch.samples[at].group for at in samples})


def padding_multiple(max_tokens: int, lengths: int) -> int:
    """A multiple of a block of attention that makes at most so many lengths of packed sequences."""
    return -(-max_tokens // (lengths * PACKED_MULTIPLE)) * PACKED_MULTIPLE


def _compile_layers(model: TrainableModel | None, *, dynamic: bool | None) -> None:
    """Compiles each layer of our own decoder, for each length or, from the second on, for all."""
    if isinstance(model, Decoder):
        for layer in (*model.model.layers, model.model.norm):
            layer.compile(dynamic=dynamic)  # pyright: ignore[reportUnknownMemberType]
