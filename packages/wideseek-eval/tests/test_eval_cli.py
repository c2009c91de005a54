import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from wideseek_core import ConfigError, DataError
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
    if settings and settings != {"endpoint": {"model": "007"}}:
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
    return [f"tasks={tasks}", f"responses={responses}"]


def test_score_writes_every_score_and_the_summary(
    tmp_path: Path, stub_judge: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "scores.json"
    run(["score", *files(tmp_path), f"judge.kind={stub_judge}exact", f"json_file={out}"])
    scored = json.loads(out.read_text())
    assert [one["score"]["metrics"]["correct"] for one in scored["results"]] == [1, 1, 1, 0]
    assert scored["summary"]["overall"]["metrics"]["correct"]["avg"]["mean"] == 0.75
    assert "0.750" in capsys.readouterr().out


def test_a_run_can_be_imported_regraded_reported_compared_and_exported(
    tmp_path: Path, stub_judge: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    run(["import", str(folder), *files(tmp_path), f"judge.kind={stub_judge}exact"])
    run(["regrade", str(folder), "name=never", f"judge.kind={stub_judge}never"])
    run(["report", f"{folder}:never"])
    run(["compare", str(folder), f"{folder}:never", f"json_file={tmp_path / 'c.json'}"])
    run(["export", str(folder), str(tmp_path / "out.jsonl")])
    run(["sweep", "judge", f"1={folder}", f"2={folder}:never", f"html_file={tmp_path / 's.html'}"])
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
        run(["score", *files(tmp_path), f"judge.kind={stub_judge}exact", "mode=loose"])


def test_settings_of_the_judge_are_handed_on_and_written_down(
    tmp_path: Path, stub_judge: str
) -> None:
    out = tmp_path / "scores.json"
    command = ["score", *files(tmp_path), f"judge.kind={stub_judge}exact", f"json_file={out}"]
    run([*command, "judge.endpoint.model=007"])
    assert json.loads(out.read_text())["settings"] == {
        "mode": "official",
        "judge": {"kind": "stub/exact", "endpoint": {"model": "007"}},
    }
    with pytest.raises(ConfigError, match="unknown settings"):
        run([*command, "judge.endpoint.model=007", "judge.x=1"])


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


def test_a_sweep_point_may_look_like_a_setting(tmp_path: Path, stub_judge: str) -> None:
    folder, out = tmp_path / "run", tmp_path / "sweep.json"
    run(["import", str(folder), *files(tmp_path), f"judge.kind={stub_judge}exact"])
    run(["sweep", "rate", f"0.5={folder}", f"json={folder}", f"json_file={out}"])
    sweep = json.loads(out.read_text())
    assert (sweep["parameter"], [one["value"] for one in sweep["points"]]) == (
        "rate",
        ["0.5", "json"],
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["report"], "missing key 'run'"),
        (["report", "a", "b"], "unexpected argument 'b': usage: wideseek-eval report RUN"),
        (["view", "a", "html=b"], "unknown key 'html'"),
        (["sweep", "width"], "missing key 'points'"),
        (["sweep", "width", "none.yaml"], "no such config file: none.yaml"),
        (["score", "tasks=t"], "missing key 'responses'"),
        (["score", "t.jsonl"], "no such config file: t.jsonl"),
        (["score", "--tasks", "t"], "unknown option '--tasks': write tasks=VALUE"),
        (["compare", "a", "--draws", "0"], "unknown option '--draws': write draws=VALUE"),
        (["compare", "a", "--seed=-1"], "unknown option '--seed=-1': write seed=-1"),
        (["compare", "a", "--json-file=x"], "unknown option '--json-file=x': write json_file=x"),
        (["export", "a", "a.xlsx"], "a.xlsx: .xlsx can't be written; use .csv, .parquet, or set"),
        (["score", "tasks=t", "responses=r", "max_concurrent=0"], "max_concurrent: .* (got 0)"),
        (["score", "tasks=t", "responses=r", "expect=few"], "expect: .* valid integer"),
        (
            ["score", "tasks=t", "responses=r", "judge=exact"],
            "judge: it has keys of its own, such as judge.KEY=VALUE",
        ),
        (
            ["score", "tasks=t", "responses=r", "judge.mode=strict"],
            "judge: unknown key 'judge.mode'",
        ),
        (["score", "tasks=t", "responses=r", "judge.kind=[a]"], "judge: 'judge.kind' must be"),
        (["regrade", "a"], "missing key 'name'"),
        (["export", "a"], "missing key 'target'"),
    ],
)
def test_bad_settings_are_refused_in_one_line(words: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        run(words)
    assert re.search(message.replace("(", r"\(").replace(")", r"\)"), str(refused.value))
    assert "\n" not in str(refused.value)


COMMANDS = ("report", "view", "compare", "regrade", "sweep", "score", "import", "export")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str) -> None:
    with pytest.raises(HelpRequested, match=f"^usage: wideseek-eval {command} "):
        run([command, "--help"])


