import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from wideseek_core import ConfigError, DataError, TableGold, Task, TextGold
from wideseek_core.config import validate
from wideseek_core.datasets import Selection, select
from wideseek_eval import DataConfig, JsonlData, QaData, WideSearchData, load_tasks
from wideseek_eval.datasets.reference_tables import csv_cells, looks_like_table, markdown_cells
from wideseek_eval.datasets.widesearch import digest

TABLE = "```markdown\n| City | Country |\n| --- | --- |\n| Bonn | Germany |\n| Lyon | France |\n```"
WIDE: dict[str, Any] = {
    "instance_id": "w1",
    "question": "List cities.",
    "answer": TABLE,
    "unique_columns": ["City"],
    "is_markdown": True,
    "language": "en",
    "evaluation": {"required": ["City", "Country"]},
}


def write(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return path


def load_one(path: Path, row: dict[str, Any]) -> Task:
    (task,) = load_tasks(JsonlData(path=write(path / "set.jsonl", row)))
    return task


def refuse(path: Path, row: dict[str, Any], match: str) -> None:
    good = WIDE | {"instance_id": "w0"}
    with pytest.raises(DataError, match=rf"set\.jsonl:2: .*{match}"):
        load_tasks(JsonlData(path=write(path / "set.jsonl", good, row)))


def table(task: Task) -> TableGold:
    assert isinstance(task.gold, TableGold)
    return task.gold


def test_a_table_row_becomes_a_task(tmp_path: Path) -> None:
    task = load_one(tmp_path, WIDE)
    assert (task.id, task.question, task.language, task.rows) == ("w1", "List cities.", "en", 2)
    assert table(task).key_columns == ("City",)
    assert table(task).required_columns == ("City", "Country")
    assert table(task).text == TABLE


def test_the_question_may_stand_under_query_and_evaluation_be_json_text(tmp_path: Path) -> None:
    row = {key: value for key, value in WIDE.items() if key != "question"}
    row |= {"query": "列出城市。", "language": None}
    row["evaluation"] = json.dumps({"required": ["City"], "unique_columns": ["City"]})
    task = load_one(tmp_path, row)
    assert (task.question, task.language) == ("列出城市。", "zh")
    assert table(task).required_columns == ("City",)


def test_without_required_every_column_of_the_table_is(tmp_path: Path) -> None:
    row = {key: value for key, value in WIDE.items() if key not in ("evaluation", "is_markdown")}
    assert table(load_one(tmp_path, row)).required_columns == ("City", "Country")


def test_the_pipeline_of_a_column_becomes_its_rule(tmp_path: Path) -> None:
    pipeline = {"City": {"preprocess": ["norm_str"], "metric": ["number_near"], "criterion": 0.1}}
    row = WIDE | {"evaluation": {"required": ["City"], "eval_pipeline": pipeline}}
    rule = table(load_one(tmp_path, row)).rules["City"]
    assert (rule.preprocess, rule.metric, rule.criterion) == (("norm_str",), ("number_near",), 0.1)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [("Bonn", ("Bonn",)), (["Bonn", "Bonn am Rhein"], ("Bonn", "Bonn am Rhein")), (7, ("7",))],
)
def test_short_answers_are_a_string_a_number_or_a_list(
    tmp_path: Path, answer: object, expected: tuple[str, ...]
) -> None:
    task = load_one(tmp_path, {"question": "Where?", "answer": answer})
    assert isinstance(task.gold, TextGold)
    assert task.gold.answers == expected
    assert task.id == "set-0"


def test_a_qa_set_may_call_its_answer_gt_and_be_one_json_array(tmp_path: Path) -> None:
    path = tmp_path / "nq.json"
    path.write_text(
        json.dumps([{"question": "Where?", "gt": "Bonn"}, {"question": "a", "gt": "b"}])
    )
    tasks = load_tasks(QaData(path=path))
    assert [task.id for task in tasks] == ["nq-0", "nq-1"]


def test_keys_of_question_and_answer_can_be_named(tmp_path: Path) -> None:
    path = write(tmp_path / "odd.jsonl", {"prompt": "Where?", "target": "Bonn"})
    config = JsonlData(path=path, question_key="prompt", answer_key="target")
    assert load_tasks(config)[0].question == "Where?"


def test_a_byte_order_mark_is_no_part_of_the_first_row(tmp_path: Path) -> None:
    path = tmp_path / "bom.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(WIDE).encode() + b"\n")
    assert load_tasks(JsonlData(path=path))[0].id == "w1"


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"question": 5}, "'question' must be a non-empty string, not 5"),
        ({"answer": {}}, "'answer' must be a string or a list"),
        ({"answer": []}, "'answer' is empty"),
        ({"answer": "no table"}, "holds no Markdown table"),
        ({"answer": [TABLE, TABLE]}, "is one table"),
        ({"is_markdown": "yes"}, "'is_markdown' must be true or false"),
        ({"language": "fr"}, "'language' must be 'en' or 'zh', not 'fr'"),
        ({"unique_columns": None}, "missing 'unique_columns'"),
        ({"unique_columns": ["Town"]}, "'unique_columns' names 'Town'"),
        ({"unique_columns": [3]}, "'unique_columns' must be a list of column names"),
        ({"evaluation": "{"}, "'evaluation' is not JSON"),
        ({"evaluation": [1]}, "'evaluation' must be an object"),
        ({"evaluation": {"required": ["City", "Mayor"]}}, "'required' names 'Mayor'"),
        ({"instance_id": "w0"}, r"id 'w0' is taken by .*:1"),
        ({"instance_id": [1]}, "'instance_id' must be a string"),
        (
            {"evaluation": {"eval_pipeline": {"City": {"metric": ["almost"]}}}},
            "unknown function 'almost' for column 'City'",
        ),
    ],
)
def test_a_bad_row_is_refused_with_file_and_line(
    tmp_path: Path, change: dict[str, Any], match: str
) -> None:
    refuse(tmp_path, WIDE | change, match)


