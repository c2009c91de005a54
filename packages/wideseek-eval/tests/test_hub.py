"""WideSearch from the hub: the real client against a hub on a loopback port."""

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Generator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from wideseek_eval.datasets.widesearch import REPOSITORY, REVISION, SHA256, digest

pytest.importorskip("huggingface_hub")

SCRIPT = """
import sys
from wideseek_core.config import exit_on_error
from wideseek_eval import WideSearchData, load_tasks

with exit_on_error():
    tasks = load_tasks(WideSearchData.model_validate_json(sys.argv[1]))
    sys.stdout.write(f"{len(tasks)} {tasks[0].id} {tasks[0].rows} {tasks[-1].language}")
"""
OTHER = "1" * 40
SHORT = "2" * 40
LACKING = "3" * 40
Files = dict[str, bytes]


def set_of(count: int) -> Files:
    """A small WideSearch: its task file and gold tables by path."""
    lines: list[str] = []
    files: Files = {"README.md": b"not wanted"}
    evaluation = json.dumps({"required": ["city", "country"], "unique_columns": ["city"]})
    for number in range(count):
        name = f"ws_{'en' if number < count / 2 else 'zh'}_{number:03d}"
        language = name.split("_")[1]
        row = {"instance_id": name, "query": f"List {number}.", "language": language}
        lines.append(json.dumps(row | {"evaluation": evaluation}))
        table = f"\ufeffCity,Country\nBonn,Germany\nLyon {number},France\n"
        files[f"widesearch_gold/{name}.csv"] = table.encode()
    files["widesearch.jsonl"] = "\n".join(lines).encode()
    return files


def hub_of(states: Mapping[str, Files]) -> type[BaseHTTPRequestHandler]:
    """What the client asks of a hub: a revision's list of files, and the files."""

    class Hub(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            path = self.path.partition("?")[0].replace("%2F", "/")
            for revision, files in states.items():
                if path == f"/api/datasets/{REPOSITORY}/revision/{revision}":
                    siblings = [{"rfilename": name} for name in files]
                    listed = {"id": REPOSITORY, "sha": revision, "siblings": siblings}
                    return self.reply(revision, json.dumps(listed).encode())
                if path == f"/api/datasets/{REPOSITORY}/tree/{revision}":
                    tree = [
                        {"type": "file", "path": name, "size": len(data), "oid": "0" * 40}
                        for name, data in files.items()
                    ]
                    return self.reply(revision, json.dumps(tree).encode())
                place = f"/datasets/{REPOSITORY}/resolve/{revision}/"
                if path.startswith(place) and path.removeprefix(place) in files:
                    return self.reply(revision, files[path.removeprefix(place)])
            self.send_response(404)
            self.send_header("x-error-code", "RevisionNotFound")
            self.send_header("content-length", "0")
            return self.end_headers()

        def reply(self, revision: str, data: bytes) -> None:
            self.send_response(200)
            self.send_header("content-length", str(len(data)))
            self.send_header("content-type", "application/json")
            self.send_header("etag", f'"{hashlib.sha256(data).hexdigest()}"')
            self.send_header("x-repo-commit", revision)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    return Hub


@pytest.fixture(scope="module")
def hub() -> Generator[str]:
    whole = set_of(200)
    lacking = {name: data for name, data in whole.items() if not name.endswith("_007.csv")}
    states = {REVISION: whole, OTHER: whole, SHORT: set_of(199), LACKING: lacking}
    server = ThreadingHTTPServer(("127.0.0.1", 0), hub_of(states))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hub")


def load(hub: str, home: Path, **config: object) -> subprocess.CompletedProcess[str]:
    """Loads in a process of its own: the client reads its address when it is imported."""
    quiet = {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    own = {"HF_ENDPOINT": hub, "HF_HOME": str(home), "NO_PROXY": "127.0.0.1"}
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    command = [sys.executable, "-c", SCRIPT, json.dumps(config)]
    environment = kept | quiet | own
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


def local_digest(folder: Path) -> str:
    for name, data in set_of(200).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return digest(folder / "widesearch.jsonl", folder / "widesearch_gold")


def refused(done: subprocess.CompletedProcess[str]) -> str:
    """The one line of an error."""
    assert done.returncode == 2, done.stderr
    return done.stderr.strip().splitlines()[-1]


def test_200_tasks_come_from_the_hub_and_are_checked(hub: str, home: Path, tmp_path: Path) -> None:
    done = load(hub, home, revision=OTHER, sha256=local_digest(tmp_path))
    assert done.stdout == "200 ws_en_000 2 zh", done.stderr


def test_another_content_of_the_pinned_revision_is_refused(hub: str, home: Path) -> None:
    line = refused(load(hub, home))
    assert line.startswith("DataError: ")
    assert "widesearch.jsonl: sha256 of tasks and gold tables is " in line
    assert line.endswith(f"not {SHA256}")


def test_199_tasks_are_refused(hub: str, home: Path) -> None:
    assert "widesearch.jsonl: 199 tasks, not 200" in refused(load(hub, home, revision=SHORT))


def test_a_gold_table_that_the_hub_lacks_is_named_with_its_line(hub: str, home: Path) -> None:
    line = refused(load(hub, home, revision=LACKING))
    assert "widesearch.jsonl:8: no gold table " in line
    assert line.endswith("ws_en_007.csv")


def test_an_unknown_revision_is_one_line(hub: str, home: Path) -> None:
    line = refused(load(hub, home, revision="4" * 40))
    assert line.startswith(f"DataError: can't download {REPOSITORY} at {'4' * 40}: ")
