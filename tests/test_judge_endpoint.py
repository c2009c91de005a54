"""`wideseek-eval ... judge.kind=llm` against a chat endpoint on a loopback port."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from wideseek_core import ConfigError
from wideseek_core.testing import wait_until
from wideseek_eval import load_run
from wideseek_eval.cli import main, run

TABLE = "| City | River |\n| --- | --- |\n"
TASK = {
    "instance_id": "rivers",
    "question": "Which rivers?",
    "answer": f"{TABLE}| Vienna | Danube |\n| Cairo | Nile |",
    "unique_columns": ["City"],
    "evaluation": {"required": ["City", "River"]},
}
ANSWER = f"{TABLE}| Wien | Donau |\n| Cairo | Amazon |"
RIGHT = {("Wien", "Vienna"), ("Donau", "Danube")}


@dataclass(slots=True)
class Endpoint:
    """Answers as a sensible model would, unless it is given a status or a reply."""

    status: int = 200
    reply: str = ""
    gate: threading.Event | None = None
    """Until it is set, nothing is answered."""
    url: str = ""
    keys: list[str] = field(default_factory=list[str])
    bodies: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    def answer(self, prompt: str) -> str:
        start = prompt.index("Groups, as JSON:") + len("Groups, as JSON:")
        groups = json.JSONDecoder().raw_decode(prompt[start:].lstrip())[0]
        verdicts: dict[str, int] = {}
        for group in groups:
            for at, item in group.get("items", {}).items():
                verdicts[at] = int((item["answer"], item["reference"]) in RIGHT)
            for at, value in group.get("values", {}).items():
                named = (n for n, name in group["references"].items() if (value, name) in RIGHT)
                verdicts[at] = int(next(named, "0"))
        return json.dumps(verdicts)


@contextmanager
def serving(model: Endpoint) -> Generator[Endpoint]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["content-length"]))
            body = json.loads(raw)
            model.keys.append(self.headers.get("authorization", ""))
            model.bodies.append(body | {"path": self.path})
            if model.gate is not None:
                model.gate.wait(600)
            text = model.reply or model.answer(body["messages"][0]["content"])
            data = json.dumps({"choices": [{"message": {"content": text}}]}).encode()
            self.send_response(model.status)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    model.url = f"http://127.0.0.1:{server.server_port}/v1"
    try:
        yield model
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def files(folder: Path) -> list[str]:
    (folder / "tasks.jsonl").write_text(json.dumps(TASK) + "\n")
    response = {"instance_id": "rivers", "response": ANSWER, "trial_idx": 0}
    (folder / "responses.jsonl").write_text(json.dumps(response) + "\n")
    places = [f"tasks={folder / 'tasks.jsonl'}", f"responses={folder / 'responses.jsonl'}"]
    return [*places, "mode=strict", "judge.kind=llm"]


def outcome(folder: Path, *settings: str) -> dict[str, Any]:
    out = folder / "out.json"
    run(["score", *files(folder), f"json_file={out}", "judge.cache=null", *settings])
    return json.loads(out.read_text())


def test_the_endpoint_its_model_and_its_key_can_be_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WIDESEEK_JUDGE_API_KEY", "s3cret")
    with serving(Endpoint()) as model:
        scored = outcome(
            tmp_path, f"judge.endpoint.base_url={model.url}", "judge.endpoint.model=grader-7b"
        )
    # Both keys and the Danube are right, the Amazon is not: 3 of 4 cells.
    assert scored["results"][0]["score"]["metrics"]["item_f1"] == pytest.approx(3 / 4)
    assert model.keys == ["Bearer s3cret"]
    assert [(b["path"], b["model"], b["temperature"]) for b in model.bodies] == [
        ("/v1/chat/completions", "grader-7b", 0)
    ]
    assert "s3cret" not in json.dumps(scored)


def test_another_variable_may_hold_the_key_and_a_file_the_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTHER_KEY", "k2")
    with serving(Endpoint()) as model:
        config = tmp_path / "judge.yaml"
        config.write_text(
            f"judge: {{endpoint: {{base_url: '{model.url}', api_key_env: OTHER_KEY, model: m}}}}\n"
        )
        outcome(tmp_path, str(config), "judge.endpoint.model=m2")
    assert model.keys == ["Bearer k2"]
    assert model.bodies[0]["model"] == "m2"


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("judge.kind=nobody", "judge.kind: "),
        ("judge.endpoint.url=http://127.0.0.1:9", "unknown key 'judge.endpoint.url'"),
        ("judge.endpoint.max_attempts=0", "judge.endpoint.max_attempts: "),
        ("judge.endpoint.model=null", "judge.endpoint.model: "),
        ("mode=loose", "judge.mode: "),
    ],
)
def test_a_setting_of_the_judge_is_refused_by_its_whole_key(
    setting: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=f"^{message}"):
        run(["score", *files(tmp_path), setting])


def test_settings_of_every_type_reach_the_judge(tmp_path: Path) -> None:
    with serving(Endpoint()) as model:
        settings = ("structured_output=false", "max_tokens=64", "model=007")
        outcome(
            tmp_path,
            f"judge.endpoint.base_url={model.url}",
            *(f"judge.endpoint.{setting}" for setting in settings),
            "judge.extract=[tag,whole]",
            "judge.batch_window_s=1e-3",
        )
    (body,) = model.bodies
    assert (body["model"], body["max_tokens"]) == ("007", 64)
    assert "response_format" not in body


def test_an_unreadable_judge_leaves_the_answer_unscored(tmp_path: Path) -> None:
    with serving(Endpoint(reply="I would rather not say.")) as model:
        scored = outcome(tmp_path, f"judge.endpoint.base_url={model.url}")
    assert scored["summary"]["overall"]["counts"]["unscored"] == 1
    assert scored["summary"]["overall"]["metrics"]["item_f1"]["avg"]["questions"] == 0


def test_a_refused_key_is_one_line_and_exit_code_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(Endpoint(status=401)) as model:
        setting = f"judge.endpoint.base_url={model.url}"
        command = ["score", *files(tmp_path), setting, "judge.cache=null"]
        monkeypatch.setattr(sys, "argv", ["wideseek-eval", *command])
        with pytest.raises(SystemExit) as exit_:
            main()
    assert exit_.value.code == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line for line in lines if "the key was refused" in line] == lines[-1:]


def test_an_imported_run_is_graded_again_by_a_model(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    tasks = files(tmp_path)[:2]
    run(["import", str(folder), *tasks, "mode=strict", "judge.kind=exact"])
    with serving(Endpoint()) as model:
        judged = ["mode=strict", "judge.kind=llm", f"judge.endpoint.base_url={model.url}"]
        run(["regrade", str(folder), "name=model", *judged, "judge.cache=null"])
    figures = [
        load_run(folder, name).results[0].score.value  # pyright: ignore[reportOptionalMemberAccess]
        for name in ("", "model")
    ]
    assert figures == pytest.approx([1 / 4, 3 / 4])


@pytest.mark.parametrize("status", [200, 400, 401, 429, 500])
def test_a_key_that_the_endpoint_echoes_is_shown_and_written_nowhere(
    status: int, tmp_path: Path
) -> None:
    key = "sk-very-secret-0123456789"
    with serving(Endpoint(status=status, reply=f"You sent Bearer {key}")) as model:
        out = tmp_path / "out.json"
        settings = [
            f"judge.endpoint.base_url={model.url}",
            "judge.endpoint.max_attempts=2",
            "judge.cache=null",
        ]
        settings += ["judge.endpoint.backoff_s=0", f"judge.transcripts={tmp_path / 'judge.jsonl'}"]
        command = ["score", *files(tmp_path), f"json_file={out}", *settings]
        ended = subprocess.run(
            [sys.executable, "-m", "wideseek_eval.cli", *command],
            env=os.environ | {"WIDESEEK_JUDGE_API_KEY": key},
            capture_output=True,
            text=True,
            check=False,
        )
    assert model.keys[0] == f"Bearer {key}"
    written = [path.read_text() for path in tmp_path.iterdir() if path.name != "responses.jsonl"]
    for text in (ended.stdout, ended.stderr, *written):
        assert "very-secret" not in text


def test_an_interrupted_judge_says_so_and_nothing_else(tmp_path: Path) -> None:
    with serving(Endpoint(gate=threading.Event())) as model:
        settings = [f"judge.endpoint.base_url={model.url}", "judge.cache=null"]
        child = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "wideseek_eval.cli",
                "score",
                *files(tmp_path),
                *settings,
            ],
            stderr=subprocess.PIPE,
            text=True,
            # A test run in the background ignores interrupts, and children inherit that.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        wait_until(lambda: bool(model.bodies) or child.poll() is not None)
        child.send_signal(signal.SIGINT)
        _, errors = child.communicate(timeout=300)
        assert model.gate is not None
        model.gate.set()
    assert child.returncode == 130
    assert errors.splitlines()[-1] == "interrupted"
    assert "never retrieved" not in errors
    assert "Traceback" not in errors
