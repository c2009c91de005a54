"""Which model turns text into dense vectors."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from pydantic import BeforeValidator, Field

from wideseek_core.config import Config


def kind_default(kind: str) -> Callable[[Any], Any]:
    """A validator that lets settings without a `kind` mean the usual one."""

    def fill(given: Any) -> Any:
        return {"kind": kind} | cast(dict[str, Any], given) if isinstance(given, dict) else given

    return fill


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
    """A sentence-transformers model by name or folder; needs that package, which is no extra."""

    kind: Literal["transformer"] = "transformer"
    model: str = "intfloat/e5-base-v2"
    query_prefix: str = "query: "
    passage_prefix: str = "passage: "
    device: str = ""
    """`cuda`, `cpu`, ...; empty picks a GPU if there is one."""
    max_tokens: int = Field(default=256, ge=8)
    batch: int = Field(default=64, ge=1)


class HttpEncoderConfig(Config):
    """An endpoint with OpenAI's `/embeddings`."""

    kind: Literal["http"] = "http"
    url: str
    """Up to and with `/v1`."""
    model: str
    size: int = Field(ge=1)
    """Length of its vectors."""
    key_variable: str = "EMBEDDINGS_API_KEY"
    """The environment variable that holds the key, if one is needed."""
    query_prefix: str = ""
    passage_prefix: str = ""
    timeout_s: float = Field(default=60.0, gt=0)


EncoderConfig = Annotated[
    MiniLMConfig | OnnxConfig | TransformerConfig | HttpEncoderConfig,
    Field(discriminator="kind"),
    BeforeValidator(kind_default("minilm")),
]
