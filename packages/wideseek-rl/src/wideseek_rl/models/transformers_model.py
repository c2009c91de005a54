"""Any other causal language model, through the code of the `transformers` library."""

import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn

from wideseek_core import CheckpointError, ConfigError
from wideseek_core.counting import counted
from wideseek_core.files import folder_atomically
from wideseek_core.text import one_line
from wideseek_rl.models.decoder import Recompute
from wideseek_rl.models.hf_config import architecture, token_ids
from wideseek_rl.models.hf_format import copy_tokenizer, end_ids
from wideseek_rl.models.layout import SequenceLayout
from wideseek_rl.models.lora import PlainState, has_adapter
from wideseek_rl.models.tensor_files import MAX_SHARD_BYTES, read_object

Result = TypeVar("Result")

logger = logging.getLogger(__name__)

TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.1, torch.float16: 0.02}
"""Difference of logits, relative to the largest, that counts as none."""

PROBED_TOKENS = 8
"""Tokens of each of the samples that say how a model computes."""

MAX_REASON_CHARS = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class TransformersConfig:
    """What is known of a model that `transformers` computes."""

    architecture: str
    vocab_size: int
    max_positions: int
    eos_ids: tuple[int, ...] = ()
    pad_id: int | None = None
    bos_id: int | None = None


class TransformersModel(nn.Module):
    """An `AutoModelForCausalLM` with the interface of `Decoder`.

    Samples are packed side by side, separated by their positions. Prefixes are not shared, since
    a tree's mask is not among those that every model of the library takes.
    """

    shares_prefixes = False

    def __init__(self, inner: nn.Module, config: TransformersConfig) -> None:
        super().__init__()
        self.inner = inner
        self.config = config
        raw: Any = cast(Any, inner).config
        self._softcap: float | None = getattr(raw, "final_logit_softcapping", None)
        self.plain_head = self._softcap is None and cast("Tensor | None", self._head().bias) is None
        ids = torch.arange(2 * PROBED_TOKENS, device=self.output_weight.device)
        self._check_head(ids[None, :PROBED_TOKENS] % config.vocab_size)
        self.packs = self._keeps_samples_apart(ids.reshape(2, -1) % config.vocab_size)
        """Whether samples of one sequence see nothing of each other. Layers that carry a state
        along know no positions that begin again."""

    def recompute(self, what: Recompute, *, every: float = 1) -> None:
        """Whole layers are computed again, or nothing is; `every` has no effect here."""
        inner = cast(Any, self.inner)
        if what in ("none", "cheap"):
            inner.gradient_checkpointing_disable()
        else:
            inner.train()  # the library recomputes in training mode alone
            _without_noise(inner)
            inner.gradient_checkpointing_enable({"use_reentrant": False})

    def hidden(self, ids: Tensor, lengths: Tensor, layout: SequenceLayout | None = None) -> Tensor:
        """Final hidden states of right-padded sequences, `[B, T] -> [B, T, D]`."""
        places = torch.arange(ids.shape[1], device=ids.device)
        positions = places.expand_as(ids) if layout is None else layout.positions
        body = cast(Any, self.inner).get_decoder()
        states = body(input_ids=ids, position_ids=positions, use_cache=False).last_hidden_state
        real = places < lengths.to(ids.device)[:, None]
        return torch.where(real[..., None], states, 0.0)

    def logits(self, hidden: Tensor) -> Tensor:
        """Scores of the next token: `[..., D] -> [..., V]`."""
        logits: Tensor = self._head()(hidden)
        if self._softcap is None:
            return logits
        return torch.tanh(logits / self._softcap) * self._softcap

    def forward(
        self,
        ids: Tensor,
        lengths: Tensor,
        layout: SequenceLayout | None,
        head: Callable[[Tensor, Tensor], Result],
    ) -> Result:
        """Applies `head` to the hidden states and the output matrix."""
        return head(self.hidden(ids, lengths, layout), self.output_weight)

    def published(self, name: str, tensor: Tensor) -> Mapping[str, Tensor]:
        """What a checkpoint holds of a parameter: tensors by their names there.

        The library joins the experts of a layer, and renames tensors of old models.
        """
        try:
            from transformers.core_model_loading import (  # pyright: ignore
                revert_weight_conversion,  # pyright: ignore
            )
        except ImportError:  # before 5.0 it kept them apart
            return {name: tensor}
        return cast(Any, revert_weight_conversion)(self.inner, {name: tensor})

    @property
    def output_weight(self) -> Tensor:
        """The matrix that makes logits, `[V, D]`."""
        return self._head().weight

    def _head(self) -> nn.Linear:
        return cast(nn.Linear, cast(Any, self.inner).get_output_embeddings())

    @torch.no_grad()
    def _check_head(self, ids: Tensor) -> None:
        """Some models scale or bend their logits in ways that nothing here knows of."""
        whole: Tensor = cast(Any, self.inner)(input_ids=ids, use_cache=False).logits
        if not bool(torch.isfinite(whole).all()):
            raise CheckpointError(
                f"{self.config.architecture}: logits are not finite, so weights are not either"
            )
        if not _alike(whole, self.logits(self.hidden(ids, _lengths(ids)))):
            raise ConfigError(
                f"{self.config.architecture}: logits are not made from hidden states as usual"
            )

    @torch.no_grad()
    def _keeps_samples_apart(self, ids: Tensor) -> bool:
        """Whether two samples have the same hidden states side by side as each by itself."""
        places = torch.arange(ids.shape[1], device=ids.device).expand_as(ids)
        ends = torch.full_like(ids, ids.shape[1])
        ends[1] *= 2
        layout = SequenceLayout(positions=places.reshape(1, -1), ends=ends.reshape(1, -1))
        packed = ids.reshape(1, -1)
        together = self.hidden(packed, _lengths(packed), layout).reshape(*ids.shape, -1)
        return _alike(self.hidden(ids, _lengths(ids)), together)


