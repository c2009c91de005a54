from pathlib import Path

import pytest

from wideseek_core.errors import DataError
from wideseek_tools.passages import (
    Mark,
    first_words,
    passage_of_page,
    passage_of_row,
    quoted_title,
    read_rows,
)


def write(path: Path, text: str) -> Path:
    path.write_text(text, "utf-8")
    return path


def test_row_of_a_public_corpus(tmp_path: Path) -> None:
    line = '{"id": 7, "url": "u", "contents": "\\"Triton\\"\\nA moon of Neptune."}\n'
    (row,) = read_rows(write(tmp_path / "c.jsonl", line))
    passage = passage_of_row(row)
    assert (passage.id, passage.title, passage.text) == ("7", "Triton", "A moon of Neptune.")
    assert passage.searchable == "Triton\nA moon of Neptune."
    assert passage.document().text == "A moon of Neptune."


def test_page_becomes_its_title_and_first_words(tmp_path: Path) -> None:
    line = '{"url": "u", "title": "Io", "contents": "one two  three\\nfour"}\n'
    (row,) = read_rows(write(tmp_path / "p.jsonl", line))
    assert passage_of_page(row, 3).contents == '"Io"\none two  three ...'


def test_reading_goes_on_from_a_mark(tmp_path: Path) -> None:
    path = write(tmp_path / "p.jsonl", '{"url": "ä"}\n\n{"url": "b"}\n{"url": "c"}')
    rows = list(read_rows(path))
    assert [row.end.line for row in rows] == [1, 3, 4]
    assert [row.value["url"] for row in read_rows(path, rows[0].end)] == ["b", "c"]
    assert list(read_rows(path, rows[-1].end)) == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"url": "a"}\n{', ":2: not JSON"),
        ("[1]", ":1: expected a JSON object"),
        ("\udcff", "not JSON"),
    ],
)
def test_malformed_line_is_named(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "p.jsonl"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(DataError, match=problem):
        list(read_rows(path))


@pytest.mark.parametrize("value", ["null", '""', "3", '"  "'])
def test_missing_text_is_named(tmp_path: Path, value: str) -> None:
    (row,) = read_rows(write(tmp_path / "p.jsonl", f'{{"url": "u", "contents": {value}}}'))
    with pytest.raises(DataError, match=r"p\.jsonl:1: .*'contents'"):
        passage_of_row(row)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nothing"):
        list(read_rows(tmp_path / "nothing.jsonl", Mark()))


def test_first_words_keeps_short_text() -> None:
    assert first_words(" a b\n", 5) == "a b"
    assert first_words("", 5) == ""
    assert first_words("a\nb c", 2) == "a\nb ..."


def test_quoted_title() -> None:
    assert quoted_title('"A "B" C"\nx') == 'A "B" C'
    assert quoted_title("A\nx") == ""
    assert quoted_title('""') == ""
