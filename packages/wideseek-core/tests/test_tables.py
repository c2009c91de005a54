import pytest
from hypothesis import given
from hypothesis import strategies as st

from wideseek_core import DataError
from wideseek_core.tables import MarkdownTable, around_table, find_tables, parse_csv, parse_table

PIECES = (
    "|",
    "\n",
    "| a | b |\n",
    "|---|---|\n",
    "> ",
    "- ",
    "｜",
    "│",
    "├───┤",
    "+--+",
    "```\n",
    "\\|",
    "=",
)
SMALL = MarkdownTable(columns=("a", "b"), rows=(("1", "2"),))


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
    assert parse_table(text) == SMALL


@pytest.mark.parametrize(
    "rule",
    [
        "|---+---|",
        "|===|===|",
        "|——|——|",
        "|—|—|",
        "|––|––|",
        "|--+--|",
        "|:---:+:---:|",
        "|===+===|",
        "+---+---+",
        "+===+===+",
        "|___|___|",
        "|- - -|- - -|",
        "|－－|－－|",
        "|───|───|",
        "├───┼───┤",
        "｜---｜---｜",
        "| :-: | -: |",
        "|：---|：---|",
        "|---|---",
        "---|---",
        "---+---",
    ],
)
def test_a_rule_is_no_row(rule: str) -> None:
    table = parse_table(f"| a | b |\n{rule}\n| 1 | 2 |")
    if rule == "---+---":  # no pipe at all: a line of text
        assert table is None
    else:
        assert table == SMALL


@pytest.mark.parametrize(
    "row", ["| + | - |", "|+|-|", "| = 5 | - |", "| -5 | - |", "| ± | - |", "| x | --- |"]
)
def test_a_row_with_signs_is_no_rule(row: str) -> None:
    table = parse_table(f"| a | b |\n|---|---|\n{row}")
    assert table is not None
    assert table.rows == (tuple(cell.strip() for cell in row.strip("|").split("|")),)


@pytest.mark.parametrize(
    "text",
    [
        "> | a | b |\n> |---|---|\n> | 1 | 2 |",
        ">| a | b |\n>|---|---|\n>| 1 | 2 |",
        "> > | a | b |\n> > |---|---|\n> > | 1 | 2 |",
        "> a | b\n> --- | ---\n> 1 | 2",
        "> Result:\n>\n> | a | b |\n> |---|---|\n> | 1 | 2 |\n>\n> Done.",
        "> ```markdown\n> | a | b |\n> |---|---|\n> | 1 | 2 |\n> ```",
        "- | a | b |\n  |---|---|\n  | 1 | 2 |",
        "1. | a | b |\n   |---|---|\n   | 1 | 2 |",
        "* | a | b |\n* |---|---|\n* | 1 | 2 |",
        "> - | a | b |\n>   |---|---|\n>   | 1 | 2 |",
        "1. Table:\n\n    ```markdown\n    | a | b |\n    |---|---|\n    | 1 | 2 |\n    ```",
        "| a | b |\n> |---|---|\n> | 1 | 2 |",  # lazy lines of a quote
    ],
)
def test_tables_in_quotes_and_lists_are_read(text: str) -> None:
    assert parse_table(text) == SMALL


@pytest.mark.parametrize(
    "text",
    [
        "｜ a ｜ b ｜\n|---|---|\n｜ 1 ｜ 2 ｜",
        "| a | b |\n|---|---|\n| 1 ｜ 2 |",
        "| a ｜ b |\n|---|---|\n| 1 | 2 |",
        "| a | b |\n|---|---|\n｜ 1 | 2 ｜",
        "│ a │ b │\n├───┼───┤\n│ 1 │ 2 │",
        "┌───┬───┐\n│ a │ b │\n├───┼───┤\n│ 1 │ 2 │\n└───┴───┘",
        "┏━━━┳━━━┓\n┃ a ┃ b ┃\n┡━━━╇━━━┩\n│ 1 │ 2 │\n└───┴───┘",
        "+---+---+\n| a | b |\n+===+===+\n| 1 | 2 |\n+---+---+",
    ],
)
def test_other_pipes_and_grids_are_read(text: str) -> None:
    assert parse_table(text) == SMALL


def test_a_full_width_pipe_in_a_row_of_the_right_width_is_text() -> None:
    table = parse_table("| a | b |\n|---|---|\n| x｜y | 2 |")
    assert table is not None
    assert table.rows == (("x｜y", "2"),)


