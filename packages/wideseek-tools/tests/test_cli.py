import asyncio
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from loopback import Request, Stub, page, reply

from wideseek_core.config import load_config
from wideseek_core.ports import free_port
from wideseek_tools import ToolsConfig, open_tools
from wideseek_tools.backends.retrieval_server import ServerConfig, ServerPagesConfig
from wideseek_tools.check import CheckConfig, check
from wideseek_tools.cli import main
from wideseek_tools.index.cli import main as index_main


def pages_file(folder: Path) -> Path:
    path = folder / "pages.jsonl"
    row = {"url": "http://a.org/io", "title": "Io", "contents": "A moon."}
    path.write_text(json.dumps(row) + "\n")
    return path


def test_index_is_built_and_searched(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pages, index = pages_file(tmp_path), tmp_path / "index"
    index_main(["build", str(pages), f"to={index}", "passage_words=50"])
    shown = capsys.readouterr()
    assert "1 passage and 1 page" in shown.out
    assert "indexing passages" in shown.err
    assert "per s" in shown.err
    index_main(["info", str(index)])
    assert json.loads(capsys.readouterr().out)["config"]["passage_words"] == 50
    main(["search", "moon", f"search.path={index}", f"pages.path={index}"])
    assert capsys.readouterr().out == "[1] Io\nhttp://a.org/io\nA moon.\n"
    main(["access", "a.org/io", f"search.path={index}", f"pages.path={index}"])
    assert "A moon." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["build", "none.jsonl", "to=x"], "no such file: none.jsonl"),
        (["build", "none.jsonl"], "missing key 'to'"),
        (["build", "none.jsonl", "to=x", "methd=dense"], "did you mean 'method'"),
        (["build", "a", "b", "c", "to=x"], "usage"),
        (["info", "none"], "no index at none"),
        (["info"], "missing key 'index'"),
        (["serve", "none"], "none"),
    ],
)
def test_bad_call_is_one_line(
    arguments: list[str],
    line: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as caught:
        index_main(arguments)
    assert caught.value.code == 2
    assert line in capsys.readouterr().err


def test_schemas_are_function_tools(capsys: pytest.CaptureFixture[str]) -> None:
    main(["schemas"])
    names = [one["function"]["name"] for one in json.loads(capsys.readouterr().out)]
    assert names == ["search", "access"]


def test_unknown_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["serch"])
    assert "did you mean 'search'" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["search", "access", "mcp", "check"])
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([command, "--help"])
    assert caught.value.code == 0
    assert f"wideseek-tools {command}" in capsys.readouterr().out


def test_words_and_addresses_are_no_settings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pages = tmp_path / "pages.jsonl"
    row = {"url": "http://a.org/x?y=1", "title": "E=mc2", "contents": "A moon of energy E=mc2."}
    pages.write_text(json.dumps(row) + "\n")
    memory = ["search.kind=memory", f"search.pages={pages}", "pages.kind=memory"]
    memory.append(f"pages.path={pages}")
    main(["search", "E=mc2 moon", *memory])
    assert "[1] E=mc2" in capsys.readouterr().out
    main(["access", "http://a.org/x?y=1", "offset=2", "max_chars=4", *memory])
    assert "\n\nmoon\n[17 more characters" in capsys.readouterr().out


async def test_check_tells_what_works_and_what_is_missing(
    stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERPER_API_KEY", "good")
    monkeypatch.setenv("TAVILY_API_KEY", "bad")
    for variable in ("BRAVE_API_KEY", "JINA_API_KEY"):
        monkeypatch.delenv(variable, raising=False)

    def handler(request: Request) -> object:
        if "authorization" in request.headers:
            return reply({}, 401)
        if request.path.startswith("/http"):
            return page("Title: X\n\ntext", "text/plain")
        return reply({"organic": [], "results": []})

    stub.handler = handler  # pyright: ignore[reportAttributeAccessIssue]
    url = stub.url
    online = [f"search.{kind}.base_url={url}" for kind in ("serper", "brave", "tavily", "searxng")]
    config = load_config(
        CheckConfig,
        [
            *online,
            "search.server.base_url=http://127.0.0.1:9",
            f"pages.jina.base_url={url}",
            "pages.fetch.robots=false",
            "page=http://127.0.0.1/",
            "timeout_s=300.0",
        ],
    )
    found = {one.backend: one for one in await check(config)}
    assert found["search: serper"].works
    assert found["search: searxng"].works
    assert "BRAVE_API_KEY" in found["search: brave"].note
    assert "read from TAVILY_API_KEY" in found["search: tavily"].note
    assert "can't be reached" in found["search: server"].note
    assert "open internet" in found["pages: fetch"].note
    assert not found["search: embedded"].works


async def test_server_serves_its_clients_until_it_is_told_to_stop(tmp_path: Path) -> None:
    pages, index, port = pages_file(tmp_path), tmp_path / "index", free_port()
    index_main(["build", str(pages), f"to={index}"])
    command = [sys.executable, "-m", "wideseek_tools.index.cli", "serve", str(index)]
    pipe = subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, f"port={port}", stdout=pipe)
    assert process.stdout is not None
    config = ToolsConfig(
        search=ServerConfig(base_url=f"http://127.0.0.1:{port}"),
        pages=ServerPagesConfig(base_url=f"http://127.0.0.1:{port}"),
    )
    assert await process.stdout.readline() == f"serving on http://127.0.0.1:{port}\n".encode()
    async with open_tools(config) as tools:
        found = [await tools.search.search(f"moon {n}", 1) for n in range(3)]
        assert [each[0].title for each in found] == ["Io"] * 3
        assert (await tools.pages.read("a.org/io")).text == "A moon."
        searching = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    process.send_signal(signal.SIGTERM)
    assert await process.wait() == 0
    assert searching
    assert not any(Path("/proc", one).exists() for one in searching)
