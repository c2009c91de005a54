import math
import re
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wideseek_core import (
    CellScore,
    ConfigError,
    Score,
    ScoreState,
    Status,
    TableGold,
    TableMetrics,
    Task,
)
from wideseek_eval import Result, StoredRun, Summary, summarize
from wideseek_eval.reports.diff import DiffCell, diff_tables
from wideseek_eval.reports.pages import comparison_page, report_page, script_hash, sweep_page
from wideseek_eval.reports.questions import shown_questions
from wideseek_eval.reports.svg import Point, Share, bar_chart, curve, share_chart
from wideseek_eval.reports.text import comparison_text, report_text, sweep_text
from wideseek_eval.runs.folder import RunHeader
from wideseek_eval.runs.results import EpisodeSummary
from wideseek_eval.statistics.breakdown import ending, make_report
from wideseek_eval.statistics.compare import compare
from wideseek_eval.statistics.means import mean_of
from wideseek_eval.statistics.sweep import run_sweep

GOLD = TableGold(
    text="| City | Country |\n|---|---|\n| Bonn | Germany |\n| Lyon | France |",
    key_columns=("City",),
    required_columns=("City", "Country"),
)
ANSWER = "| City | Country |\n|---|---|\n| Bonn | <Belgium> |\n| Oz | Nowhere |"
CELLS = (
    CellScore(key="bonn", column="city", answer="Bonn", gold="Bonn", score=1, by="key"),
    CellScore(
        key="bonn", column="country", answer="<Belgium>", gold="Germany", score=0, by="exact"
    ),
)


def result(task: str, trial: int, f1: float, subagents: int = 0) -> Result:
    score = Score(
        state=ScoreState.SCORED,
        metrics=TableMetrics(item_f1=f1),
        format_valid=True,
        cells=CELLS,
        missing_rows=("lyon",),
        extra_rows=("oz",),
    )
    episode = EpisodeSummary(status=Status.FINISHED, subagents=subagents)
    return Result(task_id=task, trial=trial, answer=ANSWER, score=score, episode=episode)


def stored(*results: Result) -> StoredRun:
    names = dict.fromkeys(one.task_id for one in results)
    tasks = {name: Task(id=name, question=f"{name} <?>", gold=GOLD, rows=2) for name in names}
    return StoredRun(tasks=tasks, results=results)


RUN = stored(*(result(f"t{index}", 0, index / 30, index % 4) for index in range(30)))


HEADER = RunHeader(
    settings={
        "policy": {"kind": "chat", "endpoint": {"model": "Qwen3-4B"}},
        "fixed_role": {"policy": {"model": "helper"}},
        "judge": {"mode": "official", "kind": "llm", "endpoint": {"model": "judge-30b"}},
        "team": {"max_turns": 4},
    },
    tasks="",
    started="2026-11-25 10:00:00",
    code=("0.1.0", "0.2.0"),
)


class Checker(HTMLParser):
    """Fails on a tag that is closed in the wrong place."""

    VOID = ("meta", "br", "line", "rect", "circle", "polygon", "polyline", "input", "option")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass


def check(page: str) -> None:
    checker = Checker()
    checker.feed(page)
    assert checker.open == []


def test_a_diff_shows_right_wrong_missing_and_superfluous_cells() -> None:
    one = result("t", 0, 0.5)
    assert one.score is not None
    diff = diff_tables(GOLD, ANSWER, one.score)
    assert [row.kind for row in diff.rows] == ["joined", "missing", "extra"]
    assert diff.rows[0].cells[0] == DiffCell(answer="Bonn", gold="Bonn", score=1)
    assert diff.rows[0].cells[1].gold == "Germany"
    assert [cell.gold for cell in diff.rows[1].cells] == ["Lyon", "France"]
    assert [cell.answer for cell in diff.rows[2].cells] == ["Oz", "Nowhere"]


def test_a_missing_row_that_is_not_found_again_shows_its_key() -> None:
    one = result("t", 0, 0.5)
    assert one.score is not None
    diff = diff_tables(GOLD, "no table", one.score.model_copy(update={"missing_rows": ("Rome",)}))
    assert [cell.gold for cell in diff.rows[1].cells] == ["Rome", ""]
    assert [cell.answer for cell in diff.rows[2].cells] == ["oz", ""]