def test_help_on_a_key_shows_that_key_alone() -> None:
    with pytest.raises(HelpRequested, match="Seed of the bootstrap") as shown:
        run(["compare", "--help", "seed"])
    assert "draws" not in str(shown.value)
    with pytest.raises(HelpRequested, match=r"^judge: dict\[str, Any\] = {}\n"):
        run(["score", "--help", "judge"])
    with pytest.raises(HelpRequested, match="html_file"):
        run(["sweep", "--help", "html_file"])


def test_settings_may_stand_in_a_file(tmp_path: Path, stub_judge: str) -> None:
    files(tmp_path)
    settings, out = tmp_path / "score.yaml", tmp_path / "scores.json"
    settings.write_text(
        f"tasks: {tmp_path / 'tasks.jsonl'}\nresponses: {tmp_path / 'responses.jsonl'}\n"
        f"judge: {{kind: {stub_judge}never, endpoint: {{model: 007}}}}\n"
    )
    run(["score", str(settings), f"judge.kind={stub_judge}exact", f"json_file={out}"])
    assert json.loads(out.read_text())["settings"]["judge"] == {
        "kind": "stub/exact",
        "endpoint": {"model": "007"},
    }


def test_an_unknown_metric_is_refused(tmp_path: Path, stub_judge: str) -> None:
    folder = str(tmp_path / "run")
    run(["import", folder, *files(tmp_path), f"judge.kind={stub_judge}exact"])
    with pytest.raises(ConfigError, match="unknown metric 'f3'; known: "):
        run(["compare", folder, folder, "metrics=[f3]"])


def refusal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str
) -> str:
    """What the command writes to stderr when it refuses: one line, with exit code 2."""
    monkeypatch.setattr(sys, "argv", ["wideseek-eval", *words])
    with pytest.raises(SystemExit) as exit_:
        main()
    assert exit_.value.code == 2
    error = capsys.readouterr().err.strip()
    # A progress bar may have written lines of its own before.
    return error.splitlines()[-1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["draws=0"], "ConfigError: draws must be from 1 to 10,000,000 (got 0)"),
        (["draws=-5"], "ConfigError: draws must be from 1 to 10,000,000 (got -5)"),
        (["draws=99999999999"], "ConfigError: draws must be from 1 to 10,000,000 (got "),
        (["seed=-1"], "ConfigError: seed must not be negative (got -1)"),
        (["draws=many"], "ConfigError: draws: input should be a valid integer, "),
        (["drawz=5"], "ConfigError: unknown key 'drawz'; did you mean 'draws'?"),
        (["--draws", "5"], "ConfigError: unknown option '--draws'"),
        (["draws="], "ConfigError: 'draws=': no value"),
        (["metrics=[]"], "ConfigError: metrics: give at least one of item_f1, "),
    ],
)
def test_numbers_that_make_no_sense_are_refused_in_one_line(
    tmp_path: Path,
    stub_judge: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    message: str,
) -> None:
    folder = str(tmp_path / "run")
    run(["import", folder, *files(tmp_path), f"judge.kind={stub_judge}exact"])
    capsys.readouterr()
    assert refusal(monkeypatch, capsys, "compare", folder, folder, *options).startswith(message)


