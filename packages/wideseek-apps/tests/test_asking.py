"""Asking: sessions, interruption, what is shown while agents work, and what is kept of them."""

import io
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from wideseek_agents import AgentEnded, AgentStarted, ToolAnswered, TurnTaken
from wideseek_apps.ask_config import AskConfig, piped_question
from wideseek_apps.asking import ask, converse
from wideseek_apps.live_tree import Agents
from wideseek_core import ConfigError, Finish, Status, load_config

Reply = Callable[[dict[str, Any]], tuple[int, dict[str, Any]]]


def says(text: str) -> tuple[int, dict[str, Any]]:
    return 200, {"choices": [{"message": {"content": text}}]}


def delegates(*subtasks: str) -> tuple[int, dict[str, Any]]:
    call = {"name": "create_sub_agents", "arguments": {"sub_agents": list(subtasks)}}
    return says(f"<tool_call>{json.dumps(call)}</tool_call>")


def leads(body: dict[str, Any]) -> bool:
    return "You lead a team" in body["messages"][0]["content"]


@pytest.fixture
def settings(tmp_path: Path) -> list[str]:
    pages = tmp_path / "pages.jsonl"
    pages.write_text('{"url": "u", "contents": "Triton"}\n')
    world = ["world.kind=corpus", f"world.pages={pages}"]
    return ["policy.kind=endpoint", "policy.model=m", *world, "policy.max_attempts=1"]


