"""What whole-run tests share: an untrained policy, a small world, and ways to run an app."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from wideseek_apps.main import main

ROOT = Path(__file__).parents[1]

MOONS = [
    ("Triton", "Neptune", 1353),
    ("Nereid", "Neptune", 170),
    ("Titan", "Saturn", 2575),
    ("Rhea", "Saturn", 764),
    ("Io", "Jupiter", 1822),
]

TINY = (
    "vocab_size=1024",
    "vocabulary_worlds=10",
    "demos.worlds=10",
    "demos.processes=1",
    "shape.hidden_size=32",
    "shape.layers=2",
    "shape.heads=2",
    "shape.kv_heads=1",
    "shape.head_dim=16",
    "shape.ffn_size=64",
    "sft.max_seconds=0.1",
    "sft.batch_tokens=2048",
    "device=cpu",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def complaint(self) -> str:
        """The one line of a command that could not do its work."""
        assert self.code == 2, f"exit {self.code}: {self.err}"
        (line,) = self.err.splitlines()
        return line


Run = Callable[..., Ended]


@pytest.fixture(scope="session")
def surroundings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Environment of a command: one thread, and a cache of the session's own."""
    cache = str(tmp_path_factory.mktemp("cache"))
    return {**os.environ, "OMP_NUM_THREADS": "1", "WIDESEEK_CACHE": cache, "COLUMNS": "120"}


def command(app: str, arguments: Sequence[str]) -> list[str]:
    """A command line: the folder of an app, or a sub-command that has none."""
    folder = ROOT / "apps" / app
    start = [str(folder)] if folder.is_dir() else ["-m", "wideseek_apps", app]
    return [sys.executable, *start, *arguments]


@pytest.fixture(scope="session")
def run(surroundings: dict[str, str]) -> Run:
    """Runs an app as a user does: `run("qa", "data.limit=2")`."""

    def start(app: str, *arguments: str, limit: Callable[[], None] | None = None) -> Ended:
        done = subprocess.run(
            command(app, arguments),
            env=surroundings,
            capture_output=True,
            text=True,
            timeout=300,
            stdin=subprocess.DEVNULL,
            preexec_fn=limit,
        )
        return Ended(code=done.returncode, out=done.stdout, err=done.stderr)

    return start


@pytest.fixture
def call(
    surroundings: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Run:
    """The same in this process, which saves the seconds of starting."""

    def start(app: str, *arguments: str) -> Ended:
        monkeypatch.setenv("WIDESEEK_CACHE", surroundings["WIDESEEK_CACHE"])
        handler = signal.getsignal(signal.SIGINT)
        code: object = 0
        try:
            main([app, *arguments])
        except SystemExit as end:
            code = end.code
        finally:
            signal.signal(signal.SIGINT, handler)
        out, err = capsys.readouterr()
        assert isinstance(code, int)
        return Ended(code=code, out=out, err=err)

    return start


@pytest.fixture(scope="session")
def policy(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder that the app made in a moment; what it says is noise."""
    folder = tmp_path_factory.mktemp("policy") / "tiny"
    ended = run("sft", f"folder={folder}", *TINY, "team.tool_settings.mine.api_key=hunter2")
    assert ended.code == 0, ended.err
    return folder


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Files of a small corpus and the questions on it."""

    pages: Path
    wide: Path
    qa: Path


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Five moons, two wide questions, three short ones."""
    folder = tmp_path_factory.mktemp("world")
    made = World(pages=folder / "pages.jsonl", wide=folder / "wide.jsonl", qa=folder / "qa.jsonl")
    write_lines(
        made.pages,
        [
            {"url": f"moons:{moon}", "contents": f"{moon} circles {planet}: {radius} km."}
            for moon, planet, radius in MOONS
        ],
    )
    write_lines(made.wide, [wide_question(planet) for planet in ("Neptune", "Saturn")])
    write_lines(
        made.qa,
        [
            {"question": f"Which planet does {moon} circle?", "answer": planet}
            for moon, planet, _ in MOONS[:3]
        ],
    )
    return made


def wide_question(planet: str) -> dict[str, object]:
    rows = [f"| {moon} | {radius} |" for moon, around, radius in MOONS if around == planet]
    return {
        "question": f"List the moons of {planet}. The columns are: Moon, Radius.",
        "answer": "\n".join(["| Moon | Radius |", "| --- | --- |", *rows]),
        "unique_columns": ["Moon"],
        "is_markdown": True,
    }


def write_lines(path: Path, rows: Sequence[object]) -> None:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), "utf-8")
