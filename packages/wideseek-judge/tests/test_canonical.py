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
        # powers and raised digits
        ("10⁶", "1000000"),
        ("12亿3000万", "1230000000"),
        ("3亿5千万元", "350000000元"),
        ("1万亿2000亿", "1.2万亿"),
        ("2万5000人", "25000人"),
        ("1億2345萬6789", "123456789"),
        ("10⁶", "1,000,000"),
        ("10^6", "1000000"),
        ("10 ^ 6", "1000000"),
        ("10**6", "1000000"),
        ("10<sup>6</sup>", "10⁶"),
        ("$10^{6}$", "1 million"),
        ("10⁻³", "0.001"),
        ("3×10⁸ m", "300000000 m"),
        ("3 x 10^8", "3e8"),
        ("$3 \\times 10^{8}$", "300000000"),
        ("1.5 · 10³", "1500"),
        ("１０⁶", "1000000"),
        ("5²", "5^2"),
        # fractions
        ("2½", "2.5"),
        ("2 ½", "2 1/2"),
        ("½", "0.5"),
        ("½", "1/2"),
        ("1¾ million", "1750000"),
        # footnote marks
        ("5†", "5"),
        ("5ᵃ", "5"),
        ("5ᵗʰ", "5th"),
        ("Paris†", "Paris"),
        ("Paris¹", "Paris"),
        ("São Paulo²", "Sao Paulo"),
        ("5*", "5"),
        ("1,234 ‡", "1234"),
        ("5[note 2]", "5"),
        ("5<sup>[3]</sup>", "5"),
        ("5<sup>a</sup>", "5"),
        ("5 January 2003*", "2003-01-05"),
        # scale and unit in one word
        ("3.5亿元", "350000000元"),
        ("3.5亿元", "350000000"),
        ("3.5亿元", "3.5 亿"),
        ("3.5億美元", "US$350 million"),
        ("150万人", "1500000"),
        ("150萬人", "1,500,000 人"),
        ("2千万", "20000000"),
        ("1.2万亿元", "1200000000000"),
        ("3.5억원", "350000000"),
        ("约3.5亿元", "350000000元"),
        ("2.5 crore", "25000000"),
        ("3,5 Mio. €", "3500000"),
        ("2,75 млрд", "2750000000"),
        ("12,5 %", "12.5%"),
        ("5 lakh", "500,000"),
        ("$3.5M", "$3,500,000"),
        ("€2bn", "2000000000"),
        ("3.5 million people", "3500000 inhabitants"),
        # separators
        ("1'234'567", "1234567"),
        ("1’234’567.5", "1234567.5"),
        ("12,34,567", "1234567"),
        ("1,23,45,678.90", "12345678.9"),
        ("1.234.567", "1234567"),
        ("1.234,56", "1234.56"),
        ("1 234 567,8", "1234567.8"),
        ("1\u202f234\u202f567", "1234567"),
        ("1_000_000", "1000000"),
        ("1,2345,6789", "123456789"),
        ("١٬٢٣٤٫٥", "1234.5"),
        ("１，２３４", "1234"),
        # percent, units and other names
        ("10 percent", "10%"),
        ("10 per cent", "10％"),
        ("10 pct.", "10%"),
        ("百分之十", "10%"),
        ("5 kilometres", "5 km"),
        ("5公里", "5 km"),
        ("5 square kilometers", "5 km²"),
        ("5 hours", "5 h"),
        ("about 5", "5"),
        ("5 US dollars", "$5"),
        # numerals
        ("三百五十", "350"),
        ("一千零一", "1001"),
        ("三点五亿", "350000000"),
        ("十二", "12"),
        ("两万三千", "23000"),
        ("二〇〇三年一月五日", "2003-01-05"),
        ("一亿二千万人", "120000000"),
        # long and large
        ("12345678901234567890123", "12,345,678,901,234,567,890,123"),
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
        ("10⁶", "106"),
        ("10<sup>6</sup>", "106"),
        ("10^6", "106"),
        ("5²", "52"),
        ("5²", "5-2"),
        ("5²", "5"),
        ("2⁴", "24"),
        ("10₂", "102"),
        ("2½", "21/2"),
        ("2½", "21"),
        ("5①", "51"),
        ("①5", "15"),
        ("5<sup>2</sup>", "52"),
        ("H₂O", "H20"),
        ("$5", "€5"),
        ("5 USD", "5 EUR"),
        ("3.5亿元", "3.5元"),
        ("150万人", "150人"),
        ("1.234", "1234"),  # three decimals
        ("1,23", "123"),
        ("三五", "35"),  # three or five
        ("1e400", "1e500"),
        ("1234567890123", "1234567890124"),
        ("12345678901234567890123", "12345678901234567890124"),
        ("10 percentage points", "10%"),
        ("1,2", "1.2"),  # two numbers, maybe
        ("m²", "m"),
        ("1/2", "0.5"),  # a result, a day, a place
    ],
)
def test_values_that_do_not_mean_the_same(one: str, other: str) -> None:
    assert not same(one, other)


@pytest.mark.parametrize(
    ("one", "other", "differ"),
    [
        ("5", "6", True),
        ("5 km", "3 miles", False),  # units might make up for it
        ("5 km", "6 km", False),  # often rounded
        ("12%", "12.3%", False),
        ("$5", "$6", True),
        ("$5", "6", False),
        ("10⁶", "1000000", False),
        ("10⁶", "106", True),
        ("5²", "25", False),  # a square or a footnote
        ("5²", "5", False),
        ("2½", "2.5", False),
        ("3.5亿元", "350000000", False),
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
    "text",
    [
        *("", "five", "5 Guys", "3 Doors Down", "1-2", "1,26", "007", "5 5", "12,345,67"),
        *("1,234,5678", "1.234.56", "5^2", "万", "千代田", "十全十美", "9" * 61, "1 2/0"),
    ],
)
def test_other_texts_are_no_numbers(text: str) -> None:
    assert parse_number(text) is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("about 1,234 people", 1234.0),
        ("12.5% of", 0.125),
        ("none", None),
        ("-3 to 5", -3.0),
        ("about 10^6 stars", 1e6),
        ("some 3 × 10^8 m", 3e8),
        ("area of 5^2", None),
        ("1'234'567 people", 1234567.0),
        ("12,34,567 rupees", 1234567.0),
        ("over 2 1/2 hours", 2.5),
    ],
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
