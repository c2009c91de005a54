"""Models that turn text into dense vectors, behind one method."""

from wideseek_tools.encoders.config import (
    EncoderConfig,
    HttpEncoderConfig,
    MiniLMConfig,
    OnnxConfig,
    TransformerConfig,
)
from wideseek_tools.encoders.encoder import Encoder, open_encoder

__all__ = [
    "Encoder",
    "EncoderConfig",
    "HttpEncoderConfig",
    "MiniLMConfig",
    "OnnxConfig",
    "TransformerConfig",
    "open_encoder",
]
