"""Sources as people have them: odd delimiters, numbers, headers, spans, templates, encodings."""

import bz2
import math
import random
from pathlib import Path
from typing import Any

import pytest

from wideseek_core import ConfigError, CorruptFile, DataError
from wideseek_core.config import validate
from wideseek_data.sources.config import FolderSource, MediawikiSource
from wideseek_data.sources.delimited import read_delimited
from wideseek_data.sources.html_pages import html_as_markdown
from wideseek_data.sources.open import found_tables, read_source
from wideseek_data.tables.table import Table

Rows = list[tuple[str, ...]]


def csv(text: str) -> tuple[tuple[str, ...], Rows]:
    found = read_delimited(text)
    assert found is not None
    return found.columns, list(found.rows)


def tables_below(folder: Path, **settings: Any) -> list[Table]:
    values = {"path": str(folder)} | settings
    content = read_source(validate(FolderSource, values))
    return [found.table for found in found_tables(content) if found.table]


@pytest.mark.parametrize(
    ("text", "columns", "first"),
    [
        ("A,B\n1,x\n2,y\n", ("A", "B"), ("1", "x")),
        ("A;B\n1;x, y\n2;z\n", ("A", "B"), ("1", "x, y")),
        ("sep=;\nA;B\n1;x\n", ("A", "B"), ("1", "x")),
        ("\ufeffA\tB\r\n1\tx\r\n", ("A", "B"), ("1", "x")),
        ("A|B\n1|x\n", ("A", "B"), ("1", "x")),
        ('"A, B";"C"\n"1;2";x\n', ("A, B", "C"), ("1;2", "x")),
        ("A,B,A\n1,x,2\n", ("A", "B", "A (2)"), ("1", "x", "2")),
        (",A,B\n0,1,x\n1,2,y\n", ("A", "B"), ("1", "x")),
        ("A,B,\n1,x,\n", ("A", "B"), ("1", "x")),
        (",Gold\nNorway,3\n", ("", "Gold"), ("Norway", "3")),
        ("A,B\n1\n", ("A", "B"), ("1", "")),
        ('A,B\n"one\ntwo",x\n', ("A", "B"), ("one\ntwo", "x")),
        ("名称；,年份\n甲,1998年\n", ("名称；", "年份"), ("甲", "1998年")),
    ],
)
def test_delimited_text_is_read(text: str, columns: tuple[str, ...], first: Any) -> None:
    assert csv(text) == (columns, [first, *csv(text)[1][1:]])


@pytest.mark.parametrize("text", ["", "\n\n", "\ufeff", ",,\n,,\n"])
def test_text_without_cells_is_no_table(text: str) -> None:
    assert read_delimited(text) is None


@pytest.mark.parametrize(
    ("text", "columns", "cells"),
    [
        ("N;Km\na;1,5\nb;1.234,25\nc;-\n", ("N", "Km"), ["1.5", "1,234.25", "-"]),
        ("N;Km\na;1.5\nb;1,234.25\n", ("N", "Km"), ["1.5", "1,234.25"]),
        ("N;People\na;1.234\nb;2.500\nc;0,5\n", ("N", "People"), ["1,234", "2,500", "0.5"]),
        ('N,Share\na,"12,5 %"\nb,"7,25 %"\nc,"0,5"\n', ("N", "Share"), ["12.5 %", "7.25 %", "0.5"]),
        ("N;Note\na;1,5 or so\nb;2,5\n", ("N", "Note"), ["1,5 or so", "2,5"]),
        ("N;Km\na;1,234\nb;5,678\n", ("N",), None),  # thousands, or one and something
        ("N;Km\na;1.234\nb;5.678\n", ("N",), None),
        ('N,Km\na,"1,234"\nb,"5,678"\n', ("N", "Km"), ["1,234", "5,678"]),
        ("N;A;B\na;1,5;1.234\nb;2,5;2.345\n", ("N", "A", "B"), ["1,234", "2,345"]),
        ("N;A;B\na;1,5;3.25\nb;2,5;2.50\n", ("N", "A", "B"), ["3.25", "2.50"]),
        ("N;A;B\na;1,5;1.234\nb;2.5;2.345\n", ("N", "A"), None),  # both in one file
        ("N;IP\na;192.168.100.200\nb;10.0.0.1\n", ("N", "IP"), ["192.168.100.200", "10.0.0.1"]),
        ("N;Day\na;12.05.2019\nb;0,5\n", ("N", "Day"), ["12.05.2019", "0,5"]),
    ],
)  # fmt: skip
def test_decimal_commas_are_read_or_left_out_where_they_are_in_doubt(
    text: str, columns: tuple[str, ...], cells: list[str] | None
) -> None:
    names, rows = csv(text)
    assert names == columns
    if cells is not None:
        assert [row[-1] for row in rows] == cells


