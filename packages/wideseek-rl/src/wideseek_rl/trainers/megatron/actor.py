"""NeMo-Aligner's REINFORCE actor with our model, our batches and our loss.

Imported after `compat.install`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from megatron.core import parallel_state
from megatron.core.pipeline_parallel.schedules import get_forward_backward_func
from nemo_aligner.models.nlp.gpt.megatron_gpt_reinforce_actor import MegatronGPTReinforceActorModel
from nemo_aligner.utils.train_utils import set_sync_funcs
from nemo_aligner.utils.utils import cpu_weight_swap, retrieve_model_state_dict_in_cpu
from torch import Tensor

from wideseek_rl.models.config import DecoderConfig
from wideseek_rl.trainers.config import LossConfig
from wideseek_rl.trainers.loss import LossInputs, LossOutputs, policy_loss, without_runaway
from wideseek_rl.trainers.megatron.batches import PackedBatch
from wideseek_rl.trainers.megatron.config import NemoAlignerConfig
from wideseek_rl.trainers.megatron.model import (
    bare,
    build_model,
    hidden_states,
    output_head,
    set_attention,
    set_recompute,
    trained_states,
)
from wideseek_rl.trainers.megatron.vocabulary import vocabulary_logprobs, vocabulary_loss
from wideseek_rl.trainers.update_stats import UpdateSums

ALL = slice(None)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Part:
    """The micro-batches of one optimizer step on this data-parallel rank."""

    batches: Sequence[PackedBatch]
    old: Sequence[Tensor]
    """Log-probabilities that the ratio is taken to, `[N]` for each micro-batch."""
    reference: Sequence[Tensor] | None = None
    """Those of the reference model, where the loss has a KL term."""


class PolicyActor(MegatronGPTReinforceActorModel):
    """The actor whose tokens carry weights that already normalise the loss.

    `shape`, `frequencies`, `loss` and `settings` are set on a subclass before construction, because
    NeMo builds the model within its own constructor (see `actor_class`).
    """

    shape: DecoderConfig
    frequencies: Tensor
    loss: LossConfig
    settings: NemoAlignerConfig

    # What NeMo expects of NVIDIA's container, apex or TransformerEngine.

    def _build_tokenizer(self) -> None:
        self.tokenizer = _NoTokenizer(self.shape.vocab_size)

    def _enable_nvidia_optimizations(self) -> None:
        """Does nothing: NeMo's version reads the release of NVIDIA's container."""

    def setup_transformer_engine_cp_groups(self) -> None:
        """Does nothing: it opens a CUDA stream for TransformerEngine's context parallelism."""

    def setup_optimizer_param_groups(self) -> None:
        """Weight decay on matrices alone; NeMo's version needs apex."""
        named = [p for p in self.parameters() if p.requires_grad]
        self._optimizer_param_groups = (
            {"params": [p for p in named if p.dim() > 1]},
            {"params": [p for p in named if p.dim() <= 1], "weight_decay": 0.0},
        )

    def _reset_sequence_parallelism_args(self) -> None:
        """Keeps sequence parallelism on: the embedding decided at construction to divide tokens."""

    def _restore_sequence_parallelism_args(self) -> None:
        """Does nothing, since nothing was reset."""

    def _reset_activation_checkpointing_args(self) -> None:
        """Keeps what is computed again: NeMo knows of none of it and would not restore it."""

    def _restore_activation_checkpointing_args(self) -> None:
        """Does nothing, since nothing was reset."""

    def model_provider_func(self, pre_process: bool, post_process: bool) -> Any:
        """Our model; NeMo's own never passes the q/k norms on to the layer spec."""
        model = build_model(
            self.transformer_config,
            self.shape,
            first=pre_process,
            last=post_process,
            padded_vocabulary=self.padded_vocab_size,
            max_tokens=self.cfg.encoder_seq_length,
            dtype=getattr(torch, self.settings.precision),
        )
        set_attention(model, self.settings.attention)
        set_recompute(model, self.settings.recompute, self.settings.recompute_layers)
        return model

    # Training.

    def get_loss_and_metrics(self, batch: Part, forward_only: bool) -> tuple[float, UpdateSums]:
        """Runs all micro-batches; the gradient is that of the sum over all tokens and ranks.

        Returns the loss, and with it the sums of the update, over all ranks.
        """
        set_sync_funcs(self, forward_only)
        count, ranks = len(batch.batches), parallel_state.get_data_parallel_world_size()
        # The schedule divides the loss by the micro-batches, and NeMo the gradient by the
        # data-parallel ranks; the weights of the tokens hold all normalisation already.
        scale = count * ranks
        results: list[dict[str, LossOutputs]] = get_forward_backward_func()(
            forward_step_func=self._forward_step(scale),
            data_iterator=iter(self._items(batch)),
            model=self.model,
            num_microbatches=count,
            forward_only=forward_only,
            seq_length=1,  # stages tell each other the lengths
            micro_batch_size=1,
        )
        total = UpdateSums(torch.device(torch.cuda.current_device()))
        for result in results:  # none but on the last stage
            total.add(result["outputs"])
        total.reduce(lambda sums: from_last_stage(over_data_parallel_ranks(sums)))
        return total.loss, total

    def _items(self, part: Part) -> Iterator[tuple[PackedBatch, Tensor, Tensor | None]]:
        reference = part.reference or [None] * len(part.batches)
        return zip(part.batches, part.old, reference, strict=True)

    def _forward_step(self, scale: int) -> Any:
        def step(items: Iterator[tuple[PackedBatch, Tensor, Tensor | None]], model: Any) -> Any:
            batch, old, reference = next(items)
            states, is_last = self._states(batch, model)
            if not is_last:
                return states, None  # which asks for no loss
            outputs = self._loss_of(states, batch, old, reference)
            kept = LossOutputs(loss=outputs.loss.detach(), sums=outputs.sums)

            def scaled(loss: Tensor) -> tuple[Tensor, dict[str, LossOutputs]]:
                return loss * scale, {"outputs": kept}

            return outputs.loss, scaled

        return step

    def _loss_of(
        self, states: Tensor, batch: PackedBatch, old: Tensor, reference: Tensor | None
    ) -> LossOutputs:
        """The loss of a micro-batch from the hidden states of the last stage."""

        def loss(logprobs: Tensor, entropy: Tensor, span: slice) -> LossOutputs:
            inputs = LossInputs(
                logprobs=logprobs,
                old_logprobs=old[span],
                advantages=batch.advantages[span],
                weights=batch.weights[span],
                entropy=entropy,
                reference_logprobs=None if reference is None else reference[span],
                sampled_logprobs=batch.logprobs[span],
                sequences=(batch.turns if self.loss.sequence == "turn" else batch.owners)[span],
            )
            return policy_loss(inputs, self.loss)

        together = self.settings.ratio_stop == "micro_batch"
        if self.loss.needs_sequences or together:
            outputs = loss(*self._logprobs(states, batch), ALL)
            return without_runaway(outputs, self.settings.max_mean_ratio) if together else outputs
        model = bare(self.model)
        weight, head = output_head(model, self.shape, temperature=self.loss.temperature)
        hidden = trained_states(model, states, batch)
        return vocabulary_loss(hidden, weight, batch.targets, head, loss)

    def _states(self, batch: PackedBatch, model: Any) -> tuple[Tensor, bool]:
        """The hidden states that a stage gives, and whether it is the last one."""
        stage = bare(model)
        states = hidden_states(stage, batch, self.frequencies)
        if stage.post_process:
            return states, True
        return states.to(stage.config.pipeline_dtype), False

    def _logprobs(self, states: Tensor, batch: PackedBatch) -> tuple[Tensor, Tensor]:
        """Log-probability, with gradient, and entropy of each trained token, `[N]` each."""
        model = bare(self.model)
        weight, head = output_head(model, self.shape, temperature=self.loss.temperature)
        return vocabulary_logprobs(
            trained_states(model, states, batch), weight, batch.targets, head
        )

    def allreduce_gradients(self) -> None:
        """Over data-parallel ranks; NeMo's version copies all gradients even for a single one."""
        if parallel_state.get_data_parallel_world_size() > 1:
            super().allreduce_gradients()

    def finish_training_step(self) -> None:
        """NeMo-Aligner's reductions, and the one it forgets.

        Every tensor-parallel rank has a whole copy of the q/k norms but sees the gradient of its
        own heads alone. Under sequence parallelism NeMo-Aligner sums all norms, these among them,
        and so does megatron-core under the distributed optimizer.
        """
        super().finish_training_step()
        ranks = parallel_state.get_tensor_model_parallel_world_size()
        summed = self.cfg.sequence_parallel or self.use_mcore_dist_optim
        if not self.shape.qk_norm or ranks == 1 or summed:
            return
        for name, parameter in self.named_parameters():
            if "q_layernorm" in name or "k_layernorm" in name:
                dist.all_reduce(
                    parameter.grad, group=parallel_state.get_tensor_model_parallel_group()
                )

    @torch.no_grad()
    def logprobs(self, batches: Sequence[PackedBatch]) -> list[Tensor]:
        """Log-probabilities of the trained tokens under the weights as they are, `[N]` each."""

        def step(items: Iterator[PackedBatch], model: Any) -> Any:
            batch = next(items)
            states, is_last = self._states(batch, model)

            def found(states: Tensor, **_: Any) -> Tensor:
                return self._logprobs(states, batch)[0] if is_last else states

            return states, found

        set_sync_funcs(self, forward_only=True)
        results: list[Tensor] = get_forward_backward_func()(
            forward_step_func=step,
            data_iterator=iter(batches),
            model=self.model,
            num_microbatches=len(batches),
            forward_only=True,
            seq_length=1,
            micro_batch_size=1,
            collect_non_loss_data=True,
        )
        sizes = [len(batch.targets) for batch in batches]
        device = torch.cuda.current_device()
        own = torch.cat(results).float() if results else torch.empty(sum(sizes), device=device)
        return list(torch.split(from_last_stage(own), sizes))

    def keep_reference(self) -> None:
        """Remembers the weights as they are as those of the reference model, in host memory."""
        self.init_policy_state_dict = retrieve_model_state_dict_in_cpu(self, megatron_amp_O2=False)

    def reference_logprobs(self, batches: Sequence[PackedBatch]) -> list[Tensor]:
        """Log-probabilities under the reference model, whose weights take the place of the own."""
        with cpu_weight_swap(self, self.init_policy_state_dict, megatron_amp_O2=False):
            return self.logprobs(batches)