def test_of_an_answer_without_a_table_every_row_is_missing() -> None:
    score = Score(state=ScoreState.FAILED, metrics=TableMetrics(), message="no table")
    diff = diff_tables(GOLD, "Sorry.", score)
    assert [(row.kind, row.cells[0].gold) for row in diff.rows] == [
        ("missing", "Bonn"),
        ("missing", "Lyon"),
    ]


def test_rollouts_are_grouped_by_width_and_size() -> None:
    report = make_report("run", RUN)
    assert [group.name for group in report.by_width] == ["0", "1", "2", "3–4"]
    assert [group.rollouts for group in report.by_width] == [8, 8, 7, 7]
    assert [(group.name, group.questions) for group in report.by_size] == [("1–5", 30)]


def test_ten_best_and_ten_worst_questions_are_named() -> None:
    report = make_report("run", RUN)
    assert [one.task_id for one in report.best] == [f"t{index}" for index in range(29, 19, -1)]
    assert [one.task_id for one in report.worst] == [f"t{index}" for index in range(10)]


def test_a_question_is_not_among_best_and_worst() -> None:
    report = make_report("run", stored(*(result(f"t{index}", 0, 0.5) for index in range(12))))
    assert (len(report.best), len(report.worst)) == (10, 2)


def test_the_best_and_worst_trial_of_a_question_are_known() -> None:
    run = stored(result("a", 0, 0.3), result("a", 1, 0.9), result("a", 2, 0.1))
    (one,) = make_report("run", run).best
    assert (one.best_trial, one.worst_trial, one.scores) == (1, 2, (0.3, 0.9, 0.1))


def with_score(**changes: object) -> Result:
    one = result("t", 0, 0.5)
    assert one.score is not None
    return one.model_copy(update={"score": one.score.model_copy(update=changes)})


def test_endings_say_what_went_wrong() -> None:
    assert ending(with_score(metrics=TableMetrics(item_f1=1.0))) == "all right"
    assert ending(with_score()) == "rows missing"
    assert ending(with_score(missing_rows=())) == "rows too many"
    assert ending(with_score(missing_rows=(), extra_rows=())) == "cells wrong"
    assert ending(with_score(format_valid=False)) == "wrong columns"
    assert ending(with_score(state=ScoreState.UNSCORED)) == "no verdict"
    failed = with_score(state=ScoreState.FAILED)
    assert ending(failed) == "no answer found"
    late = EpisodeSummary(status=Status.TURN_LIMIT)
    assert ending(failed.model_copy(update={"episode": late})) == "turn limit"
    assert ending(failed.model_copy(update={"score": None})) == "rollout broke"


def test_the_page_is_well_formed_self_contained_and_escapes_what_models_wrote() -> None:
    page = report_page(make_report("a <run>", RUN), RUN)
    check(page)
    assert not re.search(r"https?://|<script |<link|src=", page)
    (script,) = re.findall(r"(?s)<script>(.*?)</script>", page)
    policy = unescape(re.findall(r'Content-Security-Policy" content="([^"]*)"', page)[0])
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert script_hash(script) in policy
    assert "&lt;Belgium&gt;" in page
    assert "<Belgium>" not in page
    assert page.count('<details class="question"') == 30
    assert page.count("<svg") == 2


def test_every_table_of_a_page_has_a_caption_and_headings_with_a_scope() -> None:
    run = replace(RUN, header=HEADER)
    pages = [report_page(make_report("run", run), run), compared(run, run)]
    for page in pages:
        check(page)
        tables = re.findall(r"(?s)<table.*?</table>", page)
        assert tables
        assert all("<caption>" in table for table in tables)
        assert not re.search(r"<th(?![^>]*scope=)[ >]", page)


