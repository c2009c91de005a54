import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from wideseek_core import ConfigError, DataError, TableGold, Task, TextGold
from wideseek_core.config import validate
from wideseek_core.datasets import Selection, select
from wideseek_eval import DataConfig, JsonlData, QaData, WideSearchData, load_tasks
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


def test_the_question_may_be_under_query_and_evaluation_be_json_text(tmp_path: Path) -> None:
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
        ({"language": "French"}, "'language' must be a tag such as 'en' or 'zh', not 'French'"),
        ({"unique_columns": ["Town"]}, "'unique_columns' names 'Town'"),
        ({"unique_columns": [3]}, "'unique_columns' must be a list of column names"),
        ({"evaluation": "{"}, "'evaluation' is not JSON"),
        ({"evaluation": [1]}, "'evaluation' must be an object"),
        ({"evaluation": {"required": ["City", "Mayor"]}}, "'required' names 'Mayor'"),
        ({"instance_id": "w0"}, r"id 'w0' is taken by .*:1"),
        ({"instance_id": [1]}, "'instance_id' must be a string or an integer"),
        (
            {"evaluation": {"eval_pipeline": {"City": {"metric": [3]}}}},
            "'metric' of 'City' must be a list of names",
        ),
        (
            {"evaluation": {"eval_pipeline": {"City": {"metric": ["almost"]}}}},
            "unknown function 'almost' for column 'City'",
        ),
        ({"instance_id": True}, "'instance_id' must be a string or an integer, not True"),
        ({"instance_id": " "}, "'instance_id' must be a string or an integer"),
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
    assert len(load_tasks(JsonlData(path=path, skip_malformed=True))) == 1
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
    with pytest.raises(DataError, match="of 4 tasks none has 30 rows or more"):
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


def test_200_tasks_are_expected_by_default(tmp_path: Path) -> None:
    folder = official_folder(tmp_path)
    with pytest.raises(DataError, match="1 task, not 200"):
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


PLAIN = {"question": "List the moons.", "answer": "| Moon | Radius |\n|---|---|\n| Io | 1 |"}


def test_a_task_with_exactly_the_documented_keys_is_accepted(tmp_path: Path) -> None:
    task = load_one(tmp_path, PLAIN)
    assert (task.id, task.source, task.rows) == ("set-0", "set", 1)
    assert (table(task).key_columns, table(task).required_columns) == (
        ("Moon",),
        ("Moon", "Radius"),
    )


@pytest.mark.parametrize(
    ("rows", "key"),
    [
        ("| a | 1 |\n| b | 1 |", "x"),
        ("| a | 1 |\n| A | 2 |", "y"),
        ("| a | 1 |\n|  | 2 |", "y"),
        ("| a | 1 |\n| a | 1 |", "x"),
        ("| a | |\n| a | 1 |", "x"),
    ],
    ids=["first", "second", "no-blanks", "neither", "neither-blank"],
)
def test_without_unique_columns_the_key_is_the_first_column_of_distinct_values(
    tmp_path: Path, rows: str, key: str, caplog: pytest.LogCaptureFixture
) -> None:
    task = load_one(tmp_path, {"question": "q", "answer": f"| x | y |\n|---|---|\n{rows}"})
    assert table(task).key_columns == (key,)
    assert f"set.jsonl: without 'unique_columns': 1 task; the key column was chosen: '{key}'" in (
        caplog.text
    )


def test_the_chosen_key_is_one_of_the_required_columns(tmp_path: Path) -> None:
    none: list[str] = []
    row = PLAIN | {"evaluation": {"required": ["Radius"]}, "unique_columns": none}
    assert table(load_one(tmp_path, row)).key_columns == ("Radius",)


def test_nothing_is_reported_where_tasks_name_their_keys(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    load_one(tmp_path, WIDE)
    assert caplog.text == ""


def test_a_key_that_looks_like_an_optional_one_is_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    row = PLAIN | {"uniqe_columns": ["Moon"], "Language": "en", "notes": "x", "sources": 1}
    load_one(tmp_path, row | {"source": "moons"})
    assert "the key 'uniqe_columns' of 1 task means nothing; did you mean 'unique_columns'?" in (
        caplog.text
    )
    assert "'Language' of 1 task means nothing; did you mean 'language'?" in caplog.text
    assert "notes" not in caplog.text
    assert "sources" not in caplog.text


def test_a_key_column_that_the_table_lacks_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="names 'Planet', which is not a column of the table"):
        load_one(tmp_path, PLAIN | {"unique_columns": ["Planet"]})


def test_column_names_match_as_written_only_if_that_is_asked_for(tmp_path: Path) -> None:
    row = PLAIN | {"unique_columns": ["moon"], "evaluation": {"required": ["m o o n", "radius"]}}
    path = write(tmp_path / "set.jsonl", row)
    assert table(load_tasks(JsonlData(path=path))[0]).normalize_columns
    with pytest.raises(DataError, match="'required' names 'm o o n'"):
        load_tasks(JsonlData(path=path, normalize_columns=False))
    path = write(tmp_path / "set.jsonl", PLAIN | {"unique_columns": ["Moon"]})
    (task,) = load_tasks(JsonlData(path=path, normalize_columns=False))
    assert not table(task).normalize_columns