def test_rows_that_a_delimiter_has_shifted_are_left_out(tmp_path: Path) -> None:
    text = "Name,Goals,Club\nAda,3,Ajax\nSmith, John,9,Genk\nBo,5,Lens\nCy,4,Roma\n"
    (tmp_path / "goals.csv").write_text(text)
    (table,) = tables_below(tmp_path)
    assert table.cells("Name") == ["Ada", "Bo", "Cy"]
    assert not table.complete  # so nothing is asked about all rows


@pytest.mark.parametrize(
    ("content", "settings", "problem"),
    [
        ("Ort,Fluß\nKöln,Rhein\n".encode("latin-1"), {}, "not utf-8; sources.encoding"),
        ("名,年\n".encode("gbk"), {}, "not utf-8"),
        (b"\xff\xfeA", {}, "not utf-8"),
        (b'A,B\n"' + b"x" * 200_000, {}, "not CSV"),
    ],
)
def test_files_that_can_not_be_read_are_named(
    tmp_path: Path, content: bytes, settings: dict[str, str], problem: str
) -> None:
    (tmp_path / "bad.csv").write_bytes(content)
    with pytest.raises(DataError, match=rf"bad\.csv: {problem}") as caught:
        tables_below(tmp_path, **settings)
    assert "\n" not in str(caught.value)


def test_other_encodings_are_read_where_they_are_named(tmp_path: Path) -> None:
    text = "Ort,Fluß\nKöln,Rhein\nLinz,Donau\nWorms,Elbe\n"
    (tmp_path / "a.csv").write_bytes(text.encode("cp1252"))
    (tmp_path / "b.csv").write_bytes(text.encode("utf-16"))
    first, second = tables_below(tmp_path, encoding="cp1252")
    assert first.cells("Ort") == second.cells("Ort") == ["Köln", "Linz", "Worms"]
    with pytest.raises(ConfigError, match="no encoding is called 'latin99'"):
        tables_below(tmp_path, encoding="latin99")


def table_text(html: str) -> list[str]:
    """The lines of the table of a page, without its rule."""
    _, text = html_as_markdown(html)
    return [line for line in text.splitlines() if line.startswith("|") and "---" not in line]


