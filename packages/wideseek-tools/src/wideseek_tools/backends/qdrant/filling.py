"""Fills a collection on a Qdrant server, resuming where a killed load stopped."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

from qdrant_client import AsyncQdrantClient

from wideseek_core.errors import ConfigError, DataError
from wideseek_tools.backends.qdrant.collection import create_collection, finish_loading, load
from wideseek_tools.backends.qdrant.config import QdrantConfig
from wideseek_tools.backends.qdrant.search import connect
from wideseek_tools.encoders.encoder import open_encoder
from wideseek_tools.index.config import IndexConfig
from wideseek_tools.index.scan import CORPUS, Step, scan
from wideseek_tools.page_store import build_store, repeated_rows
from wideseek_tools.passages import Passage, Row, passage_of_page, passage_of_row, read_rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where passages and pages go."""

    base_url: str
    collection: str
    store: Path
    grpc: bool = True
    """Points go over gRPC, which is faster, to port 6334; else over HTTP."""


async def fill_collection(
    corpus: Path | None,
    pages: Path,
    target: Target,
    config: IndexConfig,
    step: Step,
    client: AsyncQdrantClient | None = None,
) -> int:
    """Loads all passages, waits until they are indexed, returns their number.

    Points are numbered in the order of their rows, so the collection's size tells where to go on.
    Raises `ConfigError` if no server answers.
    """
    make: Callable[[Row], Passage] = (
        passage_of_row if corpus else partial(passage_of_page, words=config.passage_words)
    )
    source = scan(corpus or pages, CORPUS if corpus else "pages", make, step)
    build_store(pages, target.store, lambda done: step("storing pages", done, 0))
    left_out = frozenset(source.repeated) if corpus else repeated_rows(target.store)
    total = source.rows - len(left_out)
    client = client or connect(
        QdrantConfig(base_url=target.base_url, collection=target.collection, grpc=target.grpc)
    )
    encoder = open_encoder(config.encoder) if config.method != "bm25" else None
    try:
        done = await _start(client, target, config, encoder.size if encoder else 0)
        if done > total:
            raise DataError(f"collection {target.collection!r} holds other passages: {done}")
        step("loading passages", done, total)
        await load(
            client,
            target.collection,
            _rest(_kept(corpus or pages, left_out), make, done, step, total),
            config,
            mean_words=source.mean_words,
            encoder=encoder,
            first=done,
        )
        step("indexing", 0, 0)
        await finish_loading(client, target.collection)
        return (await client.count(target.collection, exact=True)).count
    finally:
        await client.close()


async def _start(
    client: AsyncQdrantClient, target: Target, config: IndexConfig, dimension: int
) -> int:
    """Points that are there already; creates the collection if there is none."""
    try:
        known = await client.collection_exists(target.collection)
    except Exception as error:  # noqa: BLE001 - errors of several HTTP and gRPC stacks
        line = f"no Qdrant at {target.base_url}: {type(error).__name__}"
        raise ConfigError(line) from None
    if not known:
        await create_collection(client, target.collection, config, dimension)
    return (await client.count(target.collection, exact=True)).count


def _kept(path: Path, left_out: frozenset[int]) -> Iterator[Row]:
    """The rows that become passages: of a page that is given again, the last one."""
    return (row for number, row in enumerate(read_rows(path)) if number not in left_out)


def _rest(
    rows: Iterator[Row], make: Callable[[Row], Passage], done: int, step: Step, total: int
) -> Iterator[Passage]:
    for row in islice(rows, done, None):
        step("loading passages", 1, total)
        yield make(row)
