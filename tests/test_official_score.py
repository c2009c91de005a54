"""`wideseek-eval score` on files of the official format, against figures worked out by hand."""

import json
from pathlib import Path
from typing import Any

import pytest

from wideseek_eval import load_run
from wideseek_eval.cli import run

EXACT = {"preprocess": [], "metric": ["exact_match"], "criterion": None}
PIPELINES: dict[str, dict[str, Any]] = {
    "ws_en_001": {
        "name": EXACT,
        "size": {"preprocess": ["extract_number"], "metric": ["number_near"], "criterion": 0.1},
        "opened": {"preprocess": ["norm_date"], "metric": ["date_near"], "criterion": None},
    },
    "ws_en_002": {
        "name": EXACT,
        "size": EXACT,
        "opened": {"preprocess": ["norm_str"], "metric": ["exact_match", "in_match"]},
    },
    "ws_zh_001": {
        "name": {"preprocess": ["norm_str"], "metric": ["llm_judge"], "criterion": "same town"},
        "size": {"preprocess": [], "metric": ["llm_judge"], "criterion": "same number"},
        "opened": {"preprocess": [], "metric": ["url_match"], "criterion": None},
    },
}
GOLD = {
    "ws_en_001": '\ufeffName,Size,Opened\nUlm,"1,000 m","January 5, 2003"\nBonn,20,2004-05-01\n',
    "ws_en_002": "Name,Size,Opened,Note\nA,1,Old Town,?\nB,2,New Town,?\n",
    "ws_zh_001": "Name,Size,Opened\n江海区,107,https://a.org/x\n蓬江区,325,none\n",
}
HEAD = "| Name | Size | Opened |\n| --- | --- | --- |\n"
ANSWERS = [
    # Ulm: 1,080 is within a tenth, 2 February within a month. Bonn: 23 is too much, its day is
    # right. Cells 3 + 2 of 6, rows 1 of 2.
    (
        "ws_en_001",
        0,
        f"Here:\n```markdown\n{HEAD}| Ulm | 1,080 | 2 February 2003 |\n"
        "| Bonn | 23 | 1 May 2004 |\n```",
    ),
    # Bonn is missing: 3 of 3 answered and 6 wanted cells.
    ("ws_en_001", 1, f"{HEAD}| Ulm | 1000 | 2003-01-05 |"),
    # Opened counts twice: 2 x (1 + 1 + 2) over 6.
    ("ws_en_002", 0, f"```markdown\n{HEAD}| A | 1 | Old Town |\n| B | 2 | new town |\n```"),
    # No table.
    ("ws_en_002", 1, "I found nothing."),
    # Keys and sizes are right; 蓬江区 has an address where there is none. 5 of 6, 1 of 2.
    (
        "ws_zh_001",
        0,
        f"```markdown\n{HEAD}| 江海区 | 107 | http://a.org/y |\n"
        "| 蓬江区 | 325 | http://b.org |\n```",
    ),
    # All right.
    (
        "ws_zh_001",
        1,
        f"```markdown\n{HEAD}| 江海区 | 107 | https://a.org |\n| 蓬江区 | 325 | none |\n```",
    ),
    ("ws_xx_999", 0, "of another set"),
]
# Item precision, recall, F1, row precision, recall, F1, success.
FIGURES = {
    ("ws_en_001", 0): (5 / 6, 5 / 6, 5 / 6, 1 / 2, 1 / 2, 1 / 2, 0),
    ("ws_en_001", 1): (1, 1 / 2, 2 / 3, 1, 1 / 2, 2 / 3, 0),
    ("ws_en_002", 0): (8 / 6, 8 / 6, 8 / 6, 1, 1, 1, 0),
    ("ws_en_002", 1): (0, 0, 0, 0, 0, 0, 0),
    ("ws_zh_001", 0): (5 / 6, 5 / 6, 5 / 6, 1 / 2, 1 / 2, 1 / 2, 0),
    ("ws_zh_001", 1): (1, 1, 1, 1, 1, 1, 1),
}
NAMES = (
    "item_precision",
    "item_recall",
    "item_f1",
    "row_precision",
    "row_recall",
    "row_f1",
    "success",
)


def lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    return path


def official_files(folder: Path) -> list[str]:
    tasks: list[dict[str, Any]] = []
    for name, pipeline in PIPELINES.items():
        evaluation = {
            "required": ["name", "size", "opened"],
            "unique_columns": ["name"],
            "eval_pipeline": pipeline,
        }
        language = name.split("_")[1]
        task = {"instance_id": name, "query": "List towns.", "language": language}
        tasks.append(task | {"evaluation": json.dumps(evaluation)})
    gold = folder / "widesearch_gold"
    gold.mkdir()
    for name, text in GOLD.items():
        (gold / f"{name}.csv").write_text(text, "utf-8")
    responses: list[dict[str, Any]] = [
        {"instance_id": name, "response": text, "messages": [], "trial_idx": trial}
        for name, trial, text in ANSWERS
    ]
    return [
        f"tasks={lines(folder / 'widesearch.jsonl', tasks)}",
        *(f"gold={gold}", "expect=3"),
        f"responses={lines(folder / 'responses.jsonl', responses)}",
    ]


