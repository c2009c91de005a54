"""The shape of a dense decoder: what the Llama, Mistral and Qwen families differ in."""

from dataclasses import dataclass, field
from typing import Literal

from wideseek_core.counting import counted

Family = Literal["llama", "mistral", "qwen2", "qwen3"]

RopeKind = Literal["default", "linear", "llama3", "yarn"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RopeConfig:
    """The rotary embedding, and how its frequencies are stretched to longer contexts.

    Example: `RopeConfig(theta=500_000.0, kind="llama3", factor=32.0, original_positions=8192)`.
    """

    theta: float = 10_000.0
    """Base of the frequencies."""
    kind: RopeKind = "default"
    factor: float = 1.0
    """By which the context is stretched."""
    original_positions: int = 8192
    """Context the model was first trained on: `llama3` and `yarn` measure wavelengths by it."""
    low_freq_factor: float = 1.0
    """`llama3`: wavelengths above `original_positions / this` are stretched in full."""
    high_freq_factor: float = 4.0
    """`llama3`: wavelengths below `original_positions / this` are left alone."""
    beta_fast: float = 32.0
    """`yarn`: dimensions that turn more often than this in the original context are left alone."""
    beta_slow: float = 1.0
    """`yarn`: dimensions that turn less often than this are stretched in full."""
    attention_factor: float | None = None
    """`yarn`: cosines and sines are multiplied by this; null for 0.1 · ln(factor) + 1."""

    def __post_init__(self) -> None:
        if self.theta <= 0 or self.factor < 1 or self.original_positions < 1:
            raise ValueError(f"impossible rotary embedding: {self}")
        if self.kind == "llama3" and self.high_freq_factor <= self.low_freq_factor:
            raise ValueError("rope high_freq_factor must be greater than low_freq_factor")


@dataclass(frozen=True, slots=True, kw_only=True)
class DecoderConfig:
    """Shape of a dense decoder and the token ids that end and pad its sequences.

    The defaults of the switches are those of Qwen3.

    Example: `DecoderConfig(vocab_size=2048, hidden_size=256, layers=6, heads=8, kv_heads=4,
    head_dim=32, ffn_size=768, eos_ids=(2,))`.
    """

    family: Family = "qwen3"
    """Names the model in `config.json`; the switches below say how it computes."""
    vocab_size: int
    hidden_size: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    ffn_size: int
    qk_norm: bool = True
    """Queries and keys of each head are normalized (Qwen3)."""
    qkv_bias: bool = False
    """Query, key and value projections have biases (Qwen2)."""
    output_bias: bool = False
    """The projection behind attention has one."""
    mlp_bias: bool = False
    sliding_window: int | None = None
    """Tokens back to which attention reaches in the layers of `sliding_layers`."""
    sliding_layers: tuple[int, ...] = ()
    tied_embeddings: bool = True
    rope: RopeConfig = field(default_factory=RopeConfig)
    norm_eps: float = 1e-6
    max_positions: int = 32_768
    eos_ids: tuple[int, ...] = ()
    """Any of these ends a response."""
    pad_id: int | None = None
    bos_id: int | None = None

    def __post_init__(self) -> None:
        sizes = (
            self.vocab_size,
            self.hidden_size,
            self.layers,
            self.heads,
            self.kv_heads,
            self.head_dim,
            self.ffn_size,
            self.max_positions,
            1 if self.sliding_window is None else self.sliding_window,
        )
        if min(sizes) < 1:
            raise ValueError(f"every size of a model must be at least 1: {sizes}")
        if self.heads % self.kv_heads:
            raise ValueError(
                f"{counted(self.heads, 'head')} can't share "
                f"{counted(self.kv_heads, 'key-value head')}"
            )
        if self.head_dim % 2:
            raise ValueError(f"head_dim must be even, got {self.head_dim}")

    def window(self, layer: int) -> int | None:
        """Tokens back to which a layer's attention reaches; None for all."""
        return self.sliding_window if layer in self.sliding_layers else None
