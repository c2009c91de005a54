"""Which model turns text into dense vectors."""

from pathlib import Path
from typing import Annotated, Any, Literal, cast

from pydantic import BeforeValidator, Field

from wideseek_core.config import Config
from wideseek_core.endpoint import EndpointConfig


class MiniLMConfig(Config):
    """all-MiniLM-L6-v2 in int8, offline; needs the extra `dense`."""

    kind: Literal["minilm"] = "minilm"
    threads: int = Field(default=2, ge=1)
    max_tokens: int = Field(default=256, ge=8, le=512)


class OnnxConfig(Config):
    """Any folder with an ONNX model and its `tokenizer.json`; needs the extra `dense`."""

    kind: Literal["onnx"] = "onnx"
    folder: Path
    model_file: str = "model.onnx"
    pooling: Literal["mean", "cls"] = "mean"
    query_prefix: str = ""
    """`query: ` for e5."""
    passage_prefix: str = ""
    """`passage: ` for e5."""
    threads: int = Field(default=2, ge=1)
    max_tokens: int = Field(default=256, ge=8)


class TransformerConfig(Config):
    """A sentence-transformers model by name or folder, e5 by default; extra `transformer`."""

    kind: Literal["transformer"] = "transformer"
    model: str = "intfloat/e5-base-v2"
    query_prefix: str = "query: "
    passage_prefix: str = "passage: "
    devices: tuple[str, ...] = ()
    """`cuda:0`, `cpu`, ..., each with a process of its own; empty takes all GPUs, else the CPU."""
    max_tokens: int = Field(default=256, ge=8)
    batch: int = Field(default=64, ge=1)


class HttpEncoderConfig(EndpointConfig):
    """An endpoint with OpenAI's `/embeddings`; `base_url` goes up to and with `/v1`."""

    kind: Literal["http"] = "http"
    model: str
    size: int = Field(ge=1)
    """Length of its vectors."""
    api_key_env: str = "EMBEDDINGS_API_KEY"
    """Environment variable that holds the key, if one is needed."""
    query_prefix: str = ""
    passage_prefix: str = ""
    max_bytes: int = 100_000_000


def _minilm_by_default(given: Any) -> Any:
    return {"kind": "minilm"} | cast(dict[str, Any], given) if isinstance(given, dict) else given


EncoderConfig = Annotated[
    MiniLMConfig | OnnxConfig | TransformerConfig | HttpEncoderConfig,
    Field(discriminator="kind"),
    BeforeValidator(_minilm_by_default),
]
