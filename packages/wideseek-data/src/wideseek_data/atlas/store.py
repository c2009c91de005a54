"""The bundled atlas as it ships: tasks, plans and pages out of the package's data files."""

import hashlib
import json
import lzma
import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Literal, Protocol, TypeVar

from pydantic import TypeAdapter, ValidationError

from wideseek_core import CorruptFile, Record, TableGold, Task
from wideseek_core.files import write_atomically
from wideseek_data.atlas.chains import Chain, Hop
from wideseek_data.atlas.records import Manifest, PageRecord, QaRecord, WideRecord
from wideseek_data.atlas.wide import Filter, Wide
from wideseek_data.atlas.world import Domain, Entity, Split, WorldPage

Kind = Literal["wide", "qa"]
R = TypeVar("R", bound=Record)
DATA = ("pages", "domains", "wide", "qa")


class _Tasked(Protocol):
    @property
    def task(self) -> Task: ...


T = TypeVar("T", bound=_Tasked)


@dataclass(frozen=True, slots=True, kw_only=True)
class AtlasFiles:
    """The atlas on disk, as the search tools take it."""

    corpus: Path
    """Passages to index: title and lead of every page."""
    pages: Path
    """Whole pages by address."""


def load_tasks(
    split: Split,
    *,
    kind: Kind = "wide",
    limit: int | None = None,
    seed: int = 0,
    max_rows: int | None = None,
    min_rows: int | None = None,
    max_columns: int | None = None,
    shapes: tuple[str, ...] | None = None,
    domains: tuple[str, ...] | None = None,
) -> list[Task]:
    """Tasks of a split, shuffled by `seed` so that any first few are balanced over the domains.

    `max_columns` counts the columns beside the key column; the limits of rows, columns, shapes and
    domains concern wide questions only.
    """
    if kind == "qa":
        found = [record for record in _qa_records() if record.split == split]
        return [record.task for record in _balanced(found, seed, limit)]
    keep = _keeper(split, max_rows, min_rows, max_columns, shapes, domains)
    wide = [record for record in _wide_records() if keep(record)]
    return [record.task for record in _balanced(wide, seed, limit)]


def load_wide(
    split: Split,
    *,
    limit: int | None = None,
    seed: int = 0,
    max_rows: int | None = None,
    min_rows: int | None = None,
    max_columns: int | None = None,
    shapes: tuple[str, ...] | None = None,
    domains: tuple[str, ...] | None = None,
) -> list[Wide]:
    """The wide questions that `load_tasks` gives for the same arguments, with their plans."""
    keep = _keeper(split, max_rows, min_rows, max_columns, shapes, domains)
    found = [record for record in _wide_records() if keep(record)]
    return [_wide(record) for record in _balanced(found, seed, limit)]


def load_chains(split: Split, *, limit: int | None = None, seed: int = 0) -> list[Chain]:
    """The short-answer questions that `load_tasks` gives, with their hops."""
    found = [record for record in _qa_records() if record.split == split]
    return [
        Chain(
            task=record.task,
            hops=tuple(
                Hop(
                    domain=domains()[hop.domain],
                    entity=_entities(hop.domain)[hop.entity],
                    column=hop.column,
                    by_code=hop.by_code,
                )
                for hop in record.hops
            ),
        )
        for record in _balanced(found, seed, limit)
    ]


@cache
def domains() -> dict[str, Domain]:
    """All facts, by domain."""
    adapter = TypeAdapter(Domain)
    found = [_parsed("domains", number, adapter, line) for number, line in _lines("domains")]
    return {domain.name: domain for domain in found}


def pages() -> Iterator[WorldPage]:
    """All pages, in the order of the corpus."""
    for record in _records("pages", PageRecord):
        yield WorldPage(
            title=record.title, lead=record.lead, body=record.body, source=record.source
        )


def materialize(folder: Path) -> AtlasFiles:
    """Writes the corpus for the search tools; files that are already right are left alone."""
    paths = AtlasFiles(corpus=folder / "corpus.jsonl", pages=folder / "pages.jsonl")
    passages: list[str] = []
    page_lines: list[str] = []
    for number, page in enumerate(pages()):
        entry = {"url": page.url, "title": page.title}
        text = f'"{page.title}"\n{page.lead}'
        passages.append(_json({"id": str(number), **entry, "contents": text}))
        page_lines.append(_json({**entry, "contents": page.contents}))
    for path, lines in ((paths.corpus, passages), (paths.pages, page_lines)):
        content = "".join(line + "\n" for line in lines).encode()
        if not path.is_file() or path.read_bytes() != content:
            write_atomically(path, content)
    return paths


