import json
import sys
from pathlib import Path

import pytest

from wideseek_core import ConfigError
from wideseek_core.config import HelpRequested
from wideseek_eval.cli import main, run
from wideseek_eval.judges import open_judge

JUDGE_MODULE = """
from contextlib import asynccontextmanager
from wideseek_core import ConfigError, Score, ScoreState, TextMetrics

class Equal:
    async def score(self, task, answer):
        right = float(answer in task.gold.answers)
        return Score(state=ScoreState.SCORED, metrics=TextMetrics(correct=right), format_valid=True)

class Never:
    async def score(self, task, answer):
        return Score(state=ScoreState.SCORED, metrics=TextMetrics(), format_valid=True)

@asynccontextmanager
async def open_stub(mode, judge, settings):
    if mode != "official":
        raise ConfigError(f"unknown mode {mode!r}")
    if settings and settings != ["endpoint.model=m"]:
        raise ConfigError(f"unknown settings {settings}")
    yield Equal() if judge == "exact" else Never()
"""


@pytest.fixture
def stub_judge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Installs a package that brings a judge; gives the option that chooses it."""
    site = tmp_path / "site"
    metadata = site / "stub_judge-1.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: stub-judge\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text("[wideseek.judges]\nstub = stub_judge:open_stub\n")
    (site / "stub_judge.py").write_text(JUDGE_MODULE)
    monkeypatch.setattr(sys, "path", [str(site), *sys.path])
    return "stub/"


def files(path: Path) -> list[str]:
    tasks, responses = path / "tasks.jsonl", path / "responses.jsonl"
    names = ("a", "b", "c", "d")
    rows = [{"id": name, "question": f"{name}?", "answer": name} for name in names]
    tasks.write_text("".join(json.dumps(row) + "\n" for row in rows))
    answers = dict(zip(names, ("a", "b", "c", "x"), strict=True))
    lines = [{"instance_id": name, "response": answers[name], "trial_idx": 0} for name in names]
    responses.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return ["--tasks", str(tasks), "--responses", str(responses)]


def test_score_writes_every_score_and_the_summary(
    tmp_path: Path, stub_judge: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "scores.json"
    run(["score", *files(tmp_path), "--judge", f"{stub_judge}exact", "--json", str(out)])
    scored = json.loads(out.read_text())
    assert [one["score"]["metrics"]["correct"] for one in scored["results"]] == [1, 1, 1, 0]
    assert scored["summary"]["overall"]["metrics"]["correct"]["avg"]["mean"] == 0.75
    assert "0.750" in capsys.readouterr().out


def test_a_run_can_be_imported_regraded_reported_compared_and_exported(
    tmp_path: Path, stub_judge: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    run(["import", str(folder), *files(tmp_path), "--judge", f"{stub_judge}exact"])
    run(["regrade", str(folder), "--name", "never", "--judge", f"{stub_judge}never"])
    run(["report", f"{folder}:never"])
    run(["compare", str(folder), f"{folder}:never", "--json", str(tmp_path / "c.json")])
    run(["export", str(folder), str(tmp_path / "out.jsonl")])
    run(["sweep", "judge", f"1={folder}", f"2={folder}:never", "--html", str(tmp_path / "s.html")])
    report = json.loads((folder / "report.never.json").read_text())
    assert report["summary"]["overall"]["metrics"]["correct"]["avg"]["mean"] == 0.0
    (correct, _) = json.loads((tmp_path / "c.json").read_text())["differences"]
    assert correct["difference"] == -0.75
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 4
    assert (folder / "report.never.html").exists()
    assert "<svg" in (tmp_path / "s.html").read_text()
    shown = capsys.readouterr().out
    assert "report.never.html" in shown
    assert f"A is {folder}, B is {folder}:never." in shown


def test_the_judge_itself_refuses_modes_it_does_not_know(tmp_path: Path, stub_judge: str) -> None:
    with pytest.raises(ConfigError, match="unknown mode 'loose'"):
        run(["score", *files(tmp_path), "--judge", f"{stub_judge}exact", "--mode", "loose"])


def test_settings_of_the_judge_are_handed_on_and_written_down(
    tmp_path: Path, stub_judge: str
) -> None:
    out = tmp_path / "scores.json"
    command = ["score", *files(tmp_path), "--judge", f"{stub_judge}exact", "--json", str(out)]
    run([*command, "--set", "endpoint.model=m"])
    assert json.loads(out.read_text())["settings"] == {
        "mode": "official",
        "judge": "stub/exact",
        "set": ["endpoint.model=m"],
    }
    with pytest.raises(ConfigError, match="unknown settings"):
        run([*command, "--set", "endpoint.model=m", "x=1"])


def test_without_a_judge_one_line_says_what_to_install() -> None:
    with pytest.raises(ConfigError, match="pip install wideseek-judge"):
        open_judge("official", "exact", group="wideseek.judges.of.nobody")


def test_a_wrong_folder_is_one_line_and_exit_code_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["wideseek-eval", "report", str(tmp_path)])
    with pytest.raises(SystemExit) as exit_:
        main()
    assert exit_.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("DataError: ")
    assert error.count("\n") == 1


def test_without_a_command_the_help_is_shown() -> None:
    with pytest.raises(HelpRequested, match="compare"):
        run([])


def test_a_sweep_point_without_a_value_is_refused() -> None:
    with pytest.raises(ConfigError, match="expected VALUE=RUN"):
        run(["sweep", "width", "runs"])


def test_an_unknown_metric_is_refused(tmp_path: Path, stub_judge: str) -> None:
    folder = str(tmp_path / "run")
    run(["import", folder, *files(tmp_path), "--judge", f"{stub_judge}exact"])
    with pytest.raises(ConfigError, match="unknown metric 'f3'; known: "):
        run(["compare", folder, folder, "--metrics", "f3"])
