"""Ctrl-C ends a command at any moment in one line."""

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

QUESTION = "List all chemical elements of group 12."


def started(arguments: list[str], surroundings: dict[str, str], err: Path) -> subprocess.Popen[str]:
    with err.open("w") as target:
        return subprocess.Popen(
            [sys.executable, "-m", "wideseek_apps", *arguments],
            env=surroundings,
            stdout=target,
            stderr=target,
            text=True,
        )


def maps(running: subprocess.Popen[str], library: str) -> bool:
    """Whether a library is loaded."""
    return library in Path(f"/proc/{running.pid}/maps").read_text()


def until(running: subprocess.Popen[str], true: Callable[[], bool]) -> None:
    while not true():
        assert running.poll() is None, "it ended too early"
        time.sleep(0.005)


def interrupted(running: subprocess.Popen[str], err: Path) -> list[str]:
    running.send_signal(signal.SIGINT)
    assert running.wait(120) == 130
    text = err.read_text()
    assert "Traceback" not in text, text
    assert "Exception ignored" not in text, text
    return text.splitlines()


@pytest.mark.parametrize("library", ["_pydantic_core", "tokenizers", "libtorch_cpu"])
def test_while_libraries_are_loaded(
    library: str, surroundings: dict[str, str], tmp_path: Path
) -> None:
    err = tmp_path / "err.txt"
    running = started(["ask", QUESTION], surroundings, err)
    until(running, lambda: maps(running, library))
    assert interrupted(running, err)[-1] == "interrupted"


def test_while_agents_work(surroundings: dict[str, str], tmp_path: Path) -> None:
    err = tmp_path / "err.txt"
    with socket.create_server(("127.0.0.1", 0)) as silent:  # so that they do not come to an end
        server = f"{{kind: server, base_url: 'http://127.0.0.1:{silent.getsockname()[1]}'}}"
        world = [f"world.tools={{search: {server}, pages: {server}}}", "team.tool_timeout_s=3600"]
        running = started(["ask", QUESTION, "world.kind=tools", *world], surroundings, err)
        until(running, lambda: "agent 0 lead" in err.read_text())
        assert interrupted(running, err)[-1] == "interrupted"


def test_while_processes_sample(policy: Path, surroundings: dict[str, str], tmp_path: Path) -> None:
    err = tmp_path / "err.txt"
    settings = ["policy.engine.processes=2", f"policy.model={policy}", f"folder={tmp_path / 'run'}"]
    running = started(["train", *settings], surroundings, err)
    until(running, lambda: "evaluating: " in err.read_text())
    assert interrupted(running, err)[-1] == "interrupted"


def test_while_demonstrations_are_made(surroundings: dict[str, str], tmp_path: Path) -> None:
    err = tmp_path / "err.txt"
    settings = [f"folder={tmp_path / 'model'}", "vocabulary_worlds=400"]
    running = started(["sft", *settings], surroundings, err)
    until(running, lambda: children(running) >= 2)
    assert interrupted(running, err)[-1] == "interrupted"


def children(running: subprocess.Popen[str]) -> int:
    listed = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text()
    return len(listed.split())