HTML: list[tuple[str, str, list[str]]] = [
    (
        "two rows of headers",
        "<table><tr><th rowspan=2>Nation<th colspan=2>Medals<tr><th>Gold<th>Silver"
        "<tr><td>Ur<td>1<td>2</table>",
        ["| Nation | Medals Gold | Medals Silver |", "| Ur | 1 | 2 |"],
    ),
    (
        "a title above the header",
        "<table><tr><td colspan=2>Results<tr><td>A<td>B<tr><td>1<td>2</table>",
        ["| A | B |", "| 1 | 2 |"],
    ),
    (
        "a title of header cells",
        "<table><tr><th colspan=2>Results<tr><th>A<th>B<tr><td>1<td>2</table>",
        ["| A | B |", "| 1 | 2 |"],
    ),
    (
        "a span of all rows that follow",
        "<table><tr><th>A<th>B<tr><td rowspan=0>1<td>x<tr><td>y<tr><td>z</table>",
        ["| A | B |", "| 1 | x |", "| 1 | y |", "| 1 | z |"],
    ),
    (
        "a span that ends with its group",
        "<table><thead><tr><td rowspan=2>A<td>B</thead><tbody><tr><td>1<td>2</tbody></table>",
        ["| A | B |", "| 1 | 2 |"],
    ),
    (
        "a span that is longer than the table",
        "<table><tr><th>A<th>B<tr><td rowspan=99>1<td>x<tr><td>y</table>",
        ["| A | B |", "| 1 | x |", "| 1 | y |"],
    ),
    (
        "a note wider than the table",
        "<table><tr><th>A<th>B<tr><td>1<td>2<tr><td colspan=900></table>",
        ["| A | B |", "| 1 | 2 |"],
    ),
    (
        "hidden keys and hidden rows",
        '<table><tr><th>A<th>B<tr><td><span style="display:none">007</span>7<td>x'
        "<tr style='display: none'><td>8<td>y<tr><td>9<td>z</table>",
        ["| A | B |", "| 7 | x |", "| 9 | z |"],
    ),
    (
        "a hidden key that is not closed",
        '<table><tr><th>A<th>B<tr><td>1<span style="display:none">0<td>x<tr><td>2<td>y</table>',
        ["| A | B |", "| 1 | x |", "| 2 | y |"],
    ),
    (
        "powers and footnotes",
        "<table><tr><th>A<th>B<tr><td>10<sup>6</sup> km<sup>2</sup><td>x<sup>[a]</sup><sup>b</sup>"
        "</table>",
        ["| A | B |", "| 10⁶ km² | x |"],
    ),
    (
        "a footnote that is not closed",
        "<table><tr><th>A<th>B<tr><td>1<sup>[2]<td>x<tr><td>3<td>y</table>",
        ["| A | B |", "| 1 | x |", "| 3 | y |"],
    ),
    (
        "pipes and line breaks",
        "<table><tr><th>A<th>B<tr><td>a|b<td>c<br>d</table>",
        ["| A | B |", "| a\\|b | c d |"],
    ),
    (
        "a table in a cell",
        "<table><tr><th>A<th>B<tr><td>1<td><table><tr><td>n<tr><td>m</table>2</table>",
        ["| A | B |", "| 1 | 2 |"],
    ),
    (
        "struck-out values",
        "<table><tr><th>A<th>B<tr><td><s>3</s> 4<td><del>x</del>y</table>",
        ["| A | B |", "| 4 | y |"],
    ),
    (
        "spans that claim more cells than there can be",
        "<table><tr><th>A<th>B" + "<tr><td rowspan=0 colspan=1000>1" * 200 + "</table>",
        [],
    ),
    ("nothing but headers", "<table><tr><th>A<th>B<tr><th>1<th>2</table>", []),
]  # fmt: skip


@pytest.mark.parametrize(("html", "lines"), [item[1:] for item in HTML], ids=[i[0] for i in HTML])
def test_tables_of_pages_are_read_as_they_are_shown(html: str, lines: list[str]) -> None:
    assert table_text(html) == lines


def test_no_mixture_of_tags_is_an_error() -> None:
    parts = (
        "<table>", "</table>", "<tr>", "</tr>", "<td rowspan=3>", "<td style=display:none>", "<th>",
        "<td colspan=2>", "</td>", "<thead>", "<tbody style='display:none'>", "</tbody>", "<sup>",
        "</sup>", "<span style='visibility:hidden'>", "</span>", "<p>", "<title>", "x", "|", "<h2>",
        "<td rowspan=0>",
    )  # fmt: skip
    rng = random.Random(5)
    for _ in range(1500):
        html_as_markdown("".join(rng.choices(parts, k=rng.randint(1, 25))))