def test_a_report_names_the_model_the_judge_the_date_and_the_code() -> None:
    report = make_report("run", replace(RUN, header=HEADER))
    assert report.about.model == "Qwen3-4B, helper"
    assert report.about.judge == "official, llm, judge-30b"
    page = unescape(report_page(report, RUN))
    shown = (
        "Model: Qwen3-4B, helper · Judge: official, llm, judge-30b · Date: 2026-11-25 10:00:00 UTC"
    )
    assert shown in page
    assert "Code: 0.1.0, then 0.2.0" in page
    assert '<th scope="row">policy.endpoint.model</th><td><code>"Qwen3-4B"</code></td>' in page
    assert make_report("run", RUN).about.facts == {}


@pytest.mark.parametrize(
    ("step", "model"),
    [(0, "start"), (1, "start after 1 training step"), (19, "start after 19 training steps")],
)
def test_a_report_of_a_policy_in_training_says_after_how_many_steps(step: int, model: str) -> None:
    header = RunHeader(settings={"policy": {"model": "start"}, "step": step}, tasks="")
    assert make_report("run", replace(RUN, header=header)).about.model == model


def compared(a: StoredRun, b: StoredRun) -> str:
    return comparison_page(compare(a.results, b.results), [("a <1>", a), ("b", b)])


def test_two_runs_are_shown_side_by_side_with_the_change_of_each_question() -> None:
    before = stored(result("t0", 0, 0.75), result("t1", 0, 0.5), result("only", 0, 1.0))
    after = stored(result("t0", 0, 0.25), result("t1", 0, 0.5), result("t1", 1, 1.0))
    settings = HEADER.settings | {"team": {"max_turns": 9}}
    other = HEADER.model_copy(update={"settings": settings})
    page = compared(replace(before, header=HEADER), replace(after, header=other))
    changes = re.findall(r'data-score="([^"]*)"\s+data-change="([^"]*)"', page)
    assert changes == [("0.25", "-0.5"), ("0.75", "0.25")]
    assert [text for text in re.findall(r'class="change">([^<]*)<', page)] == ["−0.50", "+0.25"]
    assert page.count("<section>") == 4
    assert "a &lt;1&gt;" in page
    assert '<th scope="row">team.max_turns</th><td><code>4</code></td><td><code>9</code>' in page
    assert "1 only in the first" in page


def test_a_question_without_a_score_is_shown_with_its_reason() -> None:
    lost = with_score(state=ScoreState.UNSCORED, message="the judge was silent")
    (question,) = shown_questions([("run", stored(lost))])
    assert (question.scores, question.change, question.ending) == ((None,), None, "no verdict")
    assert question.trials[0].message == "the judge was silent"
    page = report_page(make_report("run", stored(lost)), stored(lost))
    assert 'data-score=""' in page
    assert '<span class="score pill unknown">–</span>' in page


def test_of_several_trials_the_one_with_the_lowest_score_is_shown() -> None:
    run = stored(result("a", 0, 0.3), result("a", 1, 0.9), result("a", 2, 0.1))
    (question,) = shown_questions([("run", run)])
    assert "trial 2" in question.trials[0].story
    assert "scores 0.30, 0.90, 0.10" in question.trials[0].story
    assert question.scores[0] == pytest.approx(1.3 / 3)


@pytest.mark.parametrize("odd", [math.nan, math.inf, 1e308, -5.0])
def test_a_stored_score_that_is_no_fraction_breaks_no_page(odd: float) -> None:
    run = stored(*(result(f"t{n}", 0, value, n) for n, value in enumerate((odd, 0.5, 0.75, 1.0))))
    report = make_report("run", run)
    page = report_page(report, run)
    check(page)
    assert not re.search(r"(?i)\bnan\b", page)
    if not math.isfinite(odd):
        assert report.summary.score.mean == 0.75
        assert report.summary.score.questions == 3


@given(st.lists(st.floats(0, 1), max_size=30))
def test_an_interval_of_fractions_stays_within_the_scale(values: list[float]) -> None:
    mean = mean_of(values)
    assert 0 <= mean.low <= mean.high <= 1
    if values:
        assert mean.low - 1e-12 <= mean.mean <= mean.high + 1e-12
    chart = bar_chart("t", [Point(name="a", mean=mean.mean, low=mean.low, high=mean.high)])
    assert all(16 <= float(y) <= 204 for y in re.findall(r'[ "]y[12]="([\d.]+)"', chart))


