"""Every official preprocess and metric function; the numbered quirks are those of the README."""

import datetime

import pytest

from wideseek_core import ColumnRule
from wideseek_judge.rules.official_functions import decide, preprocess


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
        ("1,234,567", "1234567"),
        ("$3.50", "3.50"),
        ("v1.2.3", "1.2"),
        ("1e5", "1"),
        ("-.5", "-.5"),
        ("12 %", "12"),
        ("100%.", "100%"),
        ("10-20", "10"),
        ("1 000", "1"),
        ("3,5 %", "35"),
        ("+ 5", "5"),
        ("１２ 人", "１２"),  # digits of any script count
        ("½", "NULL"),
        ("二十", "NULL"),
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
        ("nan", "nan"),
        ("** x **", "x"),
        ("ＮＥＷ", "ｎｅｗ"),
        ("\u3000x\u3000", "x"),
        ("a\u3000b", "a\u3000b"),
        ("a\u00a0b", "a\u00a0b"),
        ("Straße 5", "straße5"),
        ("-", "-"),
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
        ("2003/01/05", "2003-01-05"),
        ("5 January 2003 10:30", "2003-01-05"),
        ("29 February 2004", "2004-02-29"),
        ("12 mars 2004", "2004-03-12"),
        ("2003年1月", "2003-01-01"),
        ("江门", "江门"),
    ],
)
def test_norm_date(value: str, date: str) -> None:
    assert preprocess(value, ("norm_date",)) == date


def test_what_a_date_leaves_unsaid_may_come_from_the_day_of_the_run() -> None:
    # quirk 12: the month is that of today.
    months = [datetime.date.today().month]
    found = preprocess("2003", ("norm_date",))
    months.append(datetime.date.today().month)
    assert found in {f"2003-{month:02d}-01" for month in months}


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
        ("exact_match", "NaN", "nan", 1.0),
        ("exact_match", "ÉCOLE", "école", 1.0),
        ("exact_match", "STRASSE", "Straße", 0.0),
        ("exact_match", "５", "5", 0.0),
        ("exact_match", "江海区", "江海区", 1.0),
        ("exact_match", "a", "", 0.0),
        ("in_match", "Paris", "Paris, France", 1.0),
        ("in_match", "paris", "Paris, France", 0.0),
        ("in_match", "Paris, France", "Paris", 0.0),
        ("in_match", "", "Paris", 1.0),  # quirk 9
        ("in_match", "nan", "banana", 1.0),  # an empty cell is "nan" by then
        ("in_match", "", "", 1.0),
        ("in_match", "Paris", "", 0.0),
        ("in_match", "5", "15", 1.0),
        ("in_match", "巴黎", "法国巴黎", 1.0),
        ("url_match", "https://a.org/x", "http://a.org/y", 1.0),
        ("url_match", "https://a.org", "https://b.org", 0.0),
        ("url_match", "https://a.org https://b.org", "https://b.org https://a.org", 1.0),
        ("url_match", "https://www.a.org", "https://a.org", 0.0),
        ("url_match", "https://A.org", "https://a.org", 0.0),
        ("url_match", "https://a.org", "none", 0.0),
        ("url_match", "one thing", "another", 1.0),  # quirk 10
        ("url_match", "a.org", "b.org", 1.0),  # quirk 10
        ("url_match", "http://a.org:80", "http://a.org", 0.0),
        ("url_match", "http://[bad", "http://[bad", 1.0),
        ("url_match", "http://[bad", "1000", 0.0),
        ("url_match", "http://[bad]x/y", "https://u@[bad]x", 1.0),
        ("url_match", "http://[bad/x", "http://[bad/y", 1.0),
        ("url_match", "http:///x", "http:///x", 1.0),
        ("url_match", "http:///x", "http:///y", 0.0),
        ("url_match", "http:///x http://a.org", "http://a.org", 1.0),
        ("url_match", "http://me@a.org", "http://a.org", 0.0),
        ("url_match", "[A](https://a.org/x)", "https://a.org", 1.0),
        ("url_match", "[A](https://a.org)", "https://a.org", 0.0),  # the host keeps its bracket
        ("url_match", "见https://a.org。", "https://a.org", 1.0),
        ("url_match", "https://a.org https://a.org/2", "https://a.org", 1.0),
        ("url_match", "https://a.org,https://b.org", "https://a.org", 0.0),  # one odd address
        ("url_match", "ftp://a.org", "ftp://b.org", 1.0),  # none at all
        ("url_match", "HTTP://a.org", "HTTP://b.org", 1.0),  # none at all
        ("url_match", "", "nan", 1.0),
        ("date_near", "5 January 2003", "2003-01-31", 1.0),
        ("date_near", "5 January 2003", "5 February 2003", 1.0),  # 31 days
        ("date_near", "5 January 2003", "6 February 2003", 0.0),  # 32 days
        ("date_near", "January 2003", "20 January 2003", 1.0),
        ("date_near", "5 January 2003", "unknown place", 0.0),
        ("date_near", "never aired", "Unaired in U.S", 1.0),  # quirk 8
        ("date_near", "5 February 2003", "5 January 2003", 1.0),
        ("date_near", "1 March 2004", "1 February 2004", 1.0),  # 29 days
        ("date_near", "December 2002", "2003-01-01", 1.0),  # 31 days
        ("date_near", "2003年1月5日", "January 5, 2003", 1.0),
        # 31 days and two hours: whole days are rounded down, so that the order matters.
        ("date_near", "2003-02-06 01:00", "2003-01-05 23:00", 1.0),
        ("date_near", "2003-01-05 23:00", "2003-02-06 01:00", 0.0),
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
        ("5e3", "5000", 0.0, 1.0),
        ("1_000", "1000", 0.0, 1.0),
        (" 5 ", "5", 0.0, 1.0),
        ("５", "5", 0.0, 1.0),
        ("-5", "5", 0.1, 0.0),
        ("90", "100", 0.1, 1.0),
        ("100", "90", 0.1, 0.0),  # relative to the reference
        ("0", "5", 1.0, 1.0),
        ("%", "%", 0.1, 1.0),
        ("12%%", "0.12", 0.0, 1.0),
        ("5 km", "5 km", 0.1, 1.0),
        ("5 km", "5 KM", 0.1, 0.0),
        ("", "", 0.1, 1.0),
        ("nan", "5", 0.1, 0.0),
        ("inf", "inf", 0.1, 0.0),
        ("1e400", "5", 0.1, 0.0),
    ],
)
def test_number_near(answer: str, gold: str, tolerance: float, score: float) -> None:
    rule = ColumnRule(metric=("number_near",), criterion=tolerance)
    assert decide("number_near", rule, answer, gold).score == score


def test_number_near_needs_a_tolerance_that_is_a_number() -> None:
    for criterion in (None, "within 5%"):
        with pytest.raises(TypeError):
            decide("number_near", ColumnRule(criterion=criterion), "5", "5")
