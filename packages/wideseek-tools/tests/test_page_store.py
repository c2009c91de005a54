import json
import sqlite3
from pathlib import Path

import pytest

from wideseek_core.errors import CorruptFile, DataError, NoContent, ToolRefused
from wideseek_tools.page_store import PageStore, build_store, repeated_rows


def pages_file(path: Path, rows: list[dict[str, str]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def built(tmp_path: Path, rows: list[dict[str, str]]) -> Path:
    store = tmp_path / "pages.sqlite"
    build_store(pages_file(tmp_path / "pages.jsonl", rows), store)
    return store


def test_page_is_found_by_any_form_of_its_url(tmp_path: Path) -> None:
    path = built(
        tmp_path, [{"url": "https://w.org/wiki/S%C3%A3o", "contents": "x", "title": "São"}]
    )
    with PageStore(path) as store:
        for url in ("w.org/wiki/São", "https://w.org/index.php/São", "https://w.org/wiki/São#Top"):
            page = store.lookup(url)
            assert (page.text, page.title, page.source) == ("x", "São", "store")


def test_an_address_without_a_scheme_means_either(tmp_path: Path) -> None:
    with PageStore(built(tmp_path, [{"url": "http://a.org/x", "contents": "x"}])) as store:
        assert store.lookup("a.org/x").text == "x"
        with pytest.raises(NoContent):
            store.lookup("https://a.org/x")


async def test_unknown_page_is_no_content(tmp_path: Path) -> None:
    async with PageStore(built(tmp_path, [{"url": "http://a.org", "contents": "x"}])) as store:
        with pytest.raises(NoContent, match=r"b\.org"):
            await store.read("http://b.org")
        with pytest.raises(ToolRefused):
            await store.read("")


def test_later_page_of_one_url_wins(tmp_path: Path) -> None:
    rows = [{"url": "a.org/x", "contents": text} for text in ("old", "new")]
    with PageStore(built(tmp_path, rows)) as store:
        assert store.lookup("a.org/x").text == "new"
        assert len(store) == 2


def test_rows_that_a_later_page_replaces_are_known(tmp_path: Path) -> None:
    urls = ("a.org/x", "a.org/y", "https://A.org:443/%78", "a.org/x#part", "a.org/y", "a.org/y")
    store = built(tmp_path, [{"url": url, "contents": "text"} for url in urls])
    assert repeated_rows(store) == {0, 1, 4}


def test_exact_fragment_wins_over_the_page(tmp_path: Path) -> None:
    rows = [{"url": f"a.org/x#{name}", "contents": name} for name in ("one", "two")]
    with PageStore(built(tmp_path, rows)) as store:
        assert store.lookup("a.org/x#two").text == "two"
        assert store.lookup("a.org/x").text == "one"
        assert store.lookup("a.org/x#three").text == "one"


def test_building_goes_on_where_it_stopped(tmp_path: Path) -> None:
    rows = [{"url": f"a.org/{n}", "contents": str(n)} for n in range(5000)]
    rows[4000] = {"url": "a.org/4000"}
    pages, path = pages_file(tmp_path / "pages.jsonl", rows), tmp_path / "pages.sqlite"
    with pytest.raises(DataError, match=":4001: missing 'contents'"):
        build_store(pages, path)
    with pytest.raises(CorruptFile, match="never finished"):
        PageStore(path)
    rows[4000]["contents"] = "4000"
    steps: list[int] = []
    assert build_store(pages_file(pages, rows), path, steps.append) == 5000
    assert sum(steps) == 1000
    with PageStore(path) as store:
        assert [store.lookup(f"a.org/{n}").text for n in (0, 3999, 4000, 4999)] == [
            "0",
            "3999",
            "4000",
            "4999",
        ]


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.sqlite"
    with pytest.raises(CorruptFile, match="no page store"):
        PageStore(path)
    path.write_bytes(b"not a database at all" * 100)
    with pytest.raises(CorruptFile, match="not a page store"):
        PageStore(path)
    other = tmp_path / "y.sqlite"
    link = sqlite3.connect(other)
    link.execute("pragma user_version=99")
    link.close()
    with pytest.raises(CorruptFile, match="format 99"):
        PageStore(other)


def test_two_readers_at_once(tmp_path: Path) -> None:
    path = built(tmp_path, [{"url": "a.org", "contents": "x"}])
    with PageStore(path) as one, PageStore(path) as two:
        assert one.lookup("a.org") == two.lookup("a.org")
