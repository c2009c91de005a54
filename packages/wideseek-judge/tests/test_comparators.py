import pytest

from wideseek_core import ColumnRule, DataError
from wideseek_core.comparators import COMPARATORS, PREPROCESS, check_rule
from wideseek_judge.rules import official_functions
from wideseek_judge.rules.comparators import decide, hosts, preprocess


@pytest.mark.parametrize(
    ("value", "names", "expected"),
    [
        ("about 1,234.5 km", ("extract_number",), "1234.5"),
        ("12% of all", ("extract_number",), "12%"),
        ("3.5亿元", ("extract_number",), "350000000"),
        ("some 1.5 million people", ("extract_number",), "1500000"),
        ("1'234'567 people", ("extract_number",), "1234567"),
        ("10⁶ stars", ("extract_number",), "1000000"),
        ("2½ hours", ("extract_number",), "2.5"),
        ("5†", ("extract_number",), "5"),
        ("5 millimeters", ("extract_number",), "5"),
        ("none", ("extract_number",), "none"),  # not NULL, so two texts don't become equal
        ("−3 °C", ("extract_number",), "-3"),
        (" **New York** ", ("norm_str",), "newyork"),
        ("5 Jan 2003", ("norm_date",), "2003-01-05"),
        ("January 2003", ("norm_date",), "2003-01"),
        ("2003", ("norm_date",), "2003"),
        ("Unaired", ("norm_date",), "Unaired"),
    ],
)
def test_preprocess(value: str, names: tuple[str, ...], expected: str) -> None:
    assert preprocess(value, names) == expected


@pytest.mark.parametrize(
    ("metric", "answer", "gold", "score"),
    [
        ("exact_match", "Paris", "paris", 1.0),
        ("exact_match", "5", "5.0", 1.0),
        ("exact_match", "1,234", "1234", 1.0),
        ("exact_match", "5", "6", 0.0),
        ("exact_match", "NA", "Namibia", 0.0),
        ("in_match", "Paris", "Paris, France", 1.0),
        ("in_match", "paris", "Paris, France", 1.0),
        ("in_match", "", "Paris", 0.0),
        ("in_match", "", "-", 1.0),
        ("in_match", "Paris, France", "Paris", 0.0),
        ("url_match", "https://www.a.org/x", "http://A.org", 1.0),
        ("url_match", "a.org/x", "https://a.org", 1.0),
        ("url_match", "[site](https://a.org)", "https://a.org", 1.0),
        ("url_match", "https://a.org", "https://b.org", 0.0),
        ("url_match", "one thing", "another", 0.0),
        ("url_match", "-", "N/A", 1.0),
        ("url_match", "http://[::1", "x", 0.0),
        ("date_near", "5 January 2003", "5 February 2003", 1.0),
        ("date_near", "5 January 2003", "6 February 2003", 0.0),
        ("date_near", "2003", "January 2003", 1.0),
        ("date_near", "never aired", "Unaired in U.S", 0.0),
        ("date_near", "Unaired", "unaired", 1.0),
        ("date_near", "-", "5 January 2003", 0.0),
    ],
)
def test_metrics(metric: str, answer: str, gold: str, score: float) -> None:
    assert decide(metric, ColumnRule(), answer, gold).score == score


@pytest.mark.parametrize(
    ("answer", "gold", "tolerance", "score"),
    [
        ("105", "100", 0.05, 1.0),
        ("106", "100", 0.05, 0.0),
        ("1,000", "1000", 0.0, 1.0),
        ("1.5 million", "1500000", 0.0, 1.0),
        ("12%", "0.12", 0.0, 1.0),
        ("12 percent", "0.12", 0.0, 1.0),
        ("3.5亿元", "350000000元", 0.0, 1.0),
        ("10⁶", "1000000", 0.0, 1.0),
        ("10⁶", "106", 0.1, 0.0),
        ("5²", "5", 0.1, 0.0),
        ("12%", "12", 0.0, 1.0),  # the column's heading may name the unit
        ("about 99 people", "100", 0.05, 1.0),
        ("NULL", "5", 0.1, 0.0),
        ("-", "N/A", 0.1, 1.0),
        ("nan", "nan", 0.1, 1.0),
        ("5", "five", 0.1, 0.0),
        ("5", "5", None, 1.0),
        ("5", "6", None, 0.0),
        ("105", "100", "0.05", 1.0),
        ("105", "100", "within 5%", 0.0),
    ],
)
def test_number_near(answer: str, gold: str, tolerance: float | str | None, score: float) -> None:
    rule = ColumnRule(metric=("number_near",), criterion=tolerance)
    assert decide("number_near", rule, answer, gold).score == score


def test_hosts_are_read_from_addresses_only() -> None:
    assert hosts("see https://a.org/b and www.c.net") == {"a.org", "c.net"}
    assert hosts("3.5") == frozenset()
    assert hosts("U.S.") == frozenset()


def test_rules_with_unknown_functions_are_refused() -> None:
    with pytest.raises(DataError, match=r"unknown function 'rouge' for column 'size'"):
        check_rule("size", ColumnRule(metric=("rouge",)))
    with pytest.raises(DataError, match="unknown function 'upper' for column"):
        check_rule("size", ColumnRule(preprocess=("upper",)))


def test_every_name_that_core_knows_is_implemented() -> None:
    for name in PREPROCESS:
        assert preprocess("x", (name,))
        assert official_functions.preprocess("x", (name,))
    for name in COMPARATORS:
        if name != "llm_judge":
            rule = ColumnRule(metric=(name,), criterion=0.1)
            assert decide(name, rule, "x", "x").score == 1.0
            assert official_functions.decide(name, rule, "x", "x").score == 1.0