def test_the_table_is_read_as_judges_read_it(tmp_path: Path) -> None:
    answer = "> | City | Note |\n> |:---+---:|\n> | Bonn | a \\\\| b |\n> | Lyon ｜ c |"
    task = load_one(tmp_path, {"question": "q", "answer": answer})
    assert (task.rows, table(task).required_columns) == (2, ("City", "Note"))


def test_a_list_of_files_is_one_set_with_a_source_for_each(tmp_path: Path) -> None:
    first = write(tmp_path / "wide.jsonl", PLAIN, PLAIN, PLAIN)
    second = write(tmp_path / "qa.jsonl", {"question": "q", "answer": "a"})
    tasks = load_tasks(JsonlData(path=(first, second)))
    assert sorted(task.id for task in tasks) == ["qa-0", "wide-0", "wide-1", "wide-2"]
    assert sorted({task.source for task in tasks}) == ["qa", "wide"]


def test_files_are_mixed_by_their_weights(tmp_path: Path) -> None:
    first = write(tmp_path / "a.jsonl", *[{"question": "q", "answer": "a"}] * 10)
    second = write(tmp_path / "b.jsonl", *[{"question": "q", "answer": "a"}] * 10)
    config = JsonlData(path=(first, second), weights=(3, 1), limit=8, shuffle=True, seed=5)
    tasks = load_tasks(config)
    assert sorted(task.source for task in tasks) == ["a"] * 6 + ["b"] * 2
    assert tasks == load_tasks(config)
    qa = QaData(path=(first, second), weights=(1, 1))
    assert len(load_tasks(qa)) == 20


def test_files_of_one_name_give_tasks_of_different_ids(tmp_path: Path) -> None:
    for folder in ("train", "test"):
        (tmp_path / folder).mkdir()
        write(tmp_path / folder / "set.jsonl", {"question": "q", "answer": "a"})
    paths = (tmp_path / "train/set.jsonl", tmp_path / "test/set.jsonl")
    assert {task.id for task in load_tasks(QaData(path=paths))} == {"train_set-0", "test_set-0"}


def test_an_id_that_two_files_use_is_named_with_both_places(tmp_path: Path) -> None:
    paths = (write(tmp_path / "a.jsonl", WIDE), write(tmp_path / "b.jsonl", WIDE))
    with pytest.raises(DataError, match=r"b\.jsonl:1: id 'w1' is taken by .*a\.jsonl:1"):
        load_tasks(JsonlData(path=paths))


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"path": []}, "path is an empty list"),
        ({"path": "x", "weights": [1, 2]}, "2 weights for 1 file"),
        ({"path": ["x", "y"], "weights": [1, 0]}, "weights must be positive"),
        ({"path": ["x", "y"], "weights": [1, float("nan")]}, "finite number"),
        ({"path": "x", "seed": -1}, "seed: "),
    ],
)
def test_a_mixture_that_makes_no_sense_is_refused(values: dict[str, Any], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        validate(JsonlData, values)


@pytest.mark.parametrize("kind", [JsonlData, QaData])
def test_a_json_array_nested_too_deep_is_refused_by_its_file(
    tmp_path: Path, kind: type[JsonlData | QaData]
) -> None:
    path = tmp_path / "deep.json"
    path.write_text("[" * 100_000)
    with pytest.raises(DataError, match=r"deep\.json: not JSON: nested too deep"):
        load_tasks(kind(path=path))


@pytest.mark.parametrize(
    ("value", "match"),
    [
        ("[" * 100_000, "'evaluation' is not JSON: nested too deep"),
        ('{"a": ' + "1" * 6000 + "}", "'evaluation' is not JSON: a number has too many digits"),
    ],
    ids=["deep", "long"],
)
def test_hostile_json_inside_a_task_is_refused_by_file_and_line(
    tmp_path: Path, value: str, match: str
) -> None:
    refuse(tmp_path, WIDE | {"evaluation": value}, match)


@pytest.mark.parametrize(
    "line", ["1" * 6000, '{"a":' * 100_000, '{"question": ' + "9" * 5000 + "}"]
)
def test_a_hostile_line_is_refused_by_file_and_number(tmp_path: Path, line: str) -> None:
    path = tmp_path / "set.jsonl"
    path.write_text(json.dumps(WIDE) + "\n" + line + "\n")
    with pytest.raises(DataError, match=r"set\.jsonl:2: not JSON"):
        load_tasks(JsonlData(path=path))


def test_text_that_utf8_cannot_hold_is_repaired_where_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "set.jsonl"
    path.write_text('{"question": "where \\ud83d?", "answer": "\\ud83d\\ude00"}\n')
    (task,) = load_tasks(JsonlData(path=path))
    assert task.question == "where \ufffd?"
    assert isinstance(task.gold, TextGold)
    assert task.gold.answers == ("\U0001f600",)


def test_an_integer_is_an_id(tmp_path: Path) -> None:
    assert load_one(tmp_path, WIDE | {"instance_id": 7}).id == "7"


def test_an_official_id_that_is_a_path_is_refused(tmp_path: Path) -> None:
    folder = official_folder(tmp_path)
    row = {"instance_id": "../x", "query": "q", "evaluation": "{}"}
    write(folder / "widesearch.jsonl", row)
    with pytest.raises(DataError, match=r"'\.\./x' can't be part of a file name"):
        load_tasks(WideSearchData(path=folder, expect=1))