def test_marks_that_are_cells_stay_cells() -> None:
    table = parse_table("a | b | c\n--- | --- | ---\n- | 5 | 6\n> 5 | 6 | 7")
    assert table is not None
    assert table.rows == (("-", "5", "6"), ("> 5", "6", "7"))


def test_rules_below_every_row_are_decoration() -> None:
    text = "| a | b |\n|---|---|\n| 1 | 2 |\n|---|---|\n| 3 | 4 |\n|---|---|"
    assert find_tables(text) == [
        MarkdownTable(columns=("a", "b"), rows=(("1", "2"), ("3", "4"))),
    ]


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
    table = MarkdownTable(columns=("a",), rows=(("1",),))
    assert parse_table("| a |\n|---|\n| 1 |") == table


def test_a_header_alone_is_a_table_without_rows() -> None:
    assert parse_table("| a | b |\n|---|---|") == MarkdownTable(columns=("a", "b"), rows=())


def test_two_tables_are_distinguished() -> None:
    text = "| a | b |\n|---|---|\n| 1 | 2 |\n\n| c |\n|---|\n| 3 |"
    assert [table.columns for table in find_tables(text)] == [("a", "b"), ("c",)]


def test_two_tables_without_a_gap_are_distinguished_by_their_rules() -> None:
    text = "| a | b |\n|---|---|\n| 1 | 2 |\n| c | d |\n|---|---|\n| 3 | 4 |"
    assert [table.columns for table in find_tables(text)] == [("a", "b"), ("c", "d")]


def test_a_written_table_is_read_back() -> None:
    table = MarkdownTable(columns=("a", "b|c"), rows=(("1", ""), ("x|y", "2")))
    assert parse_table(table.markdown()) == table


def test_csv_with_a_byte_order_mark_is_read() -> None:
    table = parse_csv('\ufeffName,Note\nAda,"a, b"\nBob,\n')
    assert table == MarkdownTable(columns=("Name", "Note"), rows=(("Ada", "a, b"), ("Bob", "")))


def test_csv_cells_may_hold_line_breaks() -> None:
    assert parse_csv('a,b\n"x\ny",2\n') == MarkdownTable(columns=("a", "b"), rows=(("x\ny", "2"),))


def test_empty_csv_has_no_table() -> None:
    assert parse_csv("\n\n") is None


def test_a_cell_beyond_the_limit_of_csv_is_a_data_error() -> None:
    with pytest.raises(DataError, match="not CSV"):
        parse_csv("a\n" + "x" * 200_000)


CELL = st.text(alphabet="ab1 ->|｜+=*#.│", max_size=6).map(str.strip)


@given(st.lists(st.tuples(CELL, CELL, CELL), max_size=6))
def test_any_written_table_is_read_back(rows: list[tuple[str, str, str]]) -> None:
    # Rows of dashes alone are rules to every reader, and rows of nothing are no rows.
    kept = (row for row in rows if any(cell.strip(" -=+|｜│") for cell in row))
    cells = tuple(tuple(" ".join(cell.split()) for cell in row) for row in kept)
    table = MarkdownTable(columns=("x", "y", "z"), rows=cells)
    assert parse_table(table.markdown()) == table


@given(st.lists(st.sampled_from(PIECES) | st.text(max_size=5), max_size=40).map("".join))
def test_any_text_has_well_formed_tables(text: str) -> None:
    for table in find_tables(text):
        assert table.columns
        assert all(len(row) == len(table.columns) for row in table.rows)


@pytest.mark.parametrize(
    ("text", "before", "after"),
    [
        ("a\n\n| x |\n|---|\n| 1 |\n\nb", "a", "b"),
        ("a\n```markdown\n| x |\n|---|\n| 1 |\n```\nb", "a", "b"),
        ("a\n\n~~~\n\n| x |\n|---|\n| 1 |\n\n~~~\n\nb\nc", "a", "b\nc"),
        ("```\n| x |\n|---|\n| 1 |", "", ""),
        ("| a |\n|---|\n| 1 |\n\nmid\n\n| x |\n|---|\n| 1 |", "| a |\n|---|\n| 1 |\n\nmid", ""),
        ("true | false is prose\n\n| x |\n|---|\n| 1 |", "true | false is prose", ""),
        (
            "```py\ncode\n```\n| x |\n|---|\n| 1 |\n```py\nmore\n```",
            "```py\ncode\n```",
            "```py\nmore\n```",
        ),
        ("no table", "no table", ""),
        ("a\r\n| x |\r\n|---|\r\n| 1 |\r\nb", "a", "b"),
    ],
)
def test_the_text_around_a_table(text: str, before: str, after: str) -> None:
    assert around_table(text) == (before, after)
