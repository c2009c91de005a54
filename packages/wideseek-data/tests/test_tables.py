"""Typed tables: values, keys, totals, and tables rebuilt from entry pages."""

import pytest

from wideseek_core.search import Page
from wideseek_data.sources.entry_pages import common_labels, read_entry_pages, split_labels
from wideseek_data.tables.build import NoTable, RawRow, RawTable, build_table, find_key
from wideseek_data.tables.table import ColumnType
from wideseek_data.tables.values import (
    date_precision,
    is_missing,
    normalized,
    read_amount,
    read_date,
    type_of,
)

from .moons import BASE, ROWS, moon_pages, moons


@pytest.mark.parametrize(
    ("cell", "size", "unit"),
    [
        ("12", 12, ""),
        ("1,234,567", 1234567, ""),
        ("1 420 436", 1420436, ""),
        ("-3.5", -3.5, ""),
        ("−4", -4, ""),
        ("42.7%", 42.7, "%"),
        ("1,158 km", 1158, "km"),
        ("107 km²", 107, "km²"),
        ("3rd", 3, ""),
        ("$1,200", 1200, "$"),
        ("US$3.5 million", 3.5e6, "US$"),
        ("€2 billion", 2e9, "€"),
    ],
)
def test_amounts_are_read(cell: str, size: float, unit: str) -> None:
    amount = read_amount(cell)
    assert amount is not None
    assert (amount.size, amount.unit) == (size, unit)


@pytest.mark.parametrize(
    "cell", ["", "-", "1,900 (estimated)", "24–22", "007", "7 1/2 inch", "3:39", "W 24-20", "1.2.3"]
)
def test_what_is_no_amount_as_a_whole_is_none(cell: str) -> None:
    assert read_amount(cell) is None


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        ("1998", "1999"),
        ("3 May 2009", "21 August 2009"),
        ("August 21, 2009", "February 7, 2010"),
        ("2009-08-21", "2010-02-07"),
        ("May 2001", "June 2001"),
        ("2009年8月21日", "2010年2月7日"),
    ],
)
def test_dates_grow_with_time(earlier: str, later: str) -> None:
    before, after = read_date(earlier), read_date(later)
    assert before is not None
    assert after is not None
    assert before < after


@pytest.mark.parametrize("cell", ["31 February 2001", "May", "12 Foo 2001", "Sept 11", "999"])
def test_what_is_no_date_is_none(cell: str) -> None:
    assert read_date(cell) is None


@pytest.mark.parametrize(
    ("name", "cells", "kind", "unit"),
    [
        ("Year", ["1998", "2001", "2004"], "date", ""),
        ("Length", ["1998", "2001", "2004"], "text", ""),
        ("Attendance", ["1,500", "31,837", "-", "900"], "number", ""),
        ("Attendance", ["1500", "31837", "900"], "number", ""),
        ("Height", ["10 m", "12 ft", "8 m"], "text", ""),
        ("Height", ["10 m", "12 m", "8 m"], "number", "m"),
        ("Gross", ["$1", "$2", "$3"], "money", "$"),
        ("Gross", ["$1", "€2", "$3"], "text", ""),
        ("Score", ["1", "2", "3 (aet)"], "text", ""),
        ("Score", ["1", "2"], "text", ""),
        ("Date", ["3 May 2009", "June 2010", "2011"], "date", ""),
    ],
)
def test_a_column_has_the_type_that_all_its_cells_share(
    name: str, cells: list[str], kind: str, unit: str
) -> None:
    assert type_of(name, cells) == (kind, unit)


def test_dates_of_different_precision_have_none() -> None:
    assert date_precision(["1998", "2001"]) == "year"
    assert date_precision(["3 May 1998", "4 June 2001", "-"]) == "day"
    assert date_precision(["3 May 1998", "2001"]) == ""


def test_text_is_normalized_without_case_accents_and_marks() -> None:
    assert normalized('"Šerbedžija", Rade!') == "serbedzija rade"
    assert is_missing("n/a")
    assert is_missing("—")
    assert not is_missing("0")


