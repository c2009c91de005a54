"""Makes and loads collections on a Qdrant server."""

import asyncio
from collections.abc import Iterable, Iterator
from itertools import islice

from qdrant_client import AsyncQdrantClient, models

from wideseek_core.errors import DataError, ToolUnavailable
from wideseek_tools.encoders.encoder import Encoder, Vector
from wideseek_tools.index.config import IndexConfig
from wideseek_tools.index.shard import DENSE, SPARSE, lexical_model
from wideseek_tools.passages import Passage

NO_INDEXING = 1_000_000_000
"""An indexing threshold (kB) that keeps the server from indexing during a bulk load."""
INDEXING_THRESHOLD = 10_000


async def create_collection(
    client: AsyncQdrantClient, name: str, index: IndexConfig, dimension: int
) -> None:
    """An empty collection, safe for tens of millions of passages.

    Vectors lie on disk, quantised ones in memory, and nothing is indexed before `finish_loading`.
    """
    dense = models.VectorParams(size=dimension, distance=models.Distance.COSINE, on_disk=True)
    sparse = models.SparseVectorParams(
        modifier=models.Modifier.IDF, index=models.SparseIndexParams(on_disk=True)
    )
    await client.create_collection(
        name,
        vectors_config={} if index.method == "bm25" else {DENSE: dense},
        sparse_vectors_config=None if index.method == "dense" else {SPARSE: sparse},
        hnsw_config=models.HnswConfigDiff(m=index.hnsw_m, ef_construct=index.hnsw_ef_construct),
        quantization_config=_quantization(index),
        optimizers_config=models.OptimizersConfigDiff(indexing_threshold=NO_INDEXING),
        on_disk_payload=True,
    )


def _quantization(
    index: IndexConfig,
) -> models.ScalarQuantization | models.BinaryQuantization | None:
    if index.method == "bm25" or index.quantization == "none":
        return None
    if index.quantization == "binary":
        return models.BinaryQuantization(binary=models.BinaryQuantizationConfig(always_ram=True))
    scalar = models.ScalarQuantizationConfig(
        type=models.ScalarType.INT8, quantile=0.99, always_ram=True
    )
    return models.ScalarQuantization(scalar=scalar)


async def load(
    client: AsyncQdrantClient,
    name: str,
    passages: Iterable[Passage],
    index: IndexConfig,
    *,
    mean_words: float,
    encoder: Encoder | None = None,
    first: int = 0,
) -> int:
    """Writes passages as points `first`, `first` + 1, ...; returns the id after the last.

    Ids are row numbers, so that a repeated load writes the same points again.
    """
    lexical = lexical_model(index, mean_words)
    for batch in _batches(passages, index.batch):
        texts = [passage.searchable for passage in batch]
        vectors: list[Vector] = []
        if encoder is not None:
            vectors = await asyncio.to_thread(encoder.encode, texts, queries=False)
        points: list[models.PointStruct] = []
        for place, passage in enumerate(batch):
            vector: dict[str, models.Vector] = {}
            if index.method != "dense":
                found = lexical.embed_document(texts[place])
                vector[SPARSE] = models.SparseVector(indices=found.indices, values=found.values)
            if vectors:
                vector[DENSE] = vectors[place]
            payload = {
                "id": passage.id,
                "url": passage.url,
                "title": passage.title,
                "contents": passage.contents,
            }
            points.append(models.PointStruct(id=first + place, vector=vector, payload=payload))
        await client.upsert(name, points, wait=True)
        first += len(batch)
    return first


def _batches(passages: Iterable[Passage], size: int) -> Iterator[list[Passage]]:
    source = iter(passages)
    while batch := list(islice(source, size)):
        yield batch


async def finish_loading(
    client: AsyncQdrantClient, name: str, *, poll_s: float = 2.0, timeout_s: float = 86_400.0
) -> None:
    """Lets the server index, and waits until it is done. Raises `DataError`, `ToolUnavailable`."""
    threshold = models.OptimizersConfigDiff(indexing_threshold=INDEXING_THRESHOLD)
    await client.update_collection(name, optimizers_config=threshold)
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                info = await client.get_collection(name)
                if info.status == models.CollectionStatus.GREEN:
                    return
                if info.status == models.CollectionStatus.RED:
                    raise DataError(f"collection {name!r} failed to index: {info.optimizer_status}")
                await asyncio.sleep(poll_s)
    except TimeoutError:
        line = f"collection {name!r} was not indexed within {timeout_s:g} s"
        raise ToolUnavailable(line) from None
