"""Where tables come from, as configuration. Nothing is opened here."""

import codecs
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, field_validator

from wideseek_core import Config
from wideseek_core.plugins import kind_union
from wideseek_data.teaching.table_layouts import Layout


class SourceSettings(Config):
    """What every source says of itself."""

    name: str = ""
    """Name of the source in tasks and on the dataset card; the path's own name if empty."""
    license: str = ""
    """License of the source, for the dataset card."""
    attribution: str = ""
    """Whom to name, for the dataset card."""


class FolderSource(SourceSettings):
    """Files of tables, in all folders below: `.csv`, `.tsv`, `.parquet`, `.html`, `.md`."""

    kind: Literal["folder"] = "folder"
    path: Path
    base_url: str = "https://tables.example"
    """Address under which the pages of these files stand."""
    layout: Layout = Layout.ENTRIES
    """How pages tell tables that come without pages: those of CSV and Parquet files."""
    encoding: str = "utf-8"
    """Encoding of the text files, e.g. `cp1252` or `gbk`; UTF-16 is known by its first bytes."""

    @field_validator("encoding")
    @classmethod
    def _is_known(cls, name: str) -> str:
        try:
            codecs.lookup(name)
        except LookupError:
            raise ValueError(f"no encoding is called {name!r}") from None
        return name


class AddressFilter(Config):
    """The pages that may be used: of JSON lines, the addresses in those that have a value."""

    path: Path
    """JSON lines that each hold a list of addresses."""
    addresses: str = "pages"
    """Key of the list."""
    where: dict[str, str] = Field(default_factory=dict[str, str])
    """Values that a line must have, e.g. `{split: train}`."""


class PagesSource(SourceSettings):
    """A page store: JSON lines with `url`, `contents` and perhaps `title`.

    Tables are taken from pages that hold some in Markdown or HTML, and rebuilt from overview and
    entry pages.
    """

    kind: Literal["pages"] = "pages"
    path: Path
    only: AddressFilter | None = None
    """Other pages are not read, as if they were not there."""


class MediawikiSource(SourceSettings):
    """A dump of a MediaWiki site: `.xml`, `.xml.bz2` or `.xml.gz`."""

    kind: Literal["mediawiki"] = "mediawiki"
    path: Path
    base_url: str = "https://en.wikipedia.org/wiki"
    """Address under which the pages stand."""
    max_pages: int | None = Field(default=None, ge=1)
    """Maximum number of pages that are read; null for all."""


SOURCES_GROUP = "wideseek.table_sources"
"""Entry-point group of sources from other distributions: each a `Plugin`, whose configuration is a
`SourceSettings` and whose `open` takes one and gives a `SourceContent`."""

if TYPE_CHECKING:
    SourceConfig = SourceSettings
else:
    SourceConfig: Any = kind_union(SOURCES_GROUP, FolderSource, PagesSource, MediawikiSource)
"""Any of the known sources, distinguished by `kind`."""
