import json
from pathlib import Path

import pytest

from wideseek_core.errors import NoContent
from wideseek_core.search import Document, Page
from wideseek_tools import MemoryPages, MemorySearch
from wideseek_tools.backends.memory import words_of

MOONS = [
    Document(url="t", title="Triton", text="Triton is the largest moon of Neptune."),
    Document(url="n", title="Nereid", text="Nereid is a moon of Neptune, found in 1949."),
    Document(url="i", title="Io", text="Io is a moon of Jupiter."),
]


async def test_best_document_comes_first() -> None:
    found = await MemorySearch(MOONS).search("the largest moon of Neptune", 2)
    assert [one.url for one in found] == ["t", "n"]
    assert found[0].score > found[1].score > 0


async def test_nothing_matches() -> None:
    search = MemorySearch(MOONS)
    assert await search.search("volcano", 3) == []
    assert await search.search("", 3) == []
    assert await search.search("moon", 0) == []
    assert await MemorySearch([]).search("moon", 3) == []


async def test_score_of_one_word_is_bm25() -> None:
    # "1949" is in one of three documents: idf = ln(1 + 2.5 / 1.5) = 0.98083. Lengths without stop
    # words: triton 5, nereid 6, io 4; mean 5. tf part: 2.2 / (1 + 1.2 * (0.25 + 0.75 * 6/5)).
    (found,) = await MemorySearch(MOONS).search("1949", 3)
    assert found.score == pytest.approx(0.980829 * 2.2 / 2.38, abs=1e-5)


async def test_ties_keep_the_order_of_documents() -> None:
    same = [Document(url=str(place), title="", text="moon") for place in range(5)]
    found = await MemorySearch(same).search("moon", 3)
    assert [one.url for one in found] == ["0", "1", "2"]


def test_words_without_accents_plurals_and_stop_words() -> None:
    assert words_of("The Cities of São Paulo; buses, glass") == [
        "city",
        "sao",
        "paulo",
        "buse",
        "glass",
    ]


def test_words_of_chinese_are_characters() -> None:
    assert words_of("海王星 moon") == ["海", "王", "星", "moon"]


async def test_pages_are_found_by_any_form_of_their_url() -> None:
    pages = MemoryPages([Page(url="https://w.org/wiki/Io#Orbit", text="text", title="Io")])
    for url in ("https://w.org/wiki/Io", "w.org/wiki/Io#Orbit", "https://w.org/index.php/Io"):
        assert (await pages.read(url)).text == "text"
    with pytest.raises(NoContent, match="Europa"):
        await pages.read("https://w.org/wiki/Europa")


async def test_a_page_that_is_given_again_is_found_once(tmp_path: Path) -> None:
    urls = {"https://a.org/x": "first moon", "a.org/y": "other", "https://A.org/%78": "second moon"}
    rows = [json.dumps({"url": url, "contents": text}) for url, text in urls.items()]
    (tmp_path / "pages.jsonl").write_text("\n".join(rows))
    search = MemorySearch.from_files(tmp_path / "pages.jsonl")
    assert [document.text for document in await search.search("moon", 5)] == ["second moon"]


async def test_a_passage_that_is_given_again_is_found_once(tmp_path: Path) -> None:
    given = [("a.org/x", "A moon."), ("a.org/x", "Another moon."), ("https://A.org/x", "A moon.")]
    rows = [json.dumps({"url": url, "contents": text}) for url, text in given]
    (tmp_path / "corpus.jsonl").write_text("\n".join(rows))
    search = MemorySearch.from_files(tmp_path / "pages.jsonl", tmp_path / "corpus.jsonl")
    assert len(await search.search("moon", 5)) == 2


async def test_exact_fragment_wins() -> None:
    pages = MemoryPages(
        [Page(url="http://a.org/x#1", text="one"), Page(url="http://a.org/x#2", text="two")]
    )
    assert (await pages.read("http://a.org/x#2")).text == "two"
    assert (await pages.read("http://a.org/x")).text == "one"


async def test_files_are_read(tmp_path: Path) -> None:
    path = tmp_path / "pages.jsonl"
    path.write_text('{"url": "http://a.org/io", "title": "Io", "contents": "A moon."}\n')
    (found,) = await MemorySearch.from_files(path).search("moon", 3)
    assert (found.url, found.title, found.text) == ("http://a.org/io", "Io", "A moon.")
    assert (await MemoryPages.from_file(path).read("a.org/io")).title == "Io"