def test_the_key_is_the_first_unique_column_in_words() -> None:
    names = ("Rank", "Name", "Country")
    rows = [("1", "Ada", "UK"), ("2", "Bob", "US"), ("3", "Cid", "US")]
    assert find_key(names, rows) == "Name"
    assert find_key(("Rank", "Country"), [("1", "UK"), ("2", "US"), ("3", "US")]) == "Rank"
    assert find_key(("A", "B"), [("x", "y"), ("x", "y")]) == ""


def _raw(*rows: tuple[str, ...], key: str = "") -> RawTable:
    names = ("Nation", "Gold", "Silver")
    return RawTable(
        title="Games", names=names, rows=tuple(RawRow(cells=row) for row in rows), key=key
    )


def test_totals_and_repeated_headers_are_no_rows() -> None:
    table = build_table(
        _raw(
            ("Peru", "3", "1"),
            ("Chile", "2", "2"),
            ("Nation", "Gold", "Silver"),
            ("Cuba", "1", "0"),
            ("Total", "6", "3"),
        ),
        "t",
    )
    assert table.cells("Nation") == ["Peru", "Chile", "Cuba"]
    assert table.totals == 1
    assert not table.complete
    assert table.column("Gold").type is ColumnType.NUMBER


def test_names_that_begin_like_a_total_are_rows_unless_they_end_the_table() -> None:
    names = ("All Saints", "Total Recall", "Jaws", "Others Like Us", "Duel")
    rows = [(name, str(number), "1") for number, name in enumerate(names)]
    table = build_table(_raw(*rows), "t")
    assert (table.cells("Nation"), table.totals) == (list(names), 0)
    table = build_table(_raw(*rows, ("All nations", "9", "5"), ("Total votes:", "9", "6")), "t")
    assert (table.cells("Nation"), table.totals) == (list(names), 2)


def test_keys_that_differ_in_case_or_accents_alone_are_no_keys() -> None:
    rows = (("Perú", "3", "1"), ("PERU", "2", "2"), ("Cuba", "1", "0"))
    with pytest.raises(NoTable, match="unique"):
        build_table(_raw(*rows, key="Nation"), "t")


def test_short_tables_are_refused() -> None:
    with pytest.raises(NoTable, match="too few rows"):
        build_table(_raw(("Peru", "3", "1"), ("Cuba", "1", "0")), "t")


def test_a_table_is_rebuilt_from_its_entry_pages() -> None:
    table = moons()
    assert table.names == ("Moon", "No. in order", "Year", "Diameter", "Found by", "Group")
    assert [row.cells for row in table.rows] == list(ROWS)
    assert table.key == "Moon"
    assert table.section == "Large moons"
    assert table.url == f"{BASE}#Large_moons"
    assert table.rows[0].url == f"{BASE}/Ariel#Large_moons"
    assert table.column("Diameter").unit == "km"


def test_columns_that_some_entries_lack_are_gaps_there() -> None:
    texts = [
        "Year: 1998. Role: Ada.",
        "Year: 1999. Role: Bob. Notes: cut.",
        "Year: 2000. Notes: -.",
    ]
    labels = common_labels(texts)
    assert labels == ("Year", "Role", "Notes")
    assert split_labels(texts[0], labels) == ("1998", "Ada", "")
    assert split_labels(texts[2], labels) == ("2000", "", "-")


def test_colons_and_stops_inside_a_cell_stay_in_it() -> None:
    texts = [
        "Year: 1998. Title: Moons: A Story. Part 1. Role: Ada.",
        "Year: 1999. Title: Plain. Role: Bob.",
        "Year: 2000. Title: Dr. No. Role: Cid.",
        "Year: 2001. Title: End. Role: Dot.",
    ]
    assert split_labels(texts[0], common_labels(texts)) == ("1998", "Moons: A Story. Part 1", "Ada")
    assert split_labels(texts[2], common_labels(texts)) == ("2000", "Dr. No", "Cid")


def test_pages_of_other_kinds_are_left_alone() -> None:
    pages = [*moon_pages(), Page(url="https://moons.example/about", text="About this site.")]
    assert len(list(read_entry_pages(pages, "moons"))) == 1
    assert list(read_entry_pages(moon_pages()[:1], "moons")) == []