def test_marks_of_markdown_are_no_part_of_cells(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text(
        "# Moons\n\n| **Moon** | [Found](http://x.example/a_(b)) | `id` |\n| :-- | :-: | --: |\n"
        "| [Triton](https://x.example/T)[^1] | *1846* | a_b_c |\n| __Nix__ | 2005 | 5*3*2 |\n"
        "| Hydra* | 2005 | snake_case |\n"
    )
    (table,) = tables_below(tmp_path)
    assert table.names == ("Moon", "Found", "id")
    assert table.cells("Moon") == ["Triton", "Nix", "Hydra*"]
    assert table.cells("Found") == ["1846", "2005", "2005"]
    assert table.cells("id") == ["a_b_c", "5*3*2", "snake_case"]


def test_values_of_parquet_are_written_in_full(tmp_path: Path) -> None:
    pyarrow: Any = pytest.importorskip("pyarrow")
    parquet: Any = pytest.importorskip("pyarrow.parquet")
    columns = {
        "Name": ["a", "b", "c", "d"],
        "Size": [123456789.0, 1e20, 0.1, math.nan],
        "Short": pyarrow.array([0.1, 2.5, 16777216.0, None], pyarrow.float32()),
        "Raw": [b"x", b"\xff", None, b"y"],
        "Time": pyarrow.array([1, 2, 3, None], pyarrow.timestamp("ns")),
    }
    parquet.write_table(pyarrow.table(columns), tmp_path / "a.parquet")
    (table,) = tables_below(tmp_path)
    assert table.cells("Size") == ["123456789", "100000000000000000000", "0.1", ""]
    assert table.cells("Short") == ["0.1", "2.5", "16777220", ""]
    assert table.cells("Raw")[0] == "x"


def test_times_that_python_has_no_values_for_are_text(tmp_path: Path) -> None:
    pyarrow: Any = pytest.importorskip("pyarrow")
    parquet: Any = pytest.importorskip("pyarrow.parquet")
    late = pyarrow.array([2**50, 1, 2], pyarrow.timestamp("ms"))
    table = pyarrow.table({"Name": ["a", "b", "c"], "Late": late})
    parquet.write_table(table, tmp_path / "late.parquet")
    (found,) = tables_below(tmp_path)
    assert found.cells("Name") == ["a", "b", "c"]
    assert "1970-01-01" in found.cell(1, "Late")


def test_longer_parquet_files_are_not_taken_for_whole_tables(tmp_path: Path) -> None:
    pyarrow: Any = pytest.importorskip("pyarrow")
    parquet: Any = pytest.importorskip("pyarrow.parquet")
    rows = {"Name": [f"n{number}" for number in range(1001)], "Size": list(range(1001))}
    parquet.write_table(pyarrow.table(rows), tmp_path / "long.parquet")
    (table,) = tables_below(tmp_path)
    assert (len(table.rows), table.complete) == (1000, False)


WIKI = """{| class="wikitable"
|+ Races
|-
! rowspan=2 | Driver !! colspan=2 | Points
|-
! Sprint !! Race
|-
| {{flagicon|FIN}} [[Mika Aho|Aho]]{{efn|Late}} || {{nts|1200}} || {{nowrap|1 May 1999}}
|-
| {{sortname|Ann|Lee}} || 12{{dagger}} || {{dts|1999|6|2}}
|-
| Bo || {{formatnum:1500}} || {{mystery|3|x}} 7
|-
| Cy || {{convert|5|km}} || {{sort|03|3 June 1999}}
|}"""


def dump_of(text: str) -> bytes:
    escaped = text.replace("&", "&amp;").replace("<", "&lt;")
    page = f"<page><title>Races</title><ns>0</ns><revision><text>{escaped}</text></revision></page>"
    return f"<mediawiki>{page}</mediawiki>".encode()


def test_templates_in_cells_say_what_they_show_or_leave_the_cell_empty(tmp_path: Path) -> None:
    pytest.importorskip("wikitextparser")
    path = tmp_path / "dump.xml"
    path.write_bytes(dump_of(WIKI))
    (table,) = [
        found.table
        for found in found_tables(read_source(MediawikiSource(path=path)))
        if found.table
    ]
    assert table.names == ("Driver", "Points Sprint", "Points Race")
    assert table.cells("Driver") == ["Aho", "Ann Lee", "Bo", "Cy"]
    assert table.cells("Points Sprint") == ["1200", "12", "1500", "5 km"]
    assert table.cells("Points Race") == ["1 May 1999", "1999-06-02", "", "3 June 1999"]


CELLS = [
    ("1<br/>2", "1 2"),
    ("<s>3</s> 4", "4"),
    ("<ref name=a/>5<!-- six -->", "5"),
    ("[[File:x.png|20px]] [[Lake Nom|Nom]]", "Nom"),
    ("[http://x.example y]", "y"),
    ("'''7'''", "7"),
    ('data-sort-value="9" | 8', "8"),
    ("&nbsp;9&nbsp;km", "9 km"),
    ("rowspan=99999 colspan=99999 | 1", "1"),
    ("{{a|{{b}}}}", ""),
]


@pytest.mark.parametrize(("wikitext", "text"), CELLS)
def test_cells_of_wikis_are_read_as_they_are_shown(wikitext: str, text: str) -> None:
    pytest.importorskip("wikitextparser")
    from wideseek_data.sources.wikitext import wikitext_as_markdown

    table = f"x\n{{|\n! A !! B\n|-\n| n || m\n|-\n| key || {wikitext}\n|}}\ny"
    lines = wikitext_as_markdown(table).splitlines()
    assert next(line for line in lines if line.startswith("| key |")).split("|")[2].strip() == text


def test_a_section_that_is_a_table_and_nothing_else_is_read() -> None:
    pytest.importorskip("wikitextparser")
    from wideseek_data.sources.wikitext import wikitext_as_markdown

    table = "{|\n! A !! B\n|-\n| 1 || 2\n|}"
    text = wikitext_as_markdown(f"{table}\n== S ==\n{table.replace('1', '3')}")
    assert "| 1 | 2 |" in text
    assert text.index("## S") < text.index("| 3 | 2 |")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no XML",
        b'<?xml version="1.0" encoding="nobodys"?><mediawiki></mediawiki>',
        b"<mediawiki><page><title>&nbsp;</title></page></mediawiki>",
        b"<mediawiki>\x00</mediawiki>",
        b"<mediawiki><page></mediawiki>",
    ],
)
def test_files_that_are_no_dumps_are_named(tmp_path: Path, content: bytes) -> None:
    pytest.importorskip("wikitextparser")
    path = tmp_path / "dump.xml"
    path.write_bytes(content)
    with pytest.raises(CorruptFile, match=r"dump\.xml: not a MediaWiki dump"):
        read_source(MediawikiSource(path=path))


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_dumps_that_were_cut_off_are_named(tmp_path: Path, share: float) -> None:
    pytest.importorskip("wikitextparser")
    for name, content in (("a.xml", dump_of(WIKI)), ("a.xml.bz2", bz2.compress(dump_of(WIKI)))):
        path = tmp_path / name
        path.write_bytes(content[: int(len(content) * share)])
        with pytest.raises(CorruptFile, match="not a MediaWiki dump") as caught:
            read_source(MediawikiSource(path=path))
        assert "\n" not in str(caught.value)


def test_chinese_tables_have_keys_types_and_dates(tmp_path: Path) -> None:
    (tmp_path / "湖泊.csv").write_text(
        "名称,面积（平方公里）,最深（米）,保护区设立\n青海湖,4489,32.8,1975年\n鄱阳湖,3150,25.1,1983年5月\n"
        "洞庭湖,2625,18.7,1982年3月12日\n太湖,2427,2.6,1982年\n總計,12691,-,-\n",
        "utf-8",
    )
    (table,) = tables_below(tmp_path)
    assert table.key == "名称"
    assert [column.type for column in table.columns] == ["text", "number", "number", "date"]
    assert table.totals == 1
    assert table.size(2, "保护区设立") > table.size(3, "保护区设立")  # type: ignore[operator]
