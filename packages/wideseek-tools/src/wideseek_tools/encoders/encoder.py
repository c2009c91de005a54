"""The interface between indexes and embedding models."""

from collections.abc import Sequence
from typing import Protocol

from wideseek_core.errors import ConfigError
from wideseek_tools.encoders.config import (
    EncoderConfig,
    HttpEncoderConfig,
    MiniLMConfig,
    OnnxConfig,
)

Vector = list[float]


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
    try:
        if isinstance(config, MiniLMConfig):
            from wideseek_tools.encoders.onnx import open_minilm

            return open_minilm(config)
        if isinstance(config, OnnxConfig):
            from wideseek_tools.encoders.onnx import OnnxEncoder

            return OnnxEncoder(config)
        if isinstance(config, HttpEncoderConfig):
            from wideseek_tools.encoders.http import HttpEncoder

            return HttpEncoder(config)
        from wideseek_tools.encoders.transformer import TransformerEncoder

        return TransformerEncoder(config)
    except ImportError as error:
        extra = "transformer" if config.kind == "transformer" else "dense"
        line = f"encoder {config.kind!r} needs: pip install 'wideseek-tools[{extra}]' ({error})"
        raise ConfigError(line) from None