def fingerprint() -> str:
    """Names the world: changes whenever a page, a fact or a task does."""
    recorded = manifest().files
    return hashlib.sha256("".join(recorded[name].sha256 for name in DATA).encode()).hexdigest()


@cache
def manifest() -> Manifest:
    """What the data files should hold. Raises `CorruptFile`."""
    path = _folder() / "manifest.json"
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise CorruptFile(f"{path}: {error}") from None


def read_content(path: Path, sha256: str) -> bytes:
    """A data file, uncompressed and verified. Raises `CorruptFile`."""
    try:
        content = lzma.decompress(path.read_bytes())
    except (OSError, EOFError, lzma.LZMAError) as error:
        raise CorruptFile(f"{path}: {error}") from None
    if hashlib.sha256(content).hexdigest() != sha256:
        raise CorruptFile(f"{path}: its content does not match manifest.json")
    return content


def _folder() -> Path:
    return Path(str(files("wideseek_data.atlas"))) / "data"


def _path(name: str) -> Path:
    return _folder() / f"{name}.jsonl.xz"


def _lines(name: str) -> Iterator[tuple[int, str]]:
    recorded = manifest().files.get(name)
    if recorded is None:
        raise CorruptFile(f"{_folder() / 'manifest.json'}: no entry {name!r}")
    content = read_content(_path(name), recorded.sha256)
    return enumerate(content.decode().removesuffix("\n").split("\n"), 1)


def _records(name: str, cls: type[R]) -> Iterator[R]:
    adapter = TypeAdapter(cls)
    return (_parsed(name, number, adapter, line) for number, line in _lines(name))


@cache
def _wide_records() -> tuple[WideRecord, ...]:
    return tuple(_records("wide", WideRecord))


@cache
def _qa_records() -> tuple[QaRecord, ...]:
    return tuple(_records("qa", QaRecord))


V = TypeVar("V")


def _parsed(name: str, number: int, adapter: TypeAdapter[V], line: str) -> V:
    try:
        return adapter.validate_json(line)
    except ValidationError as error:
        raise CorruptFile(f"{_path(name)}:{number}: {error}") from None


@cache
def _entities(domain: str) -> dict[str, Entity]:
    return {entity.name: entity for entity in domains()[domain].entities}


def _wide(record: WideRecord) -> Wide:
    domain, named = domains()[record.domain], _entities(record.domain)
    return Wide(
        task=record.task,
        domain=domain,
        group=domain.attribute(record.group),
        group_value=record.value,
        members=tuple(named[name] for name in record.members),
        columns=record.columns,
        filter=Filter(
            shape=record.filter.shape,
            column=record.filter.column,
            value=record.filter.value,
            above=record.filter.above,
        ),
        rows=tuple(named[name] for name in record.rows),
    )


def _keeper(
    split: Split,
    max_rows: int | None,
    min_rows: int | None,
    max_columns: int | None,
    shapes: tuple[str, ...] | None,
    domains: tuple[str, ...] | None,
) -> Callable[[WideRecord], bool]:
    def keep(record: WideRecord) -> bool:
        gold = record.task.gold
        assert isinstance(gold, TableGold)
        columns = len(gold.required_columns) - len(gold.key_columns)
        return (
            record.split == split
            and (max_rows is None or record.task.rows <= max_rows)
            and (min_rows is None or record.task.rows >= min_rows)
            and (max_columns is None or columns <= max_columns)
            and (shapes is None or record.filter.shape in shapes)
            and (domains is None or record.task.source.partition("/")[0] in domains)
        )

    return keep


def _balanced(records: Sequence[T], seed: int, limit: int | None) -> list[T]:
    """Shuffled within each domain, then dealt from the domains in turn."""
    rng = random.Random(seed)
    piles: dict[str, list[T]] = defaultdict(list)
    for record in records:
        piles[record.task.source.partition("/")[0]].append(record)
    order = sorted(piles)
    rng.shuffle(order)
    for name in order:
        rng.shuffle(piles[name])
    dealt: list[T] = []
    while any(piles.values()):
        dealt += [piles[name].pop() for name in order if piles[name]]
    return dealt if limit is None else dealt[:limit]


def _json(value: dict[str, str]) -> str:
    return json.dumps(value, ensure_ascii=False)
