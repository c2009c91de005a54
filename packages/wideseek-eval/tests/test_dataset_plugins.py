"""A data set of another distribution: a folder with a module and its metadata, and no edit here."""

import json
import os
import subprocess
import sys
from pathlib import Path

MODULE = '''
from typing import Literal

from wideseek_core import DataError, Task, TextGold
from wideseek_core.datasets import Selection, select
from wideseek_core.plugins import Plugin


class Sums(Selection):
    """Sums to work out."""

    kind: Literal["sums"] = "sums"
    highest: int = 3


def load(config):
    gold = lambda n: TextGold(answers=(str(n + n),))
    tasks = [
        Task(id=f"sum-{n}", question=f"{n} + {n}?", gold=gold(n)) for n in range(config.highest)
    ]
    return select(tasks, config) if tasks else []


PLUGIN = Plugin(config=Sums, open=load)
'''

SCRIPT = """
import json, sys
from pydantic import TypeAdapter
from wideseek_core import Config
from wideseek_core.config import load_config
from wideseek_core.exits import exit_on_error
from wideseek_eval import DataConfig, QaData, load_tasks


class App(Config):
    data: DataConfig = QaData(path="qa.jsonl")


with exit_on_error():
    tasks = load_tasks(load_config(App, sys.argv[1:]).data)
    print(json.dumps([[task.question, *task.gold.answers] for task in tasks]))
"""


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    (folder / "sums.py").write_text(MODULE)
    info = folder / "sums-1.0.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: sums\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[wideseek.datasets]\nsums = sums:PLUGIN\n")
    return subprocess.run(
        [sys.executable, "-c", SCRIPT, *arguments],
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
    )


def test_an_installed_data_set_is_chosen_by_its_kind(tmp_path: Path) -> None:
    done = run(tmp_path, "data.kind=sums", "data.highest=4", "data.limit=2")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == [["0 + 0?", "0"], ["1 + 1?", "2"]]


def test_its_keys_are_checked_and_an_empty_one_is_refused(tmp_path: Path) -> None:
    done = run(tmp_path, "data.kind=sums", "data.hihgest=4")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "did you mean 'data.highest'" in done.stderr
    done = run(tmp_path, "data.kind=sums", "data.highest=0")
    assert (done.returncode, done.stderr) == (2, "DataError: data.kind=sums: no tasks\n")
