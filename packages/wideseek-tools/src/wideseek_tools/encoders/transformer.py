"""Any sentence-transformers or Hugging Face model, on all GPUs, or on the CPU without one."""

from collections.abc import Sequence
from typing import Any, cast

from sentence_transformers import (  # pyright: ignore[reportMissingImports]
    SentenceTransformer,  # pyright: ignore[reportUnknownVariableType]
)

from wideseek_tools.encoders.config import TransformerConfig
from wideseek_tools.encoders.encoder import Vector

MIN_TEXTS_FOR_POOL = 256
"""Fewer texts are encoded in this process: sending them to others would take longer."""


class TransformerEncoder:
    """Wraps the library's `encode` with the prefixes a model was trained with.

    With several devices, large batches go to one process for each of them.
    """

    def __init__(self, config: TransformerConfig) -> None:
        self._config = config
        devices = list(config.devices) or _gpus()
        device = devices[0] if devices else None
        self._model = cast(Any, SentenceTransformer(config.model, device=device))
        self._model.max_seq_length = config.max_tokens
        self.size = int(self._model.get_sentence_embedding_dimension())
        self._pool: Any = None
        if len(devices) > 1:
            # Its processes are daemons: they end with this one.
            self._pool = self._model.start_multi_process_pool(devices)

    def encode(self, texts: Sequence[str], *, queries: bool) -> list[Vector]:
        """One vector per text."""
        prefix = self._config.query_prefix if queries else self._config.passage_prefix
        found = self._model.encode(
            [prefix + text for text in texts],
            batch_size=self._config.batch,
            normalize_embeddings=True,
            show_progress_bar=False,
            pool=self._pool if len(texts) >= MIN_TEXTS_FOR_POOL else None,
        )
        return cast(list[Vector], found.tolist())


def _gpus() -> list[str]:
    import torch

    return [f"cuda:{number}" for number in range(torch.cuda.device_count())]
