"""Every official preprocess and metric function; the numbered quirks are those of the README."""

import pytest

from wideseek_core import ColumnRule

pytest.importorskip("pandas")
pytest.importorskip("dateparser")

from wideseek_judge.official_rules import decide, preprocess


@pytest.mark.parametrize(
    ("value", "number"),
    [
        ("5", "5"),
        ("about 1,234.5 km", "1234.5"),
        ("12%", "12%"),
        ("12.5% of 40", "12.5%"),
        ("-3 to 5", "-3"),
        ("+7", "+7"),
        (".5", ".5"),
        ("5.", "5."),
        ("1,2", "12"),
        ("none", "NULL"),
        ("", "NULL"),
        ("nan", "NULL"),
        ("2003-01-05", "2003"),
        ("3 million", "3"),
    ],
)
def test_extract_number(value: str, number: str) -> None:
    assert preprocess(value, ("extract_number",)) == number


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (" New York ", "newyork"),
        ("**Bold**", "bold"),
        ("U.S.", "u.s."),
        ("Zürich", "zürich"),
        ("a\tb", "a\tb"),
        ("", ""),
    ],
)
def test_norm_str(value: str, text: str) -> None:
    assert preprocess(value, ("norm_str",)) == text


@pytest.mark.parametrize(
    ("value", "date"),
    [
        ("5 January 2003", "2003-01-05"),
        ("January 5, 2003", "2003-01-05"),
        ("2003-01-05", "2003-01-05"),
        ("January 2003", "2003-01-01"),
        ("2003年1月5日", "2003-01-05"),
        ("Unaired in U.S", "Unaired in U.S"),
        ("-", "-"),
        ("", ""),
    ],
)
def test_norm_date(value: str, date: str) -> None:
    assert preprocess(value, ("norm_date",)) == date


def test_preprocess_functions_run_in_order() -> None:
    assert preprocess("A 5 B", ("norm_str", "extract_number")) == "5"
    assert preprocess("none", ("extract_number", "norm_str")) == "null"


def test_unknown_functions_are_errors() -> None:
    with pytest.raises(KeyError):
        preprocess("x", ("norm_all",))
    with pytest.raises(KeyError):
        decide("rouge", ColumnRule(), "x", "x")


@pytest.mark.parametrize(
    ("metric", "answer", "gold", "score"),
    [
        ("exact_match", "Paris", "paris", 1.0),
        ("exact_match", "Paris", "Paris ", 0.0),
        ("exact_match", "5", "5.0", 0.0),
        ("exact_match", "", "", 1.0),
        ("in_match", "Paris", "Paris, France", 1.0),
        ("in_match", "paris", "Paris, France", 0.0),
        ("in_match", "Paris, France", "Paris", 0.0),
        ("in_match", "", "Paris", 1.0),  # quirk 9
        ("url_match", "https://a.org/x", "http://a.org/y", 1.0),
        ("url_match", "https://a.org", "https://b.org", 0.0),
        ("url_match", "https://a.org https://b.org", "https://b.org https://a.org", 1.0),
        ("url_match", "https://www.a.org", "https://a.org", 0.0),
        ("url_match", "https://A.org", "https://a.org", 0.0),
        ("url_match", "https://a.org", "none", 0.0),
        ("url_match", "one thing", "another", 1.0),  # quirk 10
        ("url_match", "a.org", "b.org", 1.0),  # quirk 10
        ("date_near", "5 January 2003", "2003-01-31", 1.0),
        ("date_near", "5 January 2003", "5 February 2003", 1.0),  # 31 days
        ("date_near", "5 January 2003", "6 February 2003", 0.0),  # 32 days
        ("date_near", "January 2003", "20 January 2003", 1.0),
        ("date_near", "5 January 2003", "unknown place", 0.0),
        ("date_near", "never aired", "Unaired in U.S", 1.0),  # quirk 8
    ],
)
def test_metrics(metric: str, answer: str, gold: str, score: float) -> None:
    assert decide(metric, ColumnRule(), answer, gold).score == score


@pytest.mark.parametrize(
    ("answer", "gold", "tolerance", "score"),
    [
        ("100", "100", 0.0, 1.0),
        ("105", "100", 0.05, 1.0),
        ("106", "100", 0.05, 0.0),
        ("95", "100", 0.05, 1.0),
        ("-95", "-100", 0.05, 1.0),
        ("0", "0", 0.1, 1.0),
        ("0.001", "0", 0.1, 0.0),
        ("12%", "0.12", 0.0, 1.0),
        ("12%", "12", 0.1, 0.0),
        ("12%", "12.5%", 0.05, 1.0),
        ("1,000", "1000", 0.1, 0.0),  # commas are not dropped here
        ("NULL", "NULL", 0.1, 1.0),
        ("NULL", "null", 0.1, 0.0),
        ("NULL", "5", 0.1, 0.0),
        ("nan", "nan", 0.1, 0.0),  # float("nan") is a number
        ("five", "five", 0.1, 1.0),
    ],
)
def test_number_near(answer: str, gold: str, tolerance: float, score: float) -> None:
    rule = ColumnRule(metric=("number_near",), criterion=tolerance)
    assert decide("number_near", rule, answer, gold).score == score


def test_number_near_needs_a_tolerance_that_is_a_number() -> None:
    for criterion in (None, "within 5%"):
        with pytest.raises(TypeError):
            decide("number_near", ColumnRule(criterion=criterion), "5", "5")
