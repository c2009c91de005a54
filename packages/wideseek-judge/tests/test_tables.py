import pytest

from wideseek_judge import Table, choose_table, column_name, find_tables, parse_csv, parse_table

ONE = Table(columns=("a", "b"), rows=(("1", "2"),))


@pytest.mark.parametrize(
    "text",
    [
        "| a | b |\n|---|---|\n| 1 | 2 |",
        "```markdown\n| a | b |\n|---|---|\n| 1 | 2 |\n```",
        "```\n| a | b |\n|---|---|\n| 1 | 2 |\n```",
        "~~~md\n| a | b |\n|---|---|\n| 1 | 2 |\n~~~",
        "```markdown\n| a | b |\n|---|---|\n| 1 | 2 |",  # the fence is never closed
        "Here it is:\n\n| a | b |\n|:--|--:|\n| 1 | 2 |\n\nDone.",
        "a | b\n--- | ---\n1 | 2",
        "| a | b |\r\n|---|---|\r\n| 1 | 2 |\r\n",
        "\ufeff| a | b |\n|---|---|\n| 1 | 2 |",
        "｜ a ｜ b ｜\n|---|---|\n｜ 1 ｜ 2 ｜",
        "| a | b |\n|---|---|\n|---|---|\n| 1 | 2 |",
        "| a | b |\n|---|---|\n| | |\n| 1 | 2 |",
        "| a | b |\n| 1 | 2 |",  # no rule, but every line is a row
        "  | a | b |\n  |---|---|\n  | 1 | 2 |",
        "| a | b |\n|---|---|\n| 1 | 2 | 3 |",  # surplus cells are dropped
        "```markdown\n| a | b |\n|---|---|\n\n| 1 | 2 |\n```",  # a gap inside a fence
        "|a|b|\n|-|-|\n|1|2|",
        "> ```markdown\n| a | b |\n|---|---|\n| 1 | 2 |\n> ```",
    ],
)
def test_one_table_is_read_however_it_is_written(text: str) -> None:
    assert parse_table(text) == ONE


@pytest.mark.parametrize(
    "text", ["", "no table", "a | b", "|", "||||", "```markdown\n```", "|---|---|", "x\n---\ny"]
)
def test_text_without_a_table_has_none(text: str) -> None:
    assert parse_table(text) is None


def test_short_rows_are_filled_with_empty_cells() -> None:
    table = parse_table("| a | b | c |\n|---|---|---|\n| 1 |\n| 1 | 2 |")
    assert table is not None
    assert table.rows == (("1", "", ""), ("1", "2", ""))


def test_an_empty_first_cell_stays_where_it_is() -> None:
    table = parse_table("| a | b |\n|---|---|\n|  | 2 |")
    assert table is not None
    assert table.rows == (("", "2"),)


def test_escaped_pipes_are_part_of_the_cell() -> None:
    table = parse_table("| a | b |\n|---|---|\n| x\\|y | 2 |")
    assert table is not None
    assert table.rows == (("x|y", "2"),)


def test_a_pipe_behind_an_escaped_backslash_ends_the_cell() -> None:
    table = parse_table("| a | b |\n|---|---|\n| x\\\\| 2 |")
    assert table is not None
    assert table.rows == (("x\\\\", "2"),)


def test_breaks_and_entities_become_text() -> None:
    table = parse_table("| a | b |\n|---|---|\n| x<br/>y | R&amp;D |")
    assert table is not None
    assert table.rows == (("x y", "R&D"),)


def test_repeated_headers_get_a_count() -> None:
    table = parse_table("| a | a | a |\n|---|---|---|\n| 1 | 2 | 3 |")
    assert table is not None
    assert table.columns == ("a", "a.1", "a.2")


def test_one_column_is_a_table() -> None:
    assert parse_table("| a |\n|---|\n| 1 |") == Table(columns=("a",), rows=(("1",),))


def test_a_header_alone_is_a_table_without_rows() -> None:
    assert parse_table("| a | b |\n|---|---|") == Table(columns=("a", "b"), rows=())


def test_two_tables_are_told_apart() -> None:
    text = "| a | b |\n|---|---|\n| 1 | 2 |\n\n| c |\n|---|\n| 3 |"
    assert [table.columns for table in find_tables(text)] == [("a", "b"), ("c",)]


def test_two_tables_without_a_gap_are_told_apart_by_their_rules() -> None:
    text = "| a | b |\n|---|---|\n| 1 | 2 |\n| c | d |\n|---|---|\n| 3 | 4 |"
    assert [table.columns for table in find_tables(text)] == [("a", "b"), ("c", "d")]


def test_the_last_table_with_the_required_columns_is_chosen() -> None:
    text = (
        "| a | b |\n|---|---|\n| 1 | 2 |\n\n| a | b |\n|---|---|\n| 3 | 4 |\n\n| c |\n|---|\n| x |"
    )
    table = choose_table(text, ["a", "b"])
    assert table is not None
    assert table.rows == (("3", "4"),)


@pytest.mark.parametrize(
    ("name", "normal"),
    [
        ("Name", "name"),
        (" Directed by ", "directedby"),
        ("**Name**", "name"),
        ("Ａｒｅａ", "area"),
        ("Area (km²)", "area(km2)"),
    ],
)
def test_column_names_have_a_normal_form(name: str, normal: str) -> None:
    assert column_name(name) == normal


def test_csv_with_a_byte_order_mark_is_read() -> None:
    table = parse_csv('\ufeffName,Note\nAda,"a, b"\nBob,\n')
    assert table == Table(columns=("Name", "Note"), rows=(("Ada", "a, b"), ("Bob", "")))


def test_csv_cells_may_hold_line_breaks() -> None:
    assert parse_csv('a,b\n"x\ny",2\n') == Table(columns=("a", "b"), rows=(("x\ny", "2"),))


def test_empty_csv_has_no_table() -> None:
    assert parse_csv("\n\n") is None