@pytest.fixture
def scored(tmp_path: Path) -> dict[str, Any]:
    out = tmp_path / "out.json"
    judged = ["mode=official", "judge.kind=exact", f"json_file={out}"]
    run(["score", *official_files(tmp_path), *judged])
    return json.loads(out.read_text("utf-8"))


def test_every_answer_gets_the_figures_worked_out_by_hand(scored: dict[str, Any]) -> None:
    found = {
        (one["task_id"], one["trial"]): tuple(one["score"]["metrics"][name] for name in NAMES)
        for one in scored["results"]
    }
    assert found.keys() == FIGURES.keys()
    for place, figures in FIGURES.items():
        assert found[place] == pytest.approx(figures, rel=0, abs=1e-9), place


def test_the_summary_is_the_official_one_overall_and_by_language(scored: dict[str, Any]) -> None:
    official = scored["official"]
    # Per question the mean, best and worst of both trials, then the mean over questions.
    assert official["en"]["f1_by_item"] == pytest.approx(
        {
            "avg_n": ((5 / 6 + 2 / 3) / 2 + (4 / 3 + 0) / 2) / 2,
            "max_n": (5 / 6 + 4 / 3) / 2,
            "min_n": (2 / 3 + 0) / 2,
        },
        abs=1e-9,
    )
    assert official["zh"]["f1_by_row"] == pytest.approx(
        {"avg_n": 3 / 4, "max_n": 1.0, "min_n": 1 / 2}, abs=1e-9
    )
    assert official["overall"]["score"] == pytest.approx(
        {"avg_n": (0 + 0 + 1 / 2) / 3, "max_n": 1 / 3, "min_n": 0.0}, abs=1e-9
    )
    assert official["overall"]["recall_by_row"]["avg_n"] == pytest.approx(
        (1 / 2 + 1 / 2 + 3 / 4) / 3, abs=1e-9
    )


def test_failed_answers_and_strange_instances_are_counted(scored: dict[str, Any]) -> None:
    counts = scored["summary"]["overall"]["counts"]
    assert counts == {"scored": 5, "failed": 1, "unscored": 0, "error": 0}
    assert scored["unknown"] == ["ws_xx_999"]
    missing = next(one for one in scored["results"] if one["trial"] == 1)["score"]["missing_rows"]
    assert missing == ["Bonn"]


def test_a_run_of_official_files_is_graded_again_by_the_strict_rules(tmp_path: Path) -> None:
    folder = str(tmp_path / "run")
    run(["import", folder, *official_files(tmp_path), "mode=official", "judge.kind=exact"])
    run(["regrade", folder, "name=strict", "mode=strict", "judge.kind=exact"])
    official, strict = load_run(Path(folder)), load_run(Path(folder), "strict")
    figures = {
        (one.task_id, one.trial): (one.score.value, again.score.value)
        for one, again in zip(official.results, strict.results, strict=True)
        if one.score is not None and again.score is not None
    }
    # A cell counts once, however many metrics it has.
    assert figures["ws_en_002", 0] == pytest.approx((8 / 6, 1.0))
    # "none" and no address at all are still the same; nothing else changes here.
    assert figures["ws_en_001", 0] == pytest.approx((5 / 6, 5 / 6))
    assert figures["ws_zh_001", 1] == pytest.approx((1.0, 1.0))


def test_what_is_imported_is_exported_as_the_same_official_files(tmp_path: Path) -> None:
    folder, out = str(tmp_path / "run"), tmp_path / "out"
    files = official_files(tmp_path)
    run(["import", folder, *files, "mode=official", "judge.kind=exact"])
    run(["export", folder, str(out), "model=me"])
    for name, trial, text in ANSWERS[:-1]:
        line = json.loads((out / f"me_{name}_{trial}_response.jsonl").read_text("utf-8"))
        assert (line["instance_id"], line["trial_idx"], line["response"]) == (name, trial, text)
    scores = tmp_path / "again.json"
    again = [*files[:-1], f"responses={out}", "mode=official", "judge.kind=exact"]
    run(["score", *again, f"json_file={scores}"])
    found = json.loads(scores.read_text("utf-8"))["results"]
    assert [one["score"]["metrics"]["item_f1"] for one in found] == pytest.approx(
        [FIGURES[name, trial][2] for name, trial, _ in ANSWERS[:-1]], rel=0, abs=1e-9
    )
