"""Any other causal language model, through the code of the `transformers` library."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn

from wideseek_core import CheckpointError, ConfigError
from wideseek_core.files import folder_atomically
from wideseek_rl.models.decoder import Recompute
from wideseek_rl.models.hf_config import architecture, token_ids
from wideseek_rl.models.hf_format import copy_tokenizer, end_ids
from wideseek_rl.models.layout import SequenceLayout
from wideseek_rl.models.lora import PlainState, has_adapter
from wideseek_rl.models.tensor_files import MAX_SHARD_BYTES, read_object

Result = TypeVar("Result")

TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.1, torch.float16: 0.02}
"""Difference of logits, relative to the largest, that counts as none."""


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
        self._check_head()

    def recompute(self, what: Recompute, *, every: float = 1) -> None:
        """Whole layers are computed again, or nothing is; `every` has no effect here."""
        inner = cast(Any, self.inner)
        if what in ("none", "cheap"):
            inner.gradient_checkpointing_disable()
        else:
            inner.train()  # the library recomputes in training mode alone
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

    @property
    def output_weight(self) -> Tensor:
        """The matrix that makes logits, `[V, D]`."""
        return self._head().weight

    def _head(self) -> nn.Linear:
        return cast(nn.Linear, cast(Any, self.inner).get_output_embeddings())

    @torch.no_grad()
    def _check_head(self) -> None:
        """Some models scale or bend their logits in ways that nothing here knows of."""
        ids = torch.arange(4, device=self.output_weight.device)[None] % self.config.vocab_size
        whole: Tensor = cast(Any, self.inner)(input_ids=ids, use_cache=False).logits
        parts = self.logits(self.hidden(ids, torch.tensor([4])))
        difference = float((whole - parts).abs().max() / whole.abs().max().clamp(min=1e-6))
        if not difference < TOLERANCE.get(whole.dtype, 0.1):
            raise ConfigError(
                f"{self.config.architecture}: logits are not made from hidden states as usual"
            )


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
        inner = library.AutoModelForCausalLM.from_pretrained(
            path, dtype=dtype, attn_implementation="sdpa", local_files_only=True
        )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        reason = str(error).strip().split("\n")[0]
        raise CheckpointError(f"{path}: not loaded by transformers: {reason}") from None
    inner = inner.to(device)
    if torch.device(device).type != "cpu" and getattr(inner, "_supports_flex_attn", False):
        inner.set_attn_implementation("flex_attention")  # packed samples without a dense mask
    return wrap(inner, path)


def wrap(inner: nn.Module, path: Path) -> TransformersModel:
    """A model of the library, loaded from `path`."""
    raw: Any = cast(Any, inner).config
    text: Any = raw.get_text_config()
    config = TransformersConfig(
        architecture=type(inner).__name__,
        vocab_size=int(text.vocab_size),
        max_positions=int(getattr(text, "max_position_embeddings", 32_768)),
        eos_ids=end_ids(path, token_ids(text.eos_token_id)),
        pad_id=text.pad_token_id,
        bos_id=text.bos_token_id,
    )
    return TransformersModel(inner, config)


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
