"""Any sentence-transformers or Hugging Face model, on a GPU if there is one."""

from collections.abc import Sequence
from typing import Any, cast

from sentence_transformers import (  # pyright: ignore[reportMissingImports]
    SentenceTransformer,  # pyright: ignore[reportUnknownVariableType]
)

from wideseek_tools.encoders.config import TransformerConfig
from wideseek_tools.encoders.encoder import Vector


class TransformerEncoder:
    """Wraps the library's `encode` with the prefixes a model was trained with."""

    def __init__(self, config: TransformerConfig) -> None:
        self._config = config
        self._model = cast(Any, SentenceTransformer(config.model, device=config.device or None))
        self._model.max_seq_length = config.max_tokens
        self.size = int(self._model.get_sentence_embedding_dimension())

    def encode(self, texts: Sequence[str], *, queries: bool) -> list[Vector]:
        """One vector per text."""
        prefix = self._config.query_prefix if queries else self._config.passage_prefix
        found = self._model.encode(
            [prefix + text for text in texts],
            batch_size=self._config.batch,
            normalize_embeddings=True,
            show_progress_bar=False,
        )
        return cast(list[Vector], found.tolist())
