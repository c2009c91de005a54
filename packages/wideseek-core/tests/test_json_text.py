import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wideseek_core import CellScore, DataError, Record, Score, ScoreState, TableMetrics
from wideseek_core.json_text import Number, parse_json, parse_record, to_json


class Note(Record):
    text: str
    value: Number = 0.0


def test_text_that_utf8_cannot_hold_is_written_as_the_replacement_character() -> None:
    assert json.loads(to_json(Note(text="a\ud83d b"))) == {"text": "a\ufffd b", "value": 0.0}


def test_two_halves_of_a_surrogate_pair_are_joined() -> None:
    assert parse_record(to_json(Note(text="\ud83d\ude00")), Note) == Note(text="\U0001f600")


def test_a_number_that_is_none_is_null_in_the_file_and_nan_in_memory() -> None:
    text = to_json(Note(text="a", value=math.nan))
    assert text == '{"text":"a","value":null}'
    assert math.isnan(parse_record(text, Note).value)


def test_a_score_that_is_no_number_is_read_back() -> None:
    cell = CellScore(key="a", column="b", answer="c", gold="d", score=math.nan, by="judge")
    metrics = TableMetrics(item_f1=math.nan, success=math.inf)
    score = Score(state=ScoreState.SCORED, metrics=metrics, cells=(cell,))
    again = parse_record(to_json(score), Score)
    assert math.isnan(again.value)
    assert math.isnan(again.cells[0].score)


@given(st.text(st.characters(exclude_categories=())), st.floats())
def test_whatever_is_written_can_be_read(text: str, value: float) -> None:
    again = parse_record(to_json(Note(text=text, value=value)), Note)
    again.text.encode()
    assert again.value == value or not math.isfinite(value)


def test_the_escape_of_half_a_pair_is_read_as_the_replacement_character() -> None:
    line = r'{"text": "a\ud83d", "value": 1}'
    assert parse_json(line) == {"text": "a\ufffd", "value": 1}
    assert parse_record(line, Note) == Note(text="a\ufffd", value=1.0)
    assert parse_record(line.encode(), Note) == Note(text="a\ufffd", value=1.0)
    assert parse_json(r'{"\ud83d": ["\uD83D\uDE00"]}') == {"\ufffd": ["\U0001f600"]}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", "not JSON: "),
        ("[" * 100_000, "not JSON: nested too deep"),
        ('{"a":' * 100_000, "not JSON: nested too deep"),
        ("1" * 6_000, "not JSON: a number has too many digits"),
        (b"\xff\xfe\xff", "not UTF-8"),
    ],
)
def test_what_cannot_be_read_is_said_in_one_line(text: str | bytes, complaint: str) -> None:
    with pytest.raises(DataError) as raised:
        parse_json(text)
    assert str(raised.value).startswith(complaint)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "text", ['{"text": 5}', "{", "[" * 100_000, '{"text": "a", "value": ' + "1" * 6000 + "x}"]
)
def test_a_bad_record_is_a_data_error(text: str) -> None:
    with pytest.raises(DataError):
        parse_record(text, Note)


def test_the_field_of_a_bad_record_is_named() -> None:
    with pytest.raises(DataError, match=r"^text: Input should be a valid string"):
        parse_record('{"text": 5}', Note)


def test_numbers_are_null_beside_repaired_text_too() -> None:
    assert to_json(Note(text="\ud83d", value=-math.inf)) == '{"text":"\ufffd","value":null}'


def test_the_complaint_about_a_bad_record_is_one_line() -> None:
    with pytest.raises(DataError) as raised:
        parse_record('{"state": "scored", "metrics": {"kind": "a\\nb"}}', Score)
    assert str(raised.value).startswith("metrics: Input tag 'a b' found")
