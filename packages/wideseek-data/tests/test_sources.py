"""Sources: files of tables, page stores, MediaWiki dumps."""

import bz2
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from wideseek_core import ConfigError, CorruptFile, DataError
from wideseek_core.config import validate
from wideseek_data.building.config import BuildConfig
from wideseek_data.sources.config import (
    AddressFilter,
    FolderSource,
    MediawikiSource,
    PagesSource,
)
from wideseek_data.sources.html_pages import html_as_markdown
from wideseek_data.sources.open import found_tables, read_source
from wideseek_data.tables.table import Table
from wideseek_data.teaching.table_layouts import Layout, laid_out

from .moons import BASE, ROWS, moon_pages, moons

CSV = "Moon,Radius (km),Found\nTriton,1353,1846\nNereid,170,1949\nProteus,210,1989\n"
HTML = """<html><head><title>Moons</title><style>td {}</style></head><body><h1>Moons</h1>
<p>All of <b>them</b>.</p><h2>Neptune</h2><table>
<tr><th>Moon</th><th>Year</th><th>Finder</th></tr>
<tr><td>Triton<sup>[1]</sup></td><td>1846</td><td>Lassell</td></tr>
<tr><td>Proteus</td><td rowspan="2">1989</td><td rowspan=2>Voyager&nbsp;2</td></tr>
<tr><td>Despina</td></tr></table><p>End.</p></body></html>"""
WIKITEXT = """'''Neptune''' has [[moon]]s.<ref>A book</ref>
== Large moons ==
{| class="wikitable"
! Moon !! Year !! Finder
|-
| [[Triton (moon)|Triton]] || 1846 || Lassell
|-
| Proteus || rowspan=2 | 1989 || rowspan=2 | Voyager 2
|-
| Despina
|}
"""


def tables_of(config: Any) -> list[Table]:
    return [found.table for found in found_tables(read_source(config)) if found.table]


def test_csv_files_become_tables_with_pages_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "moons_of_neptune.csv").write_text("\ufeff" + CSV, "utf-8")
    found = list(found_tables(read_source(FolderSource(path=tmp_path, layout=Layout.FACTS))))
    table = found[0].table
    assert table is not None
    assert table.title == "Moons of neptune"
    assert table.cells("Moon") == ["Triton", "Nereid", "Proteus"]
    assert set(table.urls()) == {page.url for page in found[0].pages}
    text = next(page.text for page in found[0].pages if page.url == table.rows[0].url)
    assert "Radius (km): 1353" in text


def test_a_line_separator_inside_a_cell_of_a_tsv_file_ends_no_row(tmp_path: Path) -> None:
    text = CSV.replace(",", "\t").replace("Nereid", "Nereid\u2028(outer)")
    (tmp_path / "a.tsv").write_text(text, "utf-8")
    (table,) = tables_of(FolderSource(path=tmp_path))
    assert table.cells("Moon") == ["Triton", "Nereid (outer)", "Proteus"]
    assert table.cells("Found") == ["1846", "1949", "1989"]


