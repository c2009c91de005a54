"""A report figure of another distribution, by its entry point alone, and the built-in ones."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from wideseek_core import Score, ScoreState, Status, Task, TextGold, TextMetrics
from wideseek_eval import Result, StoredRun, make_report
from wideseek_eval.reports.figures import make_figures
from wideseek_eval.runs.results import EpisodeSummary

PLUGIN = '''
from html import escape
from wideseek_eval import Figure


def answers(report, run):
    """How long answers are."""
    texts = ", ".join(escape(result.answer) for result in run.results)
    return Figure(title="Answers & co", svg=f"<svg role='img'><text>{texts}</text></svg>")


def nothing(report, run):
    """Nothing to show."""
    return None


def broken(report, run):
    """A plug-in with a bug."""
    return report.nothing_of_that_name


def wrong(report, run):
    """A plug-in that returns something else."""
    return "<svg></svg>"
'''

SCRIPT = """
from pathlib import Path
from wideseek_core import *
from wideseek_core.exits import exit_on_error
from wideseek_eval import *
from wideseek_eval.runs.results import EpisodeSummary

task = Task(id="a", question="q", gold=TextGold(answers=("x",)))
score = Score(state=ScoreState.SCORED, metrics=TextMetrics(), format_valid=True)
result = Result(
    task_id="a", trial=0, kind="text", answer="<script>", score=score,
    episode=EpisodeSummary(status=Status.FINISHED),
)
run = StoredRun(tasks={"a": task}, results=(result,))
with exit_on_error():
    print(report_page(make_report("run", run), run))
"""


def page(folder: Path, *names: str) -> subprocess.CompletedProcess[str]:
    (folder / "answers_figure.py").write_text(PLUGIN)
    info = folder / "answers_figure-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: answers-figure\nVersion: 1.0\n")
    lines = "".join(f"{name} = answers_figure:{name}\n" for name in names)
    (info / "entry_points.txt").write_text(f"[wideseek.report_figures]\n{lines}")
    return subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
    )


def test_an_installed_figure_is_shown_beside_the_built_in_ones(tmp_path: Path) -> None:
    done = page(tmp_path, "answers", "nothing")
    assert (done.returncode, done.stderr) == (0, "")
    assert "<h3>Answers &amp; co</h3><svg role='img'><text>&lt;script&gt;</text></svg>" in (
        done.stdout
    )
    assert "How rollouts end" in done.stdout


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("broken", "AttributeError: 'Report' object has no attribute 'nothing_of_that_name'"),
        ("wrong", "returned a str, not a Figure"),
        ("PLUGIN", "module 'answers_figure' has no attribute 'PLUGIN'"),
    ],
)
def test_a_figure_that_fails_is_named_in_one_line(tmp_path: Path, name: str, problem: str) -> None:
    done = page(tmp_path, name)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert f"plug-in '{name}' of wideseek.report_figures" in done.stderr
    assert problem in done.stderr


def stored(*sources: str, language: str = "en") -> StoredRun:
    names = [f"{source}{index}" for index, source in enumerate(sources)]
    gold = TextGold(answers=("x",))
    tasks = {
        name: Task(id=name, question="q", gold=gold, source=source)
        for name, source in zip(names, sources, strict=True)
    }
    score = Score(state=ScoreState.SCORED, metrics=TextMetrics(correct=1.0), format_valid=True)
    episode = EpisodeSummary(status=Status.FINISHED)
    results = tuple(
        Result(task_id=name, trial=0, kind="text", score=score, episode=episode) for name in names
    )
    return StoredRun(tasks=tasks, results=results)


def titles(run: StoredRun) -> list[str]:
    return [figure.title for figure in make_figures(make_report("run", run), run)]


def test_a_chart_with_a_single_bar_per_language_or_source_is_left_out() -> None:
    assert not any("language" in title or "source" in title for title in titles(stored("a", "a")))
    assert "Score by source" in titles(stored("a", "b"))


def test_sources_are_grouped_by_what_comes_before_the_slash() -> None:
    run = stored("cities/group", "cities/top", "elements/top")
    report = make_report("run", run)
    assert [(group.name, group.questions) for group in report.by_source] == [
        ("cities", 2),
        ("elements", 1),
    ]


def test_too_many_sources_for_one_chart_are_left_to_the_table() -> None:
    assert "Score by source" not in titles(stored(*(f"s{index}" for index in range(11))))


def test_a_run_without_results_has_no_figure() -> None:
    assert titles(StoredRun(tasks={}, results=())) == []
