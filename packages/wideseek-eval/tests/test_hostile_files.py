"""Whatever a file of tasks, responses or results holds: it is read, or refused by file and line."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wideseek_core import DataError
from wideseek_core.episode_records import read_episodes
from wideseek_core.files import read_records
from wideseek_eval import JsonlData, Result, load_tasks
from wideseek_eval.runs.responses import read_responses

TEXT = st.text(st.characters(exclude_categories=()), max_size=12)
TABLE = st.sampled_from(
    ["| a | b |\n|---|---|\n| 1 | 2 |", "| a |\n|-|", "|", "a | b\n--- | ---\n"]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT | TABLE,
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(TEXT, inside, max_size=3),
    max_leaves=6,
)
KEYS = st.sampled_from(
    "question query answer gt unique_columns is_markdown instance_id id language evaluation source "
    "required eval_pipeline response messages trial_idx task_id trial score episode version".split()
)
LINES = st.dictionaries(KEYS, VALUES, max_size=6).map(json.dumps) | TEXT
READERS: dict[str, Callable[[Path], object]] = {
    "tasks": lambda path: load_tasks(JsonlData(path=path)),
    "responses": read_responses,
    "results": lambda path: list(read_records(path, Result)),
    "episodes": lambda path: list(read_episodes(path)),
}


@pytest.mark.parametrize("kind", READERS)
@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(line=LINES)
def test_a_line_is_read_or_refused_in_one_line(tmp_path: Path, kind: str, line: str) -> None:
    path = tmp_path / "lines.jsonl"
    path.write_bytes(line.encode("utf-8", "surrogatepass") + b"\n")
    complaint = str(path)
    try:
        READERS[kind](path)
    except DataError as error:
        complaint = str(error)
    assert str(path) in complaint
    assert "\n" not in complaint
