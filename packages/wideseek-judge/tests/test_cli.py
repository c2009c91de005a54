import json
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from wideseek_judge.cli import main

SAME = {"Wien": "Vienna", "the river Donau": "Danube"}


def honest(answer: str, gold: str) -> bool:
    return SAME.get(answer, answer) == gold or gold in answer


class QuietServer(ThreadingHTTPServer):
    """A client that leaves before its answer is sent is no fault, and prints nothing."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


@contextmanager
def endpoint(answer: Callable[[str], str]) -> Generator[str]:
    """A chat endpoint on a loopback port."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            size = int(self.headers["content-length"])
            prompt = json.loads(self.rfile.read(size))["messages"][0]["content"]
            body = json.dumps({"choices": [{"message": {"content": answer(prompt)}}]}).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = QuietServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["wideseek-judge", *arguments])
    try:
        main()
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def test_check_passes_an_endpoint_that_judges_well(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], stub: Any
) -> None:
    with endpoint(stub(honest).answer) as url:
        assert run(monkeypatch, "check", f"endpoint.base_url={url}") == 0
    shown = capsys.readouterr().out
    assert "3 requests" in shown
    assert "WRONG" not in shown


@pytest.mark.parametrize(
    ("answer", "line"),
    [
        ("no idea", "JudgeError: table: no readable verdict in 3 replies"),
        ('{"1": 1, "2": 1, "correct": 1}', "easy cases wrongly"),
    ],
)
def test_check_fails_with_one_line(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    answer: str,
    line: str,
) -> None:
    with endpoint(lambda _: answer) as url:
        assert run(monkeypatch, "check", f"endpoint.base_url={url}") == 2
    error = capsys.readouterr().err
    assert line in error
    assert error.count("\n") == 1


def test_check_names_an_endpoint_that_is_not_there(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("endpoint.base_url=http://127.0.0.1:9/v1", "endpoint.max_attempts=1")
    assert run(monkeypatch, "check", *arguments) == 2
    assert capsys.readouterr().err.startswith("JudgeError: http://127.0.0.1:9/v1: can't be reached")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ([], 0),
        (["--help"], 0),
        (["--version"], 0),
        (["check", "--help"], 0),
        (["check", "--help", "endpoint"], 0),
        (["check", "--help", "endpiont"], 2),
        (["check", "--mode", "strict"], 2),
        (["chekc"], 2),
    ],
)
def test_help_and_unknown_commands(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int
) -> None:
    assert run(monkeypatch, *arguments) == code
