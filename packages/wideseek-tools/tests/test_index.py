import asyncio
import json
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from wideseek_core.errors import ConfigError, CorruptFile, DataError
from wideseek_tools.index.build import build_index
from wideseek_tools.index.config import IndexConfig
from wideseek_tools.index.manifest import MANIFEST, read_index
from wideseek_tools.index.scan import Repeats
from wideseek_tools.index.search import IndexSearch
from wideseek_tools.page_store import PageStore

WORDS = [f"word{n}" for n in range(400)]


def write(path: Path, rows: list[dict[str, str]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def moons(path: Path) -> Path:
    return write(
        path,
        [
            {
                "url": "http://a.org/t",
                "title": "Triton",
                "contents": "Neptune's largest moon.",
            },
            {
                "url": "http://a.org/i",
                "title": "Io",
                "contents": "A moon with volcanoes.",
            },
            {"url": "http://a.org/m", "title": "Mars", "contents": "A planet with two moons."},
        ],
    )


def many(path: Path, count: int) -> Path:
    draw = random.Random(1)
    texts = (" ".join(draw.choices(WORDS, k=20)) for _ in range(count))
    rows = [
        {"url": f"http://a.org/{n}", "title": f"Page {n}", "contents": text}
        for n, text in enumerate(texts)
    ]
    return write(path, rows)


async def answers(folder: Path) -> list[list[tuple[str, float]]]:
    draw = random.Random(2)
    async with IndexSearch(folder) as search:
        asked = [" ".join(draw.choices(WORDS, k=3)) for _ in range(30)]
        found = [await search.search(query, 5000) for query in asked]
    assert min(map(len, found)) > 100
    return [[(one.url, round(one.score, 4)) for one in each] for each in found]


async def test_index_of_pages_finds_and_reads(tmp_path: Path) -> None:
    info = build_index(None, moons(tmp_path / "pages.jsonl"), tmp_path / "index")
    assert (info.passages, info.pages) == (3, 3)
    async with IndexSearch(tmp_path / "index") as search:
        found = await search.search("volcano moons", 2)
        assert (found[0].title, found[0].text) == ("Io", "A moon with volcanoes.")
        assert len(found) == 2
        assert await search.search("  ", 2) == []
        assert await search.search("moon", 0) == []
        assert await search.search("!!!", 2) == []
    with PageStore(tmp_path / "index" / "pages.sqlite") as store:
        assert store.lookup(found[0].url).text == found[0].text


async def test_a_page_that_is_given_again_is_indexed_once(tmp_path: Path) -> None:
    pages = write(
        tmp_path / "pages.jsonl",
        [
            {"url": "https://a.org/x", "contents": "The first moon."},
            {"url": "https://a.org/y", "contents": "Another moon."},
            {"url": "https://A.org:443/%78", "contents": "The second moon."},
        ],
    )
    info = build_index(None, pages, tmp_path / "index", IndexConfig(batch=1, checkpoint=1))
    assert (info.passages, info.pages) == (2, 2)
    async with IndexSearch(tmp_path / "index") as search:
        found = await search.search("moon", 5)
    assert {document.text for document in found} == {"Another moon.", "The second moon."}


async def test_a_passage_that_is_given_again_is_indexed_once(tmp_path: Path) -> None:
    url = "https://a.org/x"
    rows = [
        {"id": "1", "url": url, "contents": '"Io"\nA moon.'},
        {"id": "2", "url": url, "contents": '"Io"\nAnother moon.'},
        {"id": "3", "url": "HTTPS://A.org:443/%78", "contents": '"Io"\nA moon.'},
        {"id": "4", "url": "https://a.org/y", "contents": '"Io"\nA moon.'},
        {"id": "5", "url": url, "contents": '"Io"\nA moon.', "title": "Jupiter I"},
        {"id": "6", "url": "no URL:", "contents": '"Io"\nA moon.'},
        {"id": "7", "url": "no URL:", "contents": '"Io"\nA moon.'},
    ]
    corpus, pages = write(tmp_path / "c.jsonl", rows), moons(tmp_path / "pages.jsonl")
    info = build_index(corpus, pages, tmp_path / "index", IndexConfig(batch=1, checkpoint=1))
    assert info.passages == 5
    async with IndexSearch(tmp_path / "index") as search:
        found = await search.hits("moon", 10)
    assert sorted(passage.id for passage, _ in found) == ["1", "2", "4", "5", "6"]


def test_repeats_are_told_from_keys_that_share_a_bit() -> None:
    repeats = Repeats()
    for key in (5, 5 + 2**28, 7, 5, 5 + 2**28, 2**64 - 1, 7):
        repeats.add(key)
    assert repeats.rows() == (3, 4, 6)


async def test_index_of_a_corpus_keeps_its_ids(tmp_path: Path) -> None:
    rows = [{"id": "p-1", "url": "http://a.org/i", "contents": '"Io"\nVolcanoes.'}]
    corpus, pages = write(tmp_path / "c.jsonl", rows), moons(tmp_path / "pages.jsonl")
    info = build_index(corpus, pages, tmp_path / "index")
    assert (info.passages, info.pages) == (1, 3)
    async with IndexSearch(tmp_path / "index") as search:
        ((passage, _),) = await search.hits("volcanoes", 5)
    assert (passage.id, passage.title, passage.contents) == ("p-1", "Io", '"Io"\nVolcanoes.')


def test_same_index_is_found_again_and_another_refused(tmp_path: Path) -> None:
    pages = moons(tmp_path / "pages.jsonl")
    first = build_index(None, pages, tmp_path / "index")
    touched = (tmp_path / "index" / MANIFEST).stat().st_mtime_ns
    assert build_index(None, pages, tmp_path / "index") == first
    assert (tmp_path / "index" / MANIFEST).stat().st_mtime_ns == touched
    with pytest.raises(DataError, match="other content or settings"):
        build_index(None, pages, tmp_path / "index", IndexConfig(passage_words=2))
    with pytest.raises(DataError, match="other content or settings"):
        build_index(None, many(tmp_path / "other.jsonl", 5), tmp_path / "index")
    with pytest.raises(DataError, match="other content"):
        read_index(tmp_path / "index", expected="0" * 64)


def test_what_is_no_index_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no index at"):
        read_index(tmp_path / "none")
    with pytest.raises(CorruptFile, match="never finished"):
        read_index(tmp_path)
    (tmp_path / MANIFEST).write_text("{}")
    with pytest.raises(CorruptFile, match="not a manifest"):
        read_index(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with pytest.raises(CorruptFile, match="is no index"):
        build_index(None, moons(tmp_path / "p.jsonl"), tmp_path / "full")


def test_an_index_of_an_earlier_format_is_refused(tmp_path: Path) -> None:
    pages = moons(tmp_path / "pages.jsonl")
    build_index(None, pages, tmp_path / "index")
    manifest = tmp_path / "index" / MANIFEST
    now = json.loads(manifest.read_text("utf-8"))
    manifest.write_text(json.dumps({**now, "format": now["format"] - 1}))
    with pytest.raises(CorruptFile, match=r"this version reads \d+; build the index again"):
        build_index(None, pages, tmp_path / "index")


def test_index_with_a_part_missing_is_refused(tmp_path: Path) -> None:
    build_index(None, moons(tmp_path / "pages.jsonl"), tmp_path / "index")
    (tmp_path / "index" / "pages.sqlite").unlink()
    with pytest.raises(CorruptFile, match=r"pages\.sqlite is missing"):
        IndexSearch(tmp_path / "index")


def test_malformed_input_leaves_no_index(tmp_path: Path) -> None:
    pages = tmp_path / "pages.jsonl"
    pages.write_text('{"url": "u", "contents": "x"}\n{"url": "u"}\n')
    with pytest.raises(DataError, match=r"pages\.jsonl:2: missing 'contents'"):
        build_index(None, pages, tmp_path / "index")
    assert not (tmp_path / "index").exists()


def test_a_file_without_pages_is_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "empty.jsonl").write_text("\n")
    assert build_index(None, tmp_path / "empty.jsonl", tmp_path / "index").passages == 0
    assert "empty.jsonl: there is nothing in it" in caplog.text


def test_method_the_index_was_not_built_for_is_refused(tmp_path: Path) -> None:
    from wideseek_tools.index.shard import Ranking

    build_index(None, moons(tmp_path / "pages.jsonl"), tmp_path / "index")
    with pytest.raises(ConfigError, match="built for 'bm25', not 'dense'"):
        IndexSearch(tmp_path / "index", Ranking(method="dense"))


KILLED_BUILD = """
import os, signal, sys, threading, time
from pathlib import Path
from wideseek_tools.index.build import IndexConfig, build_index

dies_at, delay_s = int(sys.argv[3]), float(sys.argv[4])
death = threading.Timer(delay_s, lambda: os.kill(os.getpid(), signal.SIGKILL))
indexed = 0

def step(stage, more, total):
    global indexed
    indexed += more if stage == "indexing passages" else 0
    if indexed >= dies_at and not death.is_alive():
        death.start()
    while indexed >= dies_at + 300:  # it waits for its death, which is to come in the midst of this
        time.sleep(60)

config = IndexConfig(batch=100, checkpoint=500)
build_index(None, Path(sys.argv[1]), Path(sys.argv[2]), config, step)
"""
"""Kills itself some time after so many passages were indexed."""


def test_killed_build_resumes_to_the_same_index(tmp_path: Path) -> None:
    pages = many(tmp_path / "pages.jsonl", 3000)
    build_index(None, pages, tmp_path / "whole")
    command = [sys.executable, "-c", KILLED_BUILD, str(pages), str(tmp_path / "killed")]
    draw = random.Random(3)
    for passages in (700, 1900):
        moment = [str(passages), str(draw.random() / 20)]
        assert subprocess.run([*command, *moment]).returncode == -signal.SIGKILL
    subprocess.run([*command, "100000", "0"], check=True)
    killed, whole = read_index(tmp_path / "killed"), read_index(tmp_path / "whole")
    assert killed.fingerprint == whole.fingerprint
    assert asyncio.run(answers(tmp_path / "killed")) == asyncio.run(answers(tmp_path / "whole"))


async def test_several_processes_search_one_index(tmp_path: Path) -> None:
    build_index(None, moons(tmp_path / "pages.jsonl"), tmp_path / "index")
    code = (
        "import asyncio, sys; from pathlib import Path\n"
        "from wideseek_tools.index.search import IndexSearch\n"
        "async def main():\n"
        "    async with IndexSearch(Path(sys.argv[1])) as search:\n"
        "        print((await search.search('volcanoes', 1))[0].title, flush=True)\n"
        "        sys.stdin.read()\n"
        "asyncio.run(main())"
    )
    pipe = subprocess.PIPE
    others = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", code, str(tmp_path / "index"), stdin=pipe, stdout=pipe
        )
        for _ in range(3)
    ]
    async with IndexSearch(tmp_path / "index") as search:
        assert (await search.search("volcanoes", 1))[0].title == "Io"
        for other in others:
            assert other.stdout is not None
            assert await other.stdout.readline() == b"Io\n"
    for other in others:
        await other.communicate(b"")
        assert other.returncode == 0
