import pytest

from wideseek_judge.rules.candidate_rows import candidate_pairs

GOLD = [("Vienna", "Danube", "blue"), ("Cairo", "Nile", "white"), ("Bonn", "Rhine", "grey")]


def guessed(rows: list[tuple[str, ...]], *certain: dict[str, str]) -> list[tuple[str, str]]:
    keys = tuple(range(len(certain)))
    return [(row[0], gold[0]) for row, gold in candidate_pairs(rows, GOLD, keys, certain)]


def test_rows_of_certain_keys_come_first() -> None:
    rows = [("Wien", "x", "y"), ("Bonn", "x", "y")]
    assert guessed(rows, {"Wien": "Vienna"}) == [("Wien", "Vienna"), ("Bonn", "Bonn")]


@pytest.mark.parametrize(
    ("row", "name"),
    [
        (("city of Bonn", "x", "y"), "Bonn"),  # by its letters
        (("Q1741", "Danube", "blue"), "Vienna"),  # by its other cells
        (("Kairo", "Nil", "y"), "Cairo"),
    ],
)
def test_an_open_row_goes_to_the_reference_most_like_it(row: tuple[str, ...], name: str) -> None:
    assert guessed([row], {}) == [(row[0], name)]


def test_what_is_taken_for_certain_is_not_guessed() -> None:
    rows = [("Bonn", "x", "y"), ("Bonn am Rhein", "x", "y")]
    assert ("Bonn am Rhein", "Bonn") not in guessed(rows, {})


def test_a_row_that_is_like_none_is_left_out() -> None:
    assert guessed([("Zzz", "qqq", "www")], {}) == []


def test_no_rows_no_references_and_empty_cells_are_fine() -> None:
    assert guessed([], {}) == []
    assert candidate_pairs([("a", "b")], [], (0,), [{}]) == []
    assert candidate_pairs([("", "")], [("", "x"), ("y", "")], (0, 1), [{}, {}]) != []


def test_several_keys_name_a_row_together() -> None:
    rows = [("Vienna", "Donau", "y")]
    assert guessed(rows, {}, {"Donau": "Danube"}) == [("Vienna", "Vienna")]


def test_huge_tables_are_not_guessed() -> None:
    rows = [(f"a{at}", "x") for at in range(200)]
    gold = [(f"b{at}", "x") for at in range(200)]
    assert candidate_pairs(rows, gold, (0,), [{}]) == []
