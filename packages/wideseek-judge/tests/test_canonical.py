import pytest

from wideseek_judge.text.canonical import canonical, fold, is_empty, plain, same, surely_differ
from wideseek_judge.text.dates import parse_date, read_date
from wideseek_judge.text.numbers import first_number, parse_number


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Paris", "paris"),
        (" Paris ", "Paris"),
        ("**Paris**", "Paris"),
        ("`Paris`", "Paris"),
        ("[Paris](https://example.org/p)", "Paris"),
        ("Paris[1]", "Paris"),
        ("Ｐａｒｉｓ", "Paris"),
        ("São Paulo", "Sao Paulo"),
        ("Bloch-Chambers", "Bloch Chambers"),
        ("U.S.A.", "USA"),
        ("Research & Development", "Research and Development"),
        ("“Heist”", '"Heist"'),
        ("O’Brien", "O'Brien"),
        ("3–2", "3-2"),
        ("1,260", "1260"),
        ("1,260", "1260.0"),
        ("1 260", "1260"),
        ("+5", "5"),
        ("−5", "-5"),
        ("5 km²", "5 km2"),
        ("5 km", "5"),
        ("25%", "25"),
        ("$3.5 million", "3500000"),
        ("1.1 million", "1100000"),
        ("3万", "30000"),
        ("21st", "21"),
        ("1e3", "1000"),
        ("2003-01-05", "5 January 2003"),
        ("January 5, 2003", "5 Jan 2003"),
        ("Jan. 5th, 2003", "2003/1/5"),
        ("2003年1月5日", "2003-01-05"),
        ("Sunday, 5 January 2003", "2003-01-05"),
        ("2003-01-05T10:00:00Z", "2003-01-05"),
        ("05.01.2003", "2003-01-05"),
        ("13/01/2003", "2003-01-13"),
        ("January 2003", "2003年1月"),
        ("-", "N/A"),
        ("", "—"),
        ("None", "null"),
    ],
)
def test_values_that_mean_the_same(one: str, other: str) -> None:
    assert same(one, other)
    assert same(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Paris", "Lyon"),
        ("C", "C++"),
        ("C", "C#"),
        ("A+", "A-"),
        ("A", "A-"),
        ("3-2", "32"),
        ("5 km", "5 m"),
        ("5", "6"),
        ("0.25", "25%"),
        ("January 2003", "2003-01-05"),
        ("2003", "January 2003"),
        ("1987-88", "1988"),
        ("ガ", "カ"),
        ("5", ""),
        ("007", "7"),
        ("!!!", "???!"),
        ("5 January 2003", "6 January 2003"),
    ],
)
def test_values_that_do_not_mean_the_same(one: str, other: str) -> None:
    assert not same(one, other)


@pytest.mark.parametrize(
    ("one", "other", "differ"),
    [
        ("5", "6", True),
        ("5 km", "3 miles", False),  # units might make up for it
        ("2003-01-05", "2003-01-06", True),
        ("2003-01", "2003-01-06", False),  # one says less
        ("", "Paris", True),
        ("none known", "-", False),  # says so in words
        ("Paris", "City of Light", False),
        ("Paris", "paris", False),
    ],
)
def test_only_plain_values_differ_surely(one: str, other: str, differ: bool) -> None:
    assert surely_differ(one, other) is differ


@pytest.mark.parametrize(
    ("text", "value", "unit"),
    [
        ("5", 5.0, ""),
        ("-5.25", -5.25, ""),
        (".5", 0.5, ""),
        ("~1,000", 1000.0, ""),
        ("€12", 12.0, ""),
        ("12 %", 12.0, "%"),
        ("100 km/h", 100.0, "km/h"),
        ("2.5 billion", 2.5e9, ""),
        ("1.2e-3", 0.0012, ""),
        ("35 years", 35.0, "years"),
    ],
)
def test_numbers_are_read_with_their_units(text: str, value: float, unit: str) -> None:
    number = parse_number(text)
    assert number is not None
    assert (number.value, number.unit) == (value, unit)


@pytest.mark.parametrize(
    "text", ["", "five", "5 Guys", "3 Doors Down", "1-2", "1,26", "007", "5 5"]
)
def test_other_texts_are_no_numbers(text: str) -> None:
    assert parse_number(text) is None


@pytest.mark.parametrize(
    ("text", "value"),
    [("about 1,234 people", 1234.0), ("12.5% of", 0.125), ("none", None), ("-3 to 5", -3.0)],
)
def test_the_first_number_in_a_text(text: str, value: float | None) -> None:
    assert first_number(text) == value


@pytest.mark.parametrize(
    "text", ["03/04/2003", "2003", "May", "2003-13-01", "31 February 2003", ""]
)
def test_ambiguous_and_impossible_dates_are_not_read(text: str) -> None:
    assert parse_date(text) is None


@pytest.mark.parametrize(
    ("text", "date"),
    [
        ("2003", "2003"),
        ("2003-04", "2003-04"),
        ("5 January 2003 in London", None),
        ("Released 5 January 2003", None),
        ("January 5 2003 10:30 PM", "2003-01-05"),
        ("soon", None),
    ],
)
def test_dates_with_less_or_more_are_read_without_a_clock(text: str, date: str | None) -> None:
    found = read_date(text)
    assert (None if found is None else str(found)) == date


def test_a_date_names_its_first_day() -> None:
    found = read_date("2003-04")
    assert found is not None
    assert found.first_day().isoformat() == "2003-04-01"


@pytest.mark.parametrize("text", ["", "-", "N/A", "none", "—", "NaN", "null", " n.a. "])
def test_ways_of_saying_nothing(text: str) -> None:
    assert is_empty(text)


@pytest.mark.parametrize("text", ["0", "no", "unknown", "x"])
def test_ways_of_saying_something(text: str) -> None:
    assert not is_empty(text)


def test_a_text_of_punctuation_keeps_it() -> None:
    assert fold("!!!") == "!!!"


def test_plain_drops_markup_and_invisible_letters() -> None:
    assert plain(" **a**<br>_b_ \u200b c ") == "a b c"


def test_canonical_forms_name_their_kind() -> None:
    assert [canonical(text) for text in ("-", "1,000", "5 May 2003", "Ünal")] == [
        "",
        "n:1000",
        "d:2003-05-05",
        "t:unal",
    ]
