"""Tables of files: CSV, TSV, Parquet, HTML and Markdown."""

import codecs
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

from wideseek_core import ConfigError, DataError
from wideseek_core.extras import require_modules
from wideseek_core.search import Page
from wideseek_data.sources.config import FolderSource
from wideseek_data.sources.content import SourceContent
from wideseek_data.sources.delimited import read_delimited
from wideseek_data.sources.html_pages import html_as_markdown
from wideseek_data.sources.text_tables import first_heading, markdown_tables
from wideseek_data.tables.build import RawRow, RawTable


def read_folder(config: FolderSource) -> SourceContent:
    """The tables of all files below a folder, in the order of their names. Raises `DataError`."""
    if not config.path.is_dir():
        raise ConfigError(f"no folder at {config.path}")
    source = config.name or config.path.name
    tables: list[RawTable] = []
    pages: list[Page] = []
    for path in sorted(item for item in config.path.rglob("*") if item.is_file()):
        if path.suffix.lower() in _TABLES:
            tables += _TABLES[path.suffix.lower()](path, config, source)
        elif path.suffix.lower() in _PAGES:
            page = _PAGES[path.suffix.lower()](path, config, _address(config, path))
            found = list(markdown_tables(page, source))
            tables += found
            pages += [page] if found else []
    return SourceContent(
        tables=tuple(tables), pages=tuple(pages), base_url=config.base_url, layout=config.layout
    )


def _address(config: FolderSource, path: Path) -> str:
    return f"{config.base_url}/{quote(path.relative_to(config.path).as_posix())}"


def title_of(path: Path) -> str:
    """What a file's table is about, by the file's name: `Moons of Uranus` for `moons_of_uranus`."""
    words = path.stem.replace("_", " ").strip()
    return words[:1].upper() + words[1:]


def _text(path: Path, encoding: str) -> str:
    """The text of a file; a byte-order mark goes before the encoding that is set."""
    raw = path.read_bytes()
    marked = raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = raw.decode("utf-16" if marked else encoding).lstrip("\ufeff")
    except (UnicodeError, ValueError):
        raise DataError(f"{path}: not {encoding}; sources.encoding names another") from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _csv(path: Path, config: FolderSource, source: str) -> Iterator[RawTable]:
    text = _text(path, config.encoding)
    delimiter = ""
    if path.suffix.lower() == ".tsv":
        # Quotes are text there, and cells may hold other line separators.
        lines = text.rstrip("\n").split("\n")
        text = "\n".join(
            "\t".join('"' + cell.replace('"', '""') + '"' for cell in line.split("\t"))
            for line in lines
        )
        delimiter = "\t"
    try:
        table = read_delimited(text, delimiter)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    if table is not None:
        yield RawTable(
            title=title_of(path),
            names=table.columns,
            rows=tuple(RawRow(cells=row) for row in table.rows),
            source=source,
            complete=not table.surplus,
        )


def _parquet(path: Path, config: FolderSource, source: str) -> Iterator[RawTable]:
    require_modules("pyarrow", feature="reading Parquet", install="wideseek-data[parquet]")
    from wideseek_data.sources.parquet import parquet_rows

    names, rows, complete = parquet_rows(path)
    yield RawTable(
        title=title_of(path),
        names=names,
        rows=tuple(RawRow(cells=row) for row in rows),
        source=source,
        complete=complete,
    )


def _html(path: Path, config: FolderSource, url: str) -> Page:
    title, text = html_as_markdown(_text(path, config.encoding))
    return Page(url=url, text=text, title=title or first_heading(text) or title_of(path))


def _markdown(path: Path, config: FolderSource, url: str) -> Page:
    text = _text(path, config.encoding)
    return Page(url=url, text=text, title=first_heading(text) or title_of(path))


_TABLES: dict[str, Callable[[Path, FolderSource, str], Iterator[RawTable]]] = {
    ".csv": _csv,
    ".tsv": _csv,
    ".parquet": _parquet,
}
_PAGES: dict[str, Callable[[Path, FolderSource, str], Page]] = {
    ".html": _html,
    ".htm": _html,
    ".md": _markdown,
    ".markdown": _markdown,
}