def test_tsv_and_parquet_are_read(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    (tmp_path / "a.tsv").write_text(CSV.replace(",", "\t").replace("Triton", 'Tri"ton'))
    rows = {"Moon": ["Triton", "Nereid", "Proteus"], "Mass": [2.0, None, 0.5]}
    parquet.write_table(pyarrow.table(rows), tmp_path / "b.parquet")
    first, second = tables_of(FolderSource(path=tmp_path))
    assert first.cell(0, "Moon") == 'Tri"ton'
    assert second.cells("Mass") == ["2", "", "0.5"]
    (tmp_path / "c.parquet").write_text("no")
    with pytest.raises(CorruptFile, match=r"c\.parquet: not Parquet that can be read"):
        read_source(FolderSource(path=tmp_path))


def test_html_becomes_markdown_with_headings_and_spanning_cells() -> None:
    title, text = html_as_markdown(HTML)
    assert title == "Moons"
    assert "## Neptune" in text
    assert "| Triton | 1846 | Lassell |" in text
    assert "| Despina | 1989 | Voyager 2 |" in text
    assert "td {}" not in text


@pytest.mark.parametrize("html", ["<table><td>", "<tr><td colspan=x>a</table>", "<table>" * 99, ""])
def test_broken_html_is_no_error(html: str) -> None:
    html_as_markdown(html)


def test_html_whose_head_is_not_closed_is_read() -> None:
    page = "<title>Moons</title><body><table><tr><th>A<th>B<tr><td>1<td>2</table>"
    title, text = html_as_markdown(f"<html><head>{page}")
    assert (title, html_as_markdown(page)) == ("Moons", (title, text))
    assert "| 1 | 2 |" in text


def test_html_and_markdown_files_are_pages(tmp_path: Path) -> None:
    (tmp_path / "neptune.html").write_text(HTML)
    (tmp_path / "pluto.md").write_text(
        "# Pluto\n\n## Moons\n\n| Moon | Year |\n| --- | --- |\n| Charon | 1978 |\n| Nix | 2005 |\n"
        "| Hydra | 2005 |\n"
    )
    (tmp_path / "notes.md").write_text("# Notes\n\nNo table.")
    content = read_source(FolderSource(path=tmp_path, base_url="https://x.example"))
    assert [page.url for page in content.pages] == [
        "https://x.example/neptune.html",
        "https://x.example/pluto.md",
    ]
    tables = tables_of(FolderSource(path=tmp_path))
    assert [(table.title, table.section) for table in tables] == [
        ("Moons", "Neptune"),
        ("Pluto", "Moons"),
    ]


def test_dumps_give_articles_and_their_tables(tmp_path: Path) -> None:
    pytest.importorskip("wikitextparser")
    pages = "".join(
        f"<page><title>{title}</title><ns>{ns}</ns>{extra}<revision><text>{text}</text></revision>"
        "</page>"
        for title, ns, extra, text in (
            ("Moons of Neptune", 0, "", WIKITEXT.replace("<", "&lt;")),
            ("Talk:Moons", 1, "", WIKITEXT.replace("<", "&lt;")),
            ("Old", 0, "<redirect/>", "{|"),
            ("Plain", 0, "", "nothing"),
        )
    )
    path = tmp_path / "dump.xml.bz2"
    path.write_bytes(bz2.compress(f"<mediawiki xmlns='http://x'>{pages}</mediawiki>".encode()))
    config = MediawikiSource(path=path, base_url="https://w.example/wiki")
    content = read_source(config)
    (table,) = tables_of(config)
    assert [page.url for page in content.pages] == ["https://w.example/wiki/Moons_of_Neptune"]
    assert table.section == "Large moons"
    assert table.cells("Moon") == ["Triton", "Proteus", "Despina"]
    assert table.cells("Finder") == ["Lassell", "Voyager 2", "Voyager 2"]
    assert "A book" not in content.pages[0].text
    broken = tmp_path / "dump.xml.gz"
    broken.write_bytes(gzip.compress(b"<mediawiki>" + b"<page>a</page>" * 999)[:20] + b"\xff" * 40)
    with pytest.raises(CorruptFile, match="not a MediaWiki dump"):
        read_source(MediawikiSource(path=broken))
    path.write_bytes(b"no")
    with pytest.raises(CorruptFile, match="not a MediaWiki dump"):
        read_source(config)


def stored(path: Path) -> None:
    lines = [
        json.dumps({"url": page.url, "title": page.title, "contents": page.text})
        for page in moon_pages()
    ]
    path.write_text("\n".join(lines))


def test_page_stores_give_only_the_pages_that_may_be_used(tmp_path: Path) -> None:
    stored(tmp_path / "pages.jsonl")
    urls = [f"{BASE}#Large_moons", *(f"{BASE}/{row[0]}#Large_moons" for row in ROWS[:5])]
    (tmp_path / "splits.jsonl").write_text(
        json.dumps({"split": "train", "pages": urls})
        + "\n"
        + json.dumps({"split": "held", "pages": [f"{BASE}/Puck#Large_moons"]})
    )
    only = AddressFilter(path=tmp_path / "splits.jsonl", where={"split": "train"})
    config = PagesSource(path=tmp_path / "pages.jsonl", only=only)
    assert {page.url for page in read_source(config).pages} == set(urls)
    (table,) = tables_of(config)
    assert table.cells("Moon") == [row[0] for row in ROWS[:5]]
    nothing = only.model_copy(update={"where": {"split": "none"}})
    with pytest.raises(DataError, match="no line has"):
        read_source(config.model_copy(update={"only": nothing}))


def test_a_malformed_page_is_named(tmp_path: Path) -> None:
    (tmp_path / "pages.jsonl").write_text('{"url": 3}')
    with pytest.raises(DataError, match=r"pages\.jsonl:1: 'url'"):
        read_source(PagesSource(path=tmp_path / "pages.jsonl"))


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no folder at"):
        read_source(FolderSource(path=tmp_path / "none"))


def test_ids_of_tables_do_not_depend_on_other_tables(tmp_path: Path) -> None:
    (tmp_path / "b.csv").write_text(CSV)
    (before,) = tables_of(FolderSource(path=tmp_path, name="s"))
    (tmp_path / "a.csv").write_text(CSV)
    assert before.id in {table.id for table in tables_of(FolderSource(path=tmp_path, name="s"))}


@pytest.mark.parametrize("layout", list(Layout))
def test_every_layout_tells_every_cell(layout: Layout) -> None:
    table, pages = laid_out(moons(), layout, "https://x.example")
    by_url = {page.url: page.text for page in pages}
    for row in table.rows:
        assert all(cell in by_url[row.url] for cell in row.cells)
        assert row.cells[0] in by_url[table.url]


def test_sources_are_chosen_by_kind(tmp_path: Path) -> None:
    values = {"sources": [{"kind": "folder", "path": str(tmp_path)}]}
    assert isinstance(validate(BuildConfig, values).sources[0], FolderSource)
    with pytest.raises(ConfigError, match="kind"):
        validate(BuildConfig, {"sources": [{"kind": "nonsense", "path": "x"}]})
