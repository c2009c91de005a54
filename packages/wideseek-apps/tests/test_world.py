"""Worlds: what agents search and read."""

import json
from pathlib import Path

import pytest

from wideseek_apps.world import CorpusWorld, open_world


async def test_pages_of_ones_own_are_searched_and_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WIDESEEK_CACHE", str(tmp_path / "cache"))
    pages = tmp_path / "pages.jsonl"
    pages.write_text(json.dumps({"url": "moons:Triton", "contents": "Triton circles Neptune."}))
    async with open_world(CorpusWorld(pages=pages)) as tools:
        (found,) = await tools.search.search("Triton", 5)
        page = await tools.pages.read(found.url)
    assert found.url == "moons:Triton"
    assert "circles Neptune" in page.text


async def test_pages_that_have_changed_are_indexed_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WIDESEEK_CACHE", str(tmp_path / "cache"))
    pages = tmp_path / "pages.jsonl"
    for text in ("Triton circles Neptune.", "Triton is a moon with geysers."):
        pages.write_text(json.dumps({"url": "moons:Triton", "contents": text}))
        async with open_world(CorpusWorld(pages=pages)) as tools:
            assert (await tools.pages.read("moons:Triton")).text == text
