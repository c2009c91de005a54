import pytest

from wideseek_judge import choose_table, column_name


def test_the_last_table_with_the_required_columns_is_chosen() -> None:
    text = (
        "| a | b |\n|---|---|\n| 1 | 2 |\n\n| a | b |\n|---|---|\n| 3 | 4 |\n\n| c |\n|---|\n| x |"
    )
    table = choose_table(text, ["a", "b"])
    assert table is not None
    assert table.rows == (("3", "4"),)


def test_names_match_as_they_are_written_if_that_is_asked_for() -> None:
    assert column_name(" **Directed by** ", normalize=False) == "Directed by"
    text = "| a b |\n|---|\n| 1 |\n\n| A B |\n|---|\n| 2 |\n\n| a b |\n|---|\n| 3 |\n\ntext"
    table = choose_table(text, ["A B"], normalize=False)
    assert table is not None
    assert table.rows == (("2",),)


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