@pytest.mark.parametrize("draws", ["1", "10001"])
def test_any_other_number_of_draws_is_made(tmp_path: Path, stub_judge: str, draws: str) -> None:
    folder = str(tmp_path / "run")
    run(["import", folder, *files(tmp_path), f"judge.kind={stub_judge}exact"])
    out = tmp_path / "c.json"
    run(["compare", folder, folder, f"draws={draws}", f"json_file={out}"])
    assert json.loads(out.read_text())["draws"] == int(draws)


def training_run(path: Path, judge: str) -> Path:
    """A training run's folder: a config of its own, and evaluations inside."""
    folder = path / "train"
    for name, kind in (("before", "never"), ("after", "exact")):
        run(["import", str(folder / name), *files(path), f"judge.kind={judge}{kind}"])
    (folder / "config.json").write_text('{"rl": {"steps": 3}}')
    return folder


def test_the_evaluations_inside_a_training_run_are_found(
    tmp_path: Path, stub_judge: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = training_run(tmp_path, stub_judge)
    run(["report", str(folder)])
    assert (folder / "before" / "report.html").exists()
    assert (folder / "after" / "report.html").exists()
    page = (folder / "comparison.html").read_text("utf-8")
    assert f"written: {folder / 'comparison.html'}" in capsys.readouterr().out
    assert sorted(re.findall(r'data-change="([^"]*)"', page)) == ["0.0", "1.0", "1.0", "1.0"]
    run(["compare", str(folder)])
    shown = capsys.readouterr().out
    assert f"A is {folder / 'before'}, B is {folder / 'after'}." in shown
    assert "+0.750" in shown
    other = tmp_path / "other"
    run(["import", str(other), *files(tmp_path), f"judge.kind={stub_judge}never"])
    capsys.readouterr()
    run(["compare", str(other), str(folder)])
    assert f"B is {folder / 'after'}." in capsys.readouterr().out
    run(["compare", str(folder), f"html_file={tmp_path / 'page.html'}"])
    assert f'<th scope="col">{folder / "before"}</th>' in (tmp_path / "page.html").read_text(
        "utf-8"
    )
    capsys.readouterr()
    run(["export", str(folder), str(tmp_path / "out.jsonl")])
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 4


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["report", ""], "the name of a run is empty"),
        (["view", " "], "the name of a run is empty"),
        (["compare", "run", ""], "the name of a run is empty"),
        (["export", "", "out.csv"], "the name of a run is empty"),
        (["report", "run:"], "expected a run's folder, or FOLDER:NAME of a regrading"),
        (["report", ":strict"], "expected a run's folder, or FOLDER:NAME of a regrading"),
        (["report", "run:../other"], "expected a run's folder, or FOLDER:NAME of a regrading"),
        (["report", "run/results.jsonl"], "run/results.jsonl is not a run, but a file"),
        (["view", "run", "steps=[1]"], "run has no training steps"),
        (["export", "run", "out.eval"], "the run kept no episodes"),
    ],
)
def test_names_of_runs_that_mean_nothing_are_refused(
    tmp_path: Path,
    stub_judge: str,
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    problem: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    run(["import", "run", *files(tmp_path), f"judge.kind={stub_judge}exact"])
    Path("run/episodes.jsonl").unlink(missing_ok=True)
    with pytest.raises(DataError, match=re.escape(problem)):
        run(words)


def test_runs_that_are_not_there_or_not_clear_are_named(tmp_path: Path, stub_judge: str) -> None:
    with pytest.raises(DataError, match=r"none is not a run: it has no config\.json"):
        run(["report", str(tmp_path / "none")])
    single = tmp_path / "single"
    run(["import", str(single), *files(tmp_path), f"judge.kind={stub_judge}exact"])
    with pytest.raises(DataError, match="single: give a second run, or a training run"):
        run(["compare", str(single)])
    for name in ("turns_1", "turns_2"):
        run(["import", str(tmp_path / "w" / name), *files(tmp_path), f"judge.kind={stub_judge}x"])
    with pytest.raises(DataError, match=r"which of its runs\? .*turns_1, .*turns_2"):
        run(["compare", str(tmp_path / "w"), str(single)])


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_a_report_can_be_shown_in_any_encoding(tmp_path: Path, encoding: str) -> None:
    tasks = {"id": "łódź", "question": "Où est Łódź \ud83d?", "answer": "Łódź"}
    (tmp_path / "tasks.jsonl").write_text(json.dumps(tasks) + "\n")
    response = {"instance_id": "łódź", "response": "Łódź \ud83d"}
    (tmp_path / "responses.jsonl").write_text(json.dumps(response) + "\n")
    (tmp_path / "stub_judge-1.dist-info").mkdir()
    (tmp_path / "stub_judge-1.dist-info" / "METADATA").write_text("Name: stub-judge\nVersion: 1\n")
    entry = "[wideseek.judges]\nstub = stub_judge:open_stub\n"
    (tmp_path / "stub_judge-1.dist-info" / "entry_points.txt").write_text(entry)
    (tmp_path / "stub_judge.py").write_text(JUDGE_MODULE)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONIOENCODING": encoding}
    paths = ["tasks=tasks.jsonl", "responses=responses.jsonl"]
    for words in (["import", "łrun", *paths, "judge.kind=stub/exact"], ["report", "łrun"]):
        done = subprocess.run(
            [sys.executable, "-m", "wideseek_eval.cli", *words],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
        )
        assert done.returncode == 0, done.stderr
        assert b"Traceback" not in done.stderr
    assert "Łódź �" in (tmp_path / "łrun" / "report.html").read_text("utf-8")
    assert done.stdout.decode(encoding)


def test_integers_are_ids_in_tasks_and_responses_alike(tmp_path: Path, stub_judge: str) -> None:
    tasks, responses = tmp_path / "tasks.jsonl", tmp_path / "responses.jsonl"
    tasks.write_text('{"instance_id": 7, "question": "a?", "answer": "a"}\n')
    responses.write_text('{"instance_id": 7, "response": "a"}\n')
    out = tmp_path / "scores.json"
    paths = [f"tasks={tasks}", f"responses={responses}", f"json_file={out}"]
    run(["score", *paths, f"judge.kind={stub_judge}exact"])
    (result,) = json.loads(out.read_text())["results"]
    assert (result["task_id"], result["score"]["metrics"]["correct"]) == ("7", 1.0)


def test_scores_can_be_written_to_standard_output(tmp_path: Path, stub_judge: str) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen(["cat", str(pipe)], stdout=subprocess.PIPE, text=True) as reader:
        run(["score", *files(tmp_path), f"judge.kind={stub_judge}exact", f"json_file={pipe}"])
        text = reader.communicate(timeout=120)[0]
    assert len(json.loads(text)["results"]) == 4
    assert pipe.is_fifo()


def test_a_task_without_a_response_counts_as_zero_in_official_mode(
    tmp_path: Path, stub_judge: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = files(tmp_path)
    responses = tmp_path / "responses.jsonl"
    responses.write_text('{"instance_id": "a", "response": "a"}\n')
    out = tmp_path / "scores.json"
    run(["score", *arguments, f"judge.kind={stub_judge}exact", f"json_file={out}"])
    scored = json.loads(out.read_text())
    assert scored["missing"] == ["b", "c", "d"]
    assert scored["summary"]["overall"]["metrics"]["correct"]["avg"]["mean"] == 0.25
    assert "3 tasks without a response; they count as 0" in capsys.readouterr().out
