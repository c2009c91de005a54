"""The lines of the atlas's data files."""

from typing import Literal

from pydantic import Field

from wideseek_core import Record, Task
from wideseek_data.atlas.wide import Shape
from wideseek_data.atlas.world import Split


class PageRecord(Record):
    """A page; its address follows from the title."""

    title: str
    lead: str
    body: str
    source: str
    """Key of the manifest's `sources`."""


class FilterRecord(Record):
    """A `Filter`."""

    shape: Shape
    column: str = ""
    value: str = ""
    above: bool = True


class WideRecord(Record):
    """A wide question and its plan; entities are named."""

    split: Split
    task: Task
    domain: str
    group: str
    """Column of the grouping attribute."""
    value: str
    members: tuple[str, ...]
    columns: tuple[str, ...]
    filter: FilterRecord
    rows: tuple[str, ...]


class HopRecord(Record):
    """A `Hop`."""

    domain: str
    entity: str
    column: str
    by_code: str = ""


class QaRecord(Record):
    """A short-answer question and its hops."""

    split: Split
    task: Task
    hops: tuple[HopRecord, ...] = Field(min_length=1)


class FileRecord(Record):
    """What a data file holds, uncompressed."""

    sha256: str
    lines: int
    size_bytes: int


class Manifest(Record):
    """What the data files hold and what they were built from."""

    version: Literal[1] = 1
    files: dict[str, FileRecord]
    packages: dict[str, str]
    """Pinned versions of the data packages."""
    sources: dict[str, str]
    """Source and license by the key that pages carry."""
