import json
import subprocess
import sys
from pathlib import Path

import pytest

from wideseek_core.config import load_config
from wideseek_core.errors import ConfigError, NoContent, ToolUnavailable
from wideseek_tools import ToolsConfig, open_tools
from wideseek_tools.index.build import build_index


def pages_file(folder: Path) -> Path:
    path = folder / "pages.jsonl"
    row = {"url": "http://a.org/io", "title": "Io", "contents": "A moon."}
    path.write_text(json.dumps(row) + "\n")
    return path


async def test_memory_tools(tmp_path: Path) -> None:
    path = pages_file(tmp_path)
    settings = [f"search.kind=memory search.pages={path} pages.kind=memory pages.path={path}"]
    config = load_config(ToolsConfig, settings[0].split())
    async with open_tools(config) as tools:
        (found,) = await tools.search.search("moon", 5)
        assert (await tools.pages.read(found.url)).text == "A moon."


async def test_index_folder_is_the_default(tmp_path: Path) -> None:
    build_index(None, pages_file(tmp_path), tmp_path / "index")
    async with open_tools(ToolsConfig(), index=tmp_path / "index") as tools:
        (found,) = await tools.search.search("moon", 5)
        with pytest.raises(NoContent):
            await tools.pages.read("http://a.org/none")
    named = load_config(
        ToolsConfig, [f"{key}.path={tmp_path}/index" for key in ("search", "pages")]
    )
    async with open_tools(named) as tools:
        assert await tools.search.search("moon", 5) == [found]


async def test_missing_path_is_named() -> None:
    with pytest.raises(ConfigError, match=r"search\.path"):
        async with open_tools(ToolsConfig()):
            pass


@pytest.mark.parametrize(
    ("setting", "problem"),
    [
        ("search.pth=x", "did you mean"),
        ("search.kind=serpr", "search"),
        ("search.kind=serper search.max_attempts=0", "max_attempts"),
        ("record=a replay=b", "exclude each other"),
    ],
)
def test_bad_setting_is_one_line(setting: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem) as caught:
        load_config(ToolsConfig, setting.split())
    assert "\n" not in str(caught.value)


async def test_recorded_run_is_replayed_without_its_backends(tmp_path: Path) -> None:
    path, calls = pages_file(tmp_path), tmp_path / "calls.jsonl"
    memory = f"search.kind=memory search.pages={path} pages.kind=memory pages.path={path}"
    cache = f"cache.path={tmp_path}/cache.sqlite"
    config = load_config(ToolsConfig, f"{memory} {cache} record={calls}".split())
    async with open_tools(config) as tools:
        found = await tools.search.search("moon", 5)
        assert await tools.search.search("moon", 5) == found
    async with open_tools(load_config(ToolsConfig, [f"replay={calls}"])) as tools:
        assert await tools.search.search("moon", 5) == found
        with pytest.raises(ToolUnavailable):
            await tools.pages.read("http://a.org/io")


def test_import_is_light() -> None:
    code = (
        "import sys, wideseek_tools; from wideseek_tools import MemorySearch;"
        "heavy = {'torch', 'numpy', 'httpx2', 'qdrant_client', 'qdrant_edge', 'trafilatura',"
        " 'ddgs', 'onnxruntime', 'fastapi', 'mcp', 'lxml'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


async def test_one_half_needs_no_settings_of_the_other(tmp_path: Path) -> None:
    path = pages_file(tmp_path)
    search = load_config(ToolsConfig, ["search.kind=memory", f"search.pages={path}"])
    async with open_tools(search, only="search") as tools:
        assert len(await tools.search.search("moon", 5)) == 1
        with pytest.raises(ToolUnavailable):
            await tools.pages.read("http://a.org/io")
    pages = load_config(ToolsConfig, ["pages.kind=memory", f"pages.path={path}"])
    async with open_tools(pages, only="pages") as tools:
        assert (await tools.pages.read("http://a.org/io")).text == "A moon."