async def test_a_lead_that_fails_leaves_the_reports_of_its_subagents(settings: list[str]) -> None:
    def reply(body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if not leads(body):
            return says("Triton: 1353 km")
        if len(body["messages"]) > 2:
            return 400, {"error": {"message": "content filter"}}
        return delegates("radius of Triton")

    with endpoint(reply) as base_url:
        given = [*settings, f"policy.base_url={base_url}", "quiet=yes", "question=Which?"]
        answered = await ask(load_config(AskConfig, given))
    assert answered.text.startswith("No answer: ")
    assert "content filter" in answered.text
    assert "What was found:\n\nradius of Triton\nTriton: 1353 km" in answered.text
    assert not answered.supported


@pytest.mark.parametrize("form", ["table", "json"])
async def test_a_lead_without_turns_leaves_the_reports_of_its_subagents(
    settings: list[str], form: str
) -> None:
    def reply(body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        return delegates("radius of Triton") if leads(body) else says("Triton: 1353 km")

    with endpoint(reply) as base_url:
        given = [*settings, f"policy.base_url={base_url}", "quiet=yes", "question=Which?"]
        limit = ["team.lead.max_turns=3", f"form={form}"]
        answered = await ask(load_config(AskConfig, [*given, *limit]))
    assert not answered.supported
    if form == "json":
        assert json.loads(answered.text)["rows"] == []
        return
    assert answered.text.startswith("No answer: the agent ended with turn_limit.")
    assert answered.text.count("What was found:\n\nradius of Triton\nTriton: 1353 km") == 1
    assert answered.text.count("1353 km") == 1


async def test_a_single_agent_that_fails_leaves_the_pages_it_opened(settings: list[str]) -> None:
    def reply(body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if len(body["messages"]) > 2:
            return 400, {"error": {"message": "content filter"}}
        call = {"name": "access", "arguments": {"url": "u", "info_to_extract": "all"}}
        return says(f"<tool_call>{json.dumps(call)}</tool_call>")

    with endpoint(reply) as base_url:
        given = [*settings, f"policy.base_url={base_url}", "quiet=yes", "question=Which?"]
        answered = await ask(load_config(AskConfig, [*given, "team.workflow=single_agent"]))
    assert "content filter" in answered.text
    assert answered.text.endswith("Sources\n  1. u")
    assert not answered.supported


async def test_a_follow_up_knows_the_earlier_answers(
    settings: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[str] = []

    def reply(body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        asked.append(body["messages"][-1]["content"])
        return says(f"| Moon |\n| --- |\n| Moon {len(asked)} |")

    questions = iter(["Which moons?", "  ", "And their radius?", "And now?", None])
    with endpoint(reply) as base_url:
        given = [*settings, f"policy.base_url={base_url}", "quiet=yes", "history=1"]
        await converse(load_config(AskConfig, given), lambda: next(questions))
    assert "earlier" not in asked[0].lower()
    assert "Which moons?" in asked[1]
    assert "| Moon 1 |" in asked[1]
    assert "And their radius?" in asked[1]
    assert "Moon 2" in asked[2]
    assert "Moon 1 " not in asked[2]
    assert capsys.readouterr().out.count("Moon 2 ?") == 1


async def test_a_question_that_fails_does_not_end_the_session(
    settings: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    def reply(body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if "Bad" in body["messages"][-1]["content"]:
            return 400, {"error": {"message": "content filter"}}
        return says("| Moon |\n| --- |\n| Triton |")

    questions = iter(["Bad?", "Good?", None])
    with endpoint(reply) as base_url:
        given = [*settings, f"policy.base_url={base_url}", "quiet=yes"]
        await converse(load_config(AskConfig, given), lambda: next(questions))
    assert "Triton" in capsys.readouterr().out


def test_ctrl_c_shows_what_was_found_so_far(settings: list[str]) -> None:
    waits, ends = threading.Event(), threading.Event()

    def reply(body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if leads(body):
            return delegates("fast", "slow")
        if "slow" in body["messages"][-1]["content"]:
            waits.set()
            ends.wait(300)
        return says("Triton: 1353 km")

    with endpoint(reply) as base_url:
        given = [*settings, f"policy.base_url={base_url}"]
        process = command(["Which?", *given], subprocess.PIPE)
        try:
            assert waits.wait(300)
            assert process.stderr is not None
            log = ""
            while "agent 1 finished" not in log:
                log += process.stderr.readline()
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=300)
        finally:
            process.kill()
            ends.set()
    assert process.returncode == 130
    assert "Traceback" not in err
    assert err.rstrip().endswith("interrupted")
    assert "Interrupted.\n\nWhat was found:\n\nfast\nTriton: 1353 km" in out


@pytest.mark.parametrize("given", [b"", b"  \n", b"\xff\xfe", b"x" * 20_001])
@pytest.mark.parametrize("errors", ["strict", "surrogateescape"])
def test_a_question_that_cannot_be_read_is_refused(
    given: bytes, errors: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given), "utf-8", errors))
    with pytest.raises(ConfigError):
        piped_question()


def test_without_a_terminal_a_question_is_wanted_in_one_line() -> None:
    process = command([], subprocess.DEVNULL)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 2
    assert err == 'ConfigError: no question; for example: wideseek ask "List the ..."\n'
    assert not out


def test_a_question_may_come_through_a_pipe(settings: list[str]) -> None:
    with endpoint(lambda _: says("See:\n| Moon |\n| --- |\n| Triton |")) as base_url:
        given = [*settings, f"policy.base_url={base_url}", "quiet=yes", "--csv"]
        process = command(given, subprocess.PIPE)
        out, err = process.communicate("Which moons?\n", timeout=300)
    assert out == "Moon\nTriton\n"
    assert process.returncode == 1
    assert err == "not supported: some values are in nothing that the agents read\n"


def turn(agent: int, requests: int, **values: Any) -> TurnTaken:
    return TurnTaken(
        agent=agent, turn=2, turns=6, text="", finish=Finish.STOP, requests=requests,
        prompt_tokens=900, response_tokens=100, **values,
    )  # fmt: skip


def test_the_tree_shows_state_turns_requests_tokens_and_cost() -> None:
    agents = Agents("Which moons?")
    agents.take(AgentStarted(agent=0, role="lead", prompt="Earlier ... Which moons?"))
    agents.take(turn(0, 2, cost=0.5))
    agents.take(AgentStarted(agent=1, role="subagent", prompt="a\x1b[2J", parent=0))
    agents.take(AgentStarted(agent=2, role="subagent", prompt="[red]b[/]", parent=0))
    agents.take(turn(2, 3))
    agents.take(ToolAnswered(agent=2, tool="search", request="q", ok=False, seconds=0.1, urls=()))
    lines = [line.plain for line in agents.lines(20)]
    assert lines[:3] == [
        "agent 0 lead waiting turn 2/6, 0/2 requests, 1,000 tokens, cost 0.5000  Which moons?",
        "├─ agent 1 subagent thinking  a\ufffd[2J",
        "└─ agent 2 subagent search turn 2/6, 1/3 requests (1 failed), 1,000 tokens  [red]b[/]",
    ]
    assert "0 of 3 agents ended, 1 request, 2,000 tokens, cost 0.5000" in lines[3]


def test_the_tree_fits_the_terminal_and_keeps_running_agents() -> None:
    agents = Agents()
    agents.take(AgentStarted(agent=0, role="lead", prompt="q"))
    for number in range(1, 101):
        agents.take(AgentStarted(agent=number, role="subagent", prompt=f"p{number}", parent=0))
        if number != 50:
            agents.take(
                AgentEnded(agent=number, role="subagent", status=Status.FINISHED, answer="a")
            )
    lines = [line.plain for line in agents.lines(10)]
    assert len(lines) == 10
    assert any("agent 50 subagent thinking" in line for line in lines)
    assert "└─ 93 more subagents" in lines
    assert agents.reports()[0] == ("p1", "a")


def command(arguments: list[str], stdin: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "wideseek_apps", "ask", *arguments],
        stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


@contextmanager
def endpoint(reply: Reply) -> Generator[str]:
    """A chat endpoint on this machine."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._send(200, {"data": []})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            self._send(*reply(body))

        def _send(self, status: int, value: dict[str, Any]) -> None:
            data = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            return None

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
