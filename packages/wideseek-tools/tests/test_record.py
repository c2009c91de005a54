from pathlib import Path

import pytest

from wideseek_core.errors import DataError, NoContent, ToolRefused, ToolUnavailable
from wideseek_core.search import Document, Page
from wideseek_tools import MemoryPages, MemorySearch
from wideseek_tools.record import Recorder, RecordingPages, RecordingSearch, Replay

MOON = Document(url="http://a.org/io", title="Io", text="A moon.")


class Changing:
    """Answers differently each time, with a failure in between."""

    def __init__(self) -> None:
        self.count = 0

    async def search(self, query: str, k: int) -> list[Document]:
        self.count += 1
        if self.count == 2:
            raise ToolUnavailable("down")
        return [Document(url="u", title="", text=str(self.count), score=1 / 3)]

    async def read(self, url: str) -> Page:
        raise ToolRefused("private")


async def test_run_is_repeated_from_its_recording(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    recorder = Recorder(path)
    search = RecordingSearch(MemorySearch([MOON]), recorder)
    pages = RecordingPages(MemoryPages([Page(url=MOON.url, text="é\n")]), recorder)
    found, page = await search.search("moon", 3), await pages.read(MOON.url)
    with pytest.raises(NoContent):
        await pages.read("http://a.org/none")
    replay = Replay(path)
    assert await replay.search("moon", 3) == found
    assert await replay.read(MOON.url) == page
    with pytest.raises(NoContent, match=r"a\.org/none"):
        await replay.read("http://a.org/none")


async def test_repeated_calls_get_their_own_outcomes(tmp_path: Path) -> None:
    path, changing = tmp_path / "calls.jsonl", Changing()
    search = RecordingSearch(changing, Recorder(path))
    await search.search("q", 1)
    with pytest.raises(ToolUnavailable):
        await search.search("q", 1)
    await search.search("q", 1)
    with pytest.raises(ToolRefused):
        await RecordingPages(changing, Recorder(path)).read("http://10.0.0.1")
    replay = Replay(path)
    assert (await replay.search("q", 1))[0].text == "1"
    with pytest.raises(ToolUnavailable, match="down"):
        await replay.search("q", 1)
    assert (await replay.search("q", 1))[0].text == "3"
    assert (await replay.search("q", 1))[0].text == "3"
    with pytest.raises(ToolRefused, match="private"):
        await replay.read("http://10.0.0.1")


async def test_what_was_not_recorded_is_unavailable(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    await RecordingSearch(MemorySearch([MOON]), Recorder(path)).search("moon", 3)
    with pytest.raises(ToolUnavailable, match="no search of 'moon'"):
        await Replay(path).search("moon", 4)


def test_torn_line_of_a_killed_run_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    path.write_text('{"kind": "search", "request": "q"}\n{"kind": "sea')
    Recorder(path)
    assert path.read_text().count("\n") == 1
    path.write_text("")
    with pytest.raises(DataError, match="empty recording"):
        Replay(path)
    path.write_text('{"kind": "walk", "request": "q"}\n')
    with pytest.raises(DataError, match=r"calls\.jsonl:1"):
        Replay(path)


class Odd:
    """A backend with a score and texts that JSON and UTF-8 can't hold."""

    async def search(self, query: str, k: int) -> list[Document]:
        return [Document(url="u", title="t\ud83d", text=query, score=float("nan"))]


async def test_what_is_recorded_can_be_replayed(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    await RecordingSearch(Odd(), Recorder(path)).search("moon \ud83d", 1)
    (found,) = await Replay(path).search("moon \ud83d", 1)
    assert (found.title, found.text) == ("t\ufffd", "moon \ufffd")
    assert found.score != found.score  # NaN