def _lengths(ids: Tensor) -> Tensor:
    """Of sequences without padding."""
    return torch.full((len(ids),), ids.shape[1])


def _alike(wanted: Tensor, found: Tensor) -> bool:
    """Whether numbers differ by no more than their precision explains."""
    difference = float((wanted - found).abs().max() / wanted.abs().max().clamp(min=1e-6))
    return difference < TOLERANCE.get(wanted.dtype, 0.1)


def _without_noise(inner: nn.Module) -> None:
    """Switches off what a model drops or shakes in training mode: the sampler does neither."""
    for module in inner.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        for name, value in vars(module).items():
            if isinstance(value, float) and ("drop" in name or "jitter" in name):
                setattr(module, name, 0.0)


def load_transformers_model(
    path: Path, device: torch.device | str, dtype: torch.dtype
) -> TransformersModel:
    """The model in a folder; raises `ConfigError` without the library."""
    try:
        import transformers
    except ModuleNotFoundError:
        name = architecture(read_object(path / "config.json"))
        raise ConfigError(
            f"{path}: {name} needs the transformers library: install wideseek-rl[hf]"
        ) from None
    library: Any = transformers
    library.utils.logging.disable_progress_bar()
    try:
        # Tensors that do not fit are named here rather than by a table in the log.
        inner, found = library.AutoModelForCausalLM.from_pretrained(
            path,
            dtype=dtype,
            local_files_only=True,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    except Exception as error:  # of whatever checks and files the library has
        reason = one_line(str(error))[:MAX_REASON_CHARS]
        raise CheckpointError(f"{path}: not loaded by transformers: {reason}") from error
    _check_loaded(path, found)
    model = wrap(inner.to(device), path)
    # Packed samples without a dense mask. Not before the few tokens with which `wrap` looks how the
    # model computes, for which kernels would be compiled.
    if torch.device(device).type != "cpu" and getattr(inner, "_supports_flex_attn", False):
        inner.set_attn_implementation("flex_attention")
    return model


def _check_loaded(path: Path, found: Mapping[str, Collection[Any]]) -> None:
    """Raises `CheckpointError` for tensors that the library would make up, and names others."""
    if missing := sorted(found["missing_keys"]):
        raise CheckpointError(
            f"{path}: {counted(len(missing), 'tensor')} missing, first {missing[0]!r}"
        )
    for name, shape, expected in sorted(found["mismatched_keys"]):
        raise CheckpointError(
            f"{path}: {name!r} has shape {list(shape)}, expected {list(expected)}"
        )
    if errors := found.get("error_msgs"):
        raise CheckpointError(f"{path}: not loaded by transformers: {one_line(str(errors))}")
    if unknown := sorted(found["unexpected_keys"]):
        logger.warning(
            "%s: not of the model and left out: %s, first %r",
            path,
            counted(len(unknown), "tensor"),
            unknown[0],
        )


def wrap(inner: nn.Module, path: Path) -> TransformersModel:
    """A model of the library, loaded from `path`.

    Raises `ConfigError` for one that has no body and head as decoders usually do.
    """
    raw: Any = cast(Any, inner).config
    text: Any = raw.get_text_config()
    name = type(inner).__name__
    config = TransformersConfig(
        architecture=name,
        vocab_size=int(text.vocab_size),
        max_positions=int(getattr(text, "max_position_embeddings", 32_768)),
        eos_ids=end_ids(path, token_ids(getattr(text, "eos_token_id", None))),
        pad_id=getattr(text, "pad_token_id", None),
        bos_id=getattr(text, "bos_token_id", None),
    )
    try:
        return TransformersModel(inner, config)
    except (AttributeError, TypeError) as error:
        raise ConfigError(f"{name} is not a decoder of the usual kind: {error}") from error


def save_transformers_model(
    model: TransformersModel,
    path: Path,
    tokenizer_file: Path | None,
    max_shard_bytes: int = MAX_SHARD_BYTES,
) -> None:
    """Writes a model folder, adapters merged, replacing `path` only when all of it is written."""
    state = dict(PlainState(model.inner)) if has_adapter(model.inner) else None
    with folder_atomically(path) as folder:
        cast(Any, model.inner).save_pretrained(
            folder, max_shard_size=max_shard_bytes, state_dict=state
        )
        if tokenizer_file is not None:
            copy_tokenizer(tokenizer_file, folder)