def test_missing_question_names_both_keys(tmp_path: Path) -> None:
    refuse(tmp_path, {"answer": "x"}, "missing 'question' or 'query'")


def test_a_line_that_is_not_json_is_refused_with_its_number(tmp_path: Path) -> None:
    path = tmp_path / "set.jsonl"
    path.write_text(json.dumps(WIDE) + "\n\n{oops\n")
    with pytest.raises(DataError, match=r"set\.jsonl:3: not JSON"):
        load_tasks(JsonlData(path=path))


def test_bad_rows_can_be_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write(tmp_path / "set.jsonl", WIDE, {"answer": "x"})
    assert len(load_tasks(JsonlData(path=path, skip_bad_rows=True))) == 1
    assert "set.jsonl:2" in caplog.text


def test_a_missing_or_empty_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        load_tasks(JsonlData(path=tmp_path / "none.jsonl"))
    with pytest.raises(DataError, match="no tasks"):
        load_tasks(JsonlData(path=write(tmp_path / "empty.jsonl")))


def tasks_of_rows(*rows: int) -> list[Task]:
    gold = TextGold(answers=("x",))
    return [Task(id=f"t{n}", question="q", gold=gold, rows=n) for n in rows]


def test_filters_shuffles_then_cuts() -> None:
    tasks = tasks_of_rows(1, 5, 10, 20)
    chosen = select(tasks, Selection(min_rows=5, max_rows=20, limit=2))
    assert [task.id for task in chosen] == ["t5", "t10"]
    shuffled = [select(tasks, Selection(shuffle=True, seed=seed)) for seed in (3, 3, 4)]
    assert shuffled[0] == shuffled[1] != shuffled[2]
    with pytest.raises(DataError, match="none of 4 tasks"):
        select(tasks, Selection(min_rows=30))


def test_the_kind_chooses_the_config_and_unknown_keys_are_named() -> None:
    adapter: TypeAdapter[DataConfig] = TypeAdapter(DataConfig)
    config = adapter.validate_python({"kind": "qa", "path": "nq.jsonl"})
    assert isinstance(config, QaData)
    with pytest.raises(ConfigError, match="did you mean 'limit'"):
        validate(JsonlData, {"path": "x", "limits": 3})
    with pytest.raises(ConfigError, match="min_rows 9 is more than max_rows 3"):
        validate(JsonlData, {"path": "x", "min_rows": 9, "max_rows": 3})


def official_folder(path: Path) -> Path:
    evaluation = {"required": ["city", "country"], "unique_columns": ["city"]}
    row = {"instance_id": "ws_en_001", "query": "List cities.", "language": "en"}
    write(path / "widesearch.jsonl", row | {"evaluation": json.dumps(evaluation)})
    (path / "widesearch_gold").mkdir()
    gold = path / "widesearch_gold" / "ws_en_001.csv"
    gold.write_text('\ufeffCity,Country\n"Bonn, West",Germany\nLyon,France\n')
    return path


def test_the_official_layout_is_read_with_its_gold_tables(tmp_path: Path) -> None:
    (task,) = load_tasks(WideSearchData(path=official_folder(tmp_path), expect=1))
    assert (task.id, task.rows, table(task).format) == ("ws_en_001", 2, "csv")
    assert table(task).text.startswith("City,")


def test_200_tasks_are_expected_unless_told_otherwise(tmp_path: Path) -> None:
    folder = official_folder(tmp_path)
    with pytest.raises(DataError, match="1 tasks, not 200"):
        load_tasks(WideSearchData(path=folder))
    assert len(load_tasks(WideSearchData(path=folder, expect=None))) == 1


def test_a_checksum_covers_tasks_and_gold(tmp_path: Path) -> None:
    folder = official_folder(tmp_path)
    found = digest(folder / "widesearch.jsonl", folder / "widesearch_gold")
    assert load_tasks(WideSearchData(path=folder, expect=1, sha256=found))
    (folder / "widesearch_gold" / "ws_en_001.csv").write_text("City,Country\nBonn,Germany\n")
    with pytest.raises(DataError, match=f"not {found}"):
        load_tasks(WideSearchData(path=folder, expect=1, sha256=found))


def test_a_missing_gold_table_or_column_is_named(tmp_path: Path) -> None:
    folder = official_folder(tmp_path)
    gold = folder / "widesearch_gold" / "ws_en_001.csv"
    gold.write_text("City\nBonn\n")
    with pytest.raises(DataError, match=r"widesearch\.jsonl:1: 'required' names 'country'"):
        load_tasks(WideSearchData(path=folder, expect=1))
    gold.unlink()
    with pytest.raises(DataError, match=r"widesearch\.jsonl:1: no gold table"):
        load_tasks(WideSearchData(path=folder, expect=1))


def test_cells_of_tables_are_read_with_escapes_and_quotes() -> None:
    assert markdown_cells("| a | b |\n|---|---|\n| x \\| y | |\n") == [["a", "b"], ["x | y", ""]]
    assert csv_cells('a,b\n"x, y",\n') == [["a", "b"], ["x, y", ""]]
    assert looks_like_table("a | b\n--- | ---\n1 | 2")
    assert not looks_like_table("either a | b\nor - nothing")