def over_data_parallel_ranks(values: Tensor) -> Tensor:
    """The sum of what each data-parallel rank has."""
    total = values.clone()
    dist.all_reduce(total, group=parallel_state.get_data_parallel_group())
    return total


def from_last_stage(values: Tensor) -> Tensor:
    """What the last stage of this rank's pipeline has; overwrites what others have."""
    if parallel_state.get_pipeline_model_parallel_world_size() > 1:
        group = parallel_state.get_pipeline_model_parallel_group()
        last = parallel_state.get_pipeline_model_parallel_last_rank()
        values = values.contiguous()
        dist.broadcast(values, last, group=group)
    return values


def actor_class(
    shape: DecoderConfig, frequencies: Tensor, loss: LossConfig, settings: NemoAlignerConfig
) -> type[PolicyActor]:
    """An actor class for one model: NeMo constructs the model before there is an instance."""
    given = {"shape": shape, "frequencies": frequencies, "loss": loss, "settings": settings}
    return type("Actor", (PolicyActor,), given)


@dataclass(frozen=True, slots=True)
class _NoTokenizer:
    """The attributes that NeMo asks of a tokenizer; token ids are all that comes here."""

    vocab_size: int
    eos_id: int = 0
    bos_id: int = 0
    pad_id: int = 0

    @property
    def vocab(self) -> range:
        """The ids."""
        return range(self.vocab_size)
