"""Builds an index folder: streaming, resumable after a kill, atomic.

The work happens in a hidden sibling that becomes the folder at the very end. A checkpoint follows
each flush of the shard; a resumed build starts there and writes the same points again.
"""

import logging
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path

import qdrant_edge as edge
from pydantic import ValidationError

from wideseek_core.counting import counted
from wideseek_core.errors import CorruptFile, DataError, WideSeekError
from wideseek_core.files import locked, write_atomically
from wideseek_core.tasks import Record
from wideseek_tools.encoders.encoder import Encoder, open_encoder
from wideseek_tools.index.config import IndexConfig
from wideseek_tools.index.manifest import (
    MANIFEST,
    SHARD,
    IndexInfo,
    Source,
    fingerprint,
    read_index,
)
from wideseek_tools.index.scan import CORPUS, Step, scan
from wideseek_tools.index.shard import create_shard, lexical_model, load_shard, point
from wideseek_tools.page_store import STORE, build_store, repeated_rows
from wideseek_tools.passages import Mark, Passage, Row, passage_of_page, passage_of_row, read_rows

logger = logging.getLogger(__name__)
PROGRESS = "progress.json"


class Progress(Record):
    """How far the shard is known to be written."""

    fingerprint: str
    points: int = 0
    rows: int = 0
    """Of the file, those that became no points among them."""
    line: int = 0
    offset: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be built where."""

    work: Path
    config: IndexConfig
    passages: Path
    """The file that passages are read from."""
    make: Callable[[Row], Passage]
    source: Source
    fingerprint: str
    step: Step
    left_out: frozenset[int] = frozenset()
    """Rows that become no passage: a later one is the same page, or an earlier one the same
    passage."""

    @property
    def points(self) -> int:
        """How many passages there will be."""
        return self.source.rows - len(self.left_out)


def build_index(
    corpus: Path | None,
    pages: Path,
    to: Path,
    config: IndexConfig | None = None,
    step: Step = lambda stage, done, total: None,
) -> IndexInfo:
    """Builds the index of `corpus` (passages) and `pages` at `to`, or finds it there already.

    Without a corpus each page's beginning is its passage. Blocks; in async code call it in a
    thread. Waits if another process builds at the
    same place. Raises `DataError` for malformed input or if `to` holds something else.
    """
    config = config or IndexConfig()
    make = passage_of_row if corpus else partial(passage_of_page, words=config.passage_words)
    to.parent.mkdir(parents=True, exist_ok=True)
    with locked(to.parent / f".{to.name}.lock"):
        if to.exists() and any(to.iterdir()):
            found = read_index(to)
            if _same(found, config, [path for path in (corpus, pages) if path]):
                return found
        work = to.parent / f".{to.name}.building"
        sources = _scan(corpus, pages, make, work, config, step)
        wanted = fingerprint(config, sources)
        if to.exists() and any(to.iterdir()):
            return read_index(to, wanted)
        plan = Plan(
            work=work,
            config=config,
            passages=corpus or pages,
            make=make,
            source=sources[0],
            fingerprint=wanted,
            step=step,
            left_out=frozenset(sources[0].repeated),
        )
        info = _build(plan, pages, sources)
        if to.exists():
            to.rmdir()
        os.rename(work, to)
        return info


def _same(found: IndexInfo, config: IndexConfig, paths: list[Path]) -> bool:
    """Whether an index is surely of these files, without reading them."""
    return (
        found.fingerprint == fingerprint(config, found.sources)
        and len(found.sources) == len(paths)
        and all(path.is_file() for path in paths)
        and all(source.unchanged(path) for source, path in zip(found.sources, paths, strict=True))
    )


def _scan(
    corpus: Path | None,
    pages: Path,
    make: Callable[[Row], Passage],
    work: Path,
    config: IndexConfig,
    step: Step,
) -> tuple[Source, ...]:
    """Passages first. Pages that are not passages are only checked and hashed."""
    work.mkdir(exist_ok=True)
    whole = partial(passage_of_page, words=config.passage_words)
    found = [scan(pages, "pages", whole, step, work / "pages.scan.json")]
    if corpus is not None:
        found.insert(0, scan(corpus, CORPUS, make, step, work / "corpus.scan.json"))
    return tuple(found)


def _build(plan: Plan, pages: Path, sources: tuple[Source, ...]) -> IndexInfo:
    progress, total = _progress(plan), sources[-1].rows
    stored = build_store(
        pages, plan.work / STORE, lambda done: plan.step("storing pages", done, total)
    )
    if stored != total:
        raise DataError(
            f"{pages} changed while it was read: {counted(total, 'page')}, then {stored}"
        )
    if repeated := repeated_rows(plan.work / STORE):
        line = "%s: given again further down: %s; the last one of each is kept"
        logger.warning(line, pages, counted(len(repeated), "page"))
    if plan.passages == pages:
        plan = replace(plan, left_out=repeated)
    encoder = open_encoder(plan.config.encoder) if plan.config.method != "bm25" else None
    try:
        _write_shard(plan, progress, encoder)
    except CorruptFile as error:
        # What a kill tore beyond repair is thrown away, not patched: the input is still there.
        logger.warning("starting the shard again: %s", error)
        _write_shard(plan, _restart(plan), encoder)
    info = IndexInfo(
        fingerprint=plan.fingerprint,
        config=plan.config,
        passages=plan.points,
        pages=stored - len(repeated),
        mean_words=plan.source.mean_words,
        dimension=encoder.size if encoder else 0,
        sources=sources,
    )
    (plan.work / PROGRESS).unlink(missing_ok=True)
    for kept in plan.work.glob("*.scan.json"):
        kept.unlink()
    info.save(plan.work)
    return info


def _progress(plan: Plan) -> Progress:
    """Where a killed build of the same content stopped, else a clean start."""
    path = plan.work / PROGRESS
    try:
        found = Progress.model_validate_json(path.read_text("utf-8"))
        if found.fingerprint == plan.fingerprint:
            return found
    except (FileNotFoundError, ValidationError):
        pass
    (plan.work / STORE).unlink(missing_ok=True)
    (plan.work / f"{STORE}-journal").unlink(missing_ok=True)
    (plan.work / MANIFEST).unlink(missing_ok=True)
    return _restart(plan)


def _restart(plan: Plan) -> Progress:
    shutil.rmtree(plan.work / SHARD, ignore_errors=True)
    progress = Progress(fingerprint=plan.fingerprint)
    write_atomically(plan.work / PROGRESS, progress.model_dump_json())
    return progress


def _write_shard(plan: Plan, progress: Progress, encoder: Encoder | None) -> None:
    folder = plan.work / SHARD
    if progress.points == 0:
        shutil.rmtree(folder, ignore_errors=True)
        shard = create_shard(folder, plan.config, encoder.size if encoder else 0)
    else:
        shard = load_shard(folder)
    try:
        plan.step("indexing passages", progress.points, plan.points)
        _load_points(plan, progress, encoder, shard)
        plan.step("optimising", 0, 0)
        shard.optimize()
        shard.flush()
        count = shard.count(edge.CountRequest(exact=True))
    except WideSeekError:
        raise
    except Exception as error:  # noqa: BLE001 - the bindings raise bare ones, for a full disk too
        raise CorruptFile(f"{folder}: the shard can't be written: {error}") from None
    finally:
        shard.close()
    if count != plan.points:
        raise CorruptFile(f"{folder}: {counted(count, 'point')}, expected {plan.points}")


def _load_points(
    plan: Plan, progress: Progress, encoder: Encoder | None, shard: edge.EdgeShard
) -> None:
    lexical = lexical_model(plan.config, plan.source.mean_words)
    points, flushed = progress.points, progress.points
    read = enumerate(read_rows(plan.passages, Mark(progress.line, progress.offset)), progress.rows)
    rows = ((number, row) for number, row in read if number not in plan.left_out)
    for batch in _batches(rows, plan.config.batch):
        passages = [plan.make(row) for _, row in batch]
        vectors = encoder.encode([p.searchable for p in passages], queries=False) if encoder else []
        shard.update(
            edge.UpdateOperation.upsert_points(
                [
                    point(
                        points + place,
                        passage,
                        None if plan.config.method == "dense" else lexical,
                        vectors[place] if vectors else None,
                    )
                    for place, passage in enumerate(passages)
                ]
            )
        )
        points += len(batch)
        plan.step("indexing passages", len(batch), plan.points)
        if points - flushed >= plan.config.checkpoint:
            shard.flush()
            number, last = batch[-1]
            mark = Progress(
                fingerprint=plan.fingerprint,
                points=points,
                rows=number + 1,
                line=last.end.line,
                offset=last.end.offset,
            )
            write_atomically(plan.work / PROGRESS, mark.model_dump_json())
            flushed = points


def _batches(rows: Iterable[tuple[int, Row]], size: int) -> Iterator[list[tuple[int, Row]]]:
    source = iter(rows)
    while batch := list(islice(source, size)):
        yield batch