def test_names_that_would_run_into_one_another_are_cut() -> None:
    points = [Point(name=f"{n}-a-long-name", mean=0.5, low=0.4, high=0.6) for n in range(10)]
    chart = bar_chart("t", points)
    assert ">0-a-l…<" in chart
    assert "0-a-long-name: 0.500" in chart
    assert ">0-a-long-name<" in bar_chart("t", points[:2])


def test_the_page_shows_pass_at_k_and_what_each_kind_of_ending_scores() -> None:
    right = [result(f"t{index}", trial, 1.0) for index in range(3) for trial in (0, 1)]
    won = [one.model_copy(update={"score": succeeded(one)}) for one in right]
    run = stored(*won, result("t9", 0, 0.25), result("t9", 1, 0.25))
    page = report_page(make_report("run", run), run)
    assert "Success, pass@1 75.0%, @2 75.0%" in page
    assert "2 · 25% · 0.25" in page  # rows missing
    assert "row too many" in page


def succeeded(one: Result) -> Score:
    assert one.score is not None
    return one.score.model_copy(update={"metrics": TableMetrics(item_f1=1.0, success=1.0)})


def test_the_page_of_an_empty_run_is_well_formed() -> None:
    run = StoredRun(tasks={}, results=())
    check(report_page(make_report("empty", run), run))


def test_the_terminal_report_has_counts_beside_means() -> None:
    text = report_text(make_report("run", RUN))
    assert "30 scored, 0 failed, 0 unscored, 0 broken" in text
    assert re.search(r"Item F1 +│ 0\.483", text)


def test_a_comparison_is_shown_with_its_adjusted_p() -> None:
    text = comparison_text(compare(RUN.results, RUN.results), "old", "new")
    assert re.search(r"Item F1 .* \+0\.000 .* 1\.0000 .* 1\.0000", text)
    assert "old: 30 scored, 0 failed" in text


async def test_no_interval_of_a_sweep_leaves_the_scale() -> None:
    async def evaluate_at(width: int) -> Summary:
        return summarize([result("t", 0, 0.75)])

    text = sweep_text(await run_sweep("max_subagents", [1], evaluate_at))
    assert "[0.000, 1.000]" in text
    assert "±" not in text


async def test_a_sweep_gives_a_curve_with_intervals() -> None:
    async def evaluate_at(width: int) -> Summary:
        return summarize([result(f"t{index}", 0, width * index / 30) for index in range(10)])

    sweep = await run_sweep("max_subagents", [1, 2], evaluate_at)
    assert [point.value for point in sweep.points] == ["1", "2"]
    assert re.search(r"│ 2 +│ +0\.300 .*\n.*\[0\.\d+, 0\.\d+\]", sweep_text(sweep))
    page = sweep_page(sweep)
    check(page)
    assert page.count("<polyline") == 3
    with pytest.raises(ConfigError, match=r"sweep\.max_subagents"):
        await run_sweep("max_subagents", [], evaluate_at)


def test_a_chart_puts_zero_at_the_bottom_and_its_ceiling_at_the_top() -> None:
    full = Point(name="a", notes=("3 q", "9 r"), mean=1.0, low=1.0, high=1.0)
    none = Point(name="b", mean=0.0, low=0.0, high=0.0)
    chart = bar_chart("t", [full, none])
    heights = [float(text) for text in re.findall(r'height="([\d.]+)" rx', chart)]
    assert heights == [188.0, 0.0]
    assert 'points="' in curve("t", [full, none])
    assert ">3 q</text>" in chart
    assert ">9 r</text>" in chart
    shares = [Share(name="x", count=1, note=" · 0.25", kind="good")]
    shares.append(Share(name="y", count=3, kind="poor"))
    assert "1 · 25% · 0.25<" in share_chart("t", shares)


def test_a_report_can_be_written_as_json_and_read_back(tmp_path: Path) -> None:
    report = make_report("run", RUN)
    assert type(report).model_validate_json(report.model_dump_json()) == report
