"""What an index holds and how it is built."""

from typing import Literal

from pydantic import Field

from wideseek_core.config import Config
from wideseek_core.extras import require_modules
from wideseek_tools.encoders.config import EncoderConfig, MiniLMConfig

Method = Literal["bm25", "dense", "hybrid"]


class IndexConfig(Config):
    """Fixed when an index is built; a change means building again."""

    method: Method = "bm25"
    """Which vectors are stored: sparse, dense, or both."""
    language: str = "english"
    """Stop words and stemming of BM25; `none` for neither."""
    tokenizer: Literal["word", "multilingual"] = "word"
    """`multilingual` cuts Chinese, Japanese and the like into words."""
    encoder: EncoderConfig = MiniLMConfig()
    passage_words: int = Field(default=100, ge=1)
    """Words of a page that make its passage, where there is no corpus of passages."""
    hnsw_m: int = Field(default=32, ge=2)
    hnsw_ef_construct: int = Field(default=512, ge=4)
    quantization: Literal["none", "int8", "binary"] = "int8"
    """How dense vectors are held in memory; the originals stay on disk for rescoring."""
    batch: int = Field(default=500, ge=1)
    """Passages encoded and written together."""
    checkpoint: int = Field(default=20_000, ge=1)
    """Passages between two points a killed build can go on from."""


def require_index() -> None:
    """Raises `ConfigError` if the extra `index` is not installed."""
    require_modules("qdrant_edge", feature="an index folder", install="wideseek-tools[index]")
