"""How an answer is shown, and when it counts as supported."""

import json
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from wideseek_apps.ask_config import AskConfig, check_ask
from wideseek_apps.asking import ask, render
from wideseek_apps.evidence import Evidence
from wideseek_core import ConfigError, Episode, Finish, Status, Trajectory, Turn, load_config
from wideseek_core.search import Page

TABLE = "```markdown\n| Element | Symbol |\n| --- | --- |\n| Mercury | {} |\n```"


def ended(answer: str, status: Status = Status.FINISHED) -> Episode:
    main = Trajectory(agent=0, role="lead", status=status, turns=(), answer=answer)
    return Episode(task_id="question", trial=0, trajectories=(main,), answer=answer)


@pytest.fixture
def evidence() -> Evidence:
    found = Evidence()
    found.add_page(Page(url="x:Mercury", text="Mercury has the symbol Hg."))
    return found


def test_a_table_of_values_that_were_read_is_supported(evidence: Evidence) -> None:
    answered = render(ended(TABLE.format("Hg")), evidence, "table")
    assert answered.supported
    assert "unsupported" not in answered.text
    assert answered.text.endswith("Sources\n  1. x:Mercury")


def test_a_value_that_nobody_read_is_marked(evidence: Evidence) -> None:
    answered = render(ended(TABLE.format("7439-97-6")), evidence, "table")
    assert not answered.supported
    assert "7439-97-6 ?" in answered.text
    assert "Mercury ?" not in answered.text
    assert "? unsupported: in nothing that the agents read" in answered.text


def test_a_short_answer_is_marked_too(evidence: Evidence) -> None:
    assert render(ended(r"\boxed{Hg}"), evidence, "text").supported
    answered = render(ended(r"\boxed{South America}"), evidence, "text")
    assert answered.text.startswith("South America ?\n")
    assert not answered.supported


@pytest.mark.parametrize("nothing", ["unknown", "Unknown.", "n/a", "-", "not found"])
def test_an_answer_that_states_nothing_is_no_answer(nothing: str, evidence: Evidence) -> None:
    short = render(ended(rf"\boxed{{{nothing}}}"), evidence, "text")
    assert short.text.startswith("No short answer. The agent wrote:")
    assert not short.supported
    table = render(ended(TABLE.format(nothing)), evidence, "table")
    assert not table.supported
    assert "unsupported" not in table.text


@pytest.mark.parametrize(
    ("answer", "shown"),
    [
        (r"\boxed{Hg}", "No table. The agent wrote:\n\\boxed{Hg}"),
        ("| Element |\n| --- |", "No table. The agent wrote:\n| Element |"),
        ("", "No table."),
    ],
)
def test_an_answer_of_another_form_is_no_answer(
    answer: str, shown: str, evidence: Evidence
) -> None:
    answered = render(ended(answer), evidence, "table")
    assert answered.text.startswith(shown)
    assert not answered.supported


@pytest.mark.parametrize("status", [Status.CONTEXT_OVERFLOW, Status.TURN_LIMIT, Status.REPETITION])
def test_an_agent_that_did_not_finish_gives_no_supported_answer(
    status: Status, evidence: Evidence
) -> None:
    assert not render(ended(TABLE.format("Hg"), status), evidence, "table").supported
    answered = render(ended("", status), evidence, "table")
    assert answered.text.startswith(f"No answer: the agent ended with {status}.")
    assert not answered.supported


def test_a_question_is_wanted() -> None:
    with pytest.raises(ConfigError, match="no question"):
        check_ask(load_config(AskConfig, [], sentence="question"))


def test_a_table_that_was_cut_off_is_shown_with_a_warning(evidence: Evidence) -> None:
    turn = Turn(text=f"<think>hm</think>{TABLE.format('Hg')}\nThe tab", finish=Finish.LENGTH)
    main = Trajectory(agent=0, role="lead", status=Status.TURN_CUT, turns=(turn,))
    episode = Episode(task_id="question", trial=0, trajectories=(main,))
    answered = render(episode, evidence, "table")
    assert "Hg" in answered.text
    assert "! the response was cut off" in answered.text
    assert not answered.supported


async def test_a_lead_that_fails_leaves_the_reports_of_its_subagents(tmp_path: Path) -> None:
    def reply(body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        messages = body["messages"]
        if "You lead a team" not in messages[0]["content"]:
            return 200, {"choices": [{"message": {"content": "Triton: 1353 km"}}]}
        if len(messages) > 2:
            return 400, {"error": {"message": "content filter"}}
        call = {"name": "create_sub_agents", "arguments": {"sub_agents": ["radius of Triton"]}}
        text = f"<tool_call>{json.dumps(call)}</tool_call>"
        return 200, {"choices": [{"message": {"content": text}}]}

    pages = tmp_path / "pages.jsonl"
    pages.write_text('{"url": "u", "contents": "Triton"}\n')
    with endpoint(reply) as base_url:
        settings = ["policy.kind=endpoint", "policy.model=m", f"policy.base_url={base_url}"]
        world = ["world.kind=corpus", f"world.pages={pages}"]
        config = load_config(AskConfig, [*settings, *world, "quiet=yes", "question=Which?"])
        answered = await ask(config)
    assert answered.text.startswith("No answer: ")
    assert "content filter" in answered.text
    assert "What was found:\n\nradius of Triton\nTriton: 1353 km" in answered.text
    assert not answered.supported


@contextmanager
def endpoint(
    reply: Callable[[dict[str, Any]], tuple[int, dict[str, Any]]],
) -> Generator[str]:
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
