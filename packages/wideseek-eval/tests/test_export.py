"""Runs in formats of others: tables of results, and traces."""

import csv
import json
import sys
import zipfile
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest

from wideseek_core import ConfigError, DataError, Episode, Score, ScoreState, TextMetrics
from wideseek_core.episode_records import episode_record
from wideseek_core.files import append_line
from wideseek_eval.cli import run

SPEC = spec_from_file_location("demo_run", Path(__file__).parent / "demo_run.py")
assert SPEC is not None
assert SPEC.loader is not None
DEMO = module_from_spec(SPEC)
SPEC.loader.exec_module(DEMO)


@pytest.fixture
async def folder(tmp_path: Path) -> str:
    """An evaluation of two rollouts."""
    await DEMO.write_run(tmp_path / "run", 2)
    return str(tmp_path / "run")


def write_training(folder: Path) -> None:
    for step in (1, 2):
        agents = tuple(DEMO.make_agents())
        episode = Episode(task_id="t", trial=0, trajectories=agents, answer="a")
        score = Score(state=ScoreState.SCORED, metrics=TextMetrics(correct=1.0))
        record = episode_record(episode, step=step, reward=1.1, score=score)
        append_line(folder / "episodes" / f"step_{step:06d}.jsonl", record)


async def test_the_results_are_a_table_with_a_row_for_each_rollout(
    folder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(["export", folder, str(tmp_path / "a.csv")])
    assert f"2 results: {tmp_path / 'a.csv'}" in capsys.readouterr().out
    with (tmp_path / "a.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    first, second = rows
    assert (first["run"], first["task_id"], first["trial"]) == (folder, "t0", "0")
    assert (first["outcome"], first["status"], first["kind"]) == ("scored", "finished", "table")
    assert (first["item_f1"], second["item_f1"], first["row_f1"]) == ("0.0", "0.1", "0.33")
    assert (first["correct"], first["format_valid"], first["searches"]) == ("", "True", "2")
    assert first["question"] == "List the moons of Neptune.  (0)"
    assert first["answer"] == DEMO.ANSWER


@pytest.mark.skipif(find_spec("pyarrow") is None, reason="needs the extra parquet")
async def test_parquet_holds_the_same_rows_with_their_types(folder: str, tmp_path: Path) -> None:
    from importlib import import_module

    run(["export", folder, str(tmp_path / "a.parquet")])
    parquet: Any = import_module("pyarrow.parquet")
    table: Any = parquet.read_table(tmp_path / "a.parquet")
    rows: list[dict[str, Any]] = table.to_pylist()
    assert [(row["task_id"], row["item_f1"], row["correct"]) for row in rows] == [
        ("t0", 0.0, None),
        ("t1", 0.1, None),
    ]
    types = {field.name: str(field.type) for field in table.schema}
    assert (types["trial"], types["correct"], types["format_valid"]) == ("int64", "double", "bool")


async def test_without_pyarrow_the_package_to_install_is_named(
    folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ConfigError, match=r"pip install 'wideseek-eval\[parquet\]'"):
        run(["export", folder, str(tmp_path / "a.parquet")])
    assert not (tmp_path / "a.parquet").exists()


async def test_an_inspect_log_has_every_rollout_with_its_score(folder: str, tmp_path: Path) -> None:
    run(["export", folder, str(tmp_path / "a.eval")])
    with zipfile.ZipFile(tmp_path / "a.eval") as archive:
        summaries = json.loads(archive.read("summaries.json"))
        sample = json.loads(archive.read("samples/t1_epoch_1.json"))
    assert [(s["id"], s["scores"]["score"]["value"]) for s in summaries] == [("t0", 0), ("t1", 0.1)]
    agents = [event["name"] for event in sample["events"] if event["event"] == "span_begin"]
    assert agents == ["subagent 1", "subagent 2"]


async def test_otlp_is_one_trace_a_line_with_text_or_without(folder: str, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    run(["export", folder, str(path), "format=otlp"])
    texts = path.read_text("utf-8").splitlines()
    assert len(texts) == 2
    assert all("Triton is a **moon**" in text for text in texts)
    run(["export", folder, str(path), "format=otlp", "content=no"])
    assert "Triton" not in path.read_text("utf-8")


def test_the_rollouts_of_training_steps_are_told_apart(tmp_path: Path) -> None:
    write_training(tmp_path / "run")
    run(["export", str(tmp_path / "run"), str(tmp_path / "a.json"), "format=inspect"])
    samples = json.loads((tmp_path / "a.json").read_text("utf-8"))["samples"]
    assert [sample["id"] for sample in samples] == ["step 1: t", "step 2: t"]
    run(["export", str(tmp_path / "run"), str(tmp_path / "a.jsonl"), "format=otlp"])
    first = json.loads((tmp_path / "a.jsonl").read_text("utf-8").splitlines()[0])
    root = first["resourceSpans"][0]["scopeSpans"][0]["spans"][0]
    shown = {pair["key"]: pair["value"] for pair in root["attributes"]}
    assert shown["wideseek.step"] == {"intValue": "1"}
    assert shown["wideseek.reward"] == {"doubleValue": 1.1}


async def test_traces_of_a_run_that_kept_no_episodes_are_refused(
    folder: str, tmp_path: Path
) -> None:
    (Path(folder) / "episodes.jsonl").unlink()
    with pytest.raises(DataError, match="kept no episodes"):
        run(["export", folder, str(tmp_path / "a.eval")])
    again = str(tmp_path / "again")
    await DEMO.write_run(Path(again), 1)
    with pytest.raises(ConfigError, match=r"a\.log: .* must end in \.eval or \.json"):
        run(["export", again, str(tmp_path / "a.log"), "format=inspect"])
