"""The files of a run on real tables: what is trained on, what is held out, what can be found."""

import asyncio
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from wideseek_agents.policies.scripted import ScriptedPolicy
from wideseek_agents.prompts.sets import PromptSet
from wideseek_apps.learning_data import (
    ATLAS_TEST,
    ATLAS_TRAIN,
    EVALUATION,
    INVENTED_TEST,
    INVENTED_TRAIN,
    LISTINGS,
    PAGES,
    PARTS,
    TRAIN,
    LearningDataConfig,
    check_learning_data,
    write_learning_data,
)
from wideseek_apps.listing_demos import demonstrate_listing
from wideseek_apps.presets import ATLAS_TEAM
from wideseek_apps.sft_config import DemosConfig
from wideseek_core import ConfigError, DataError, TableGold, Trajectory
from wideseek_core.tables import parse_table
from wideseek_data.teaching.invented_listings import invent_worlds
from wideseek_eval import JsonlData, load_tasks

SPLITS = {"Auk": "train", "Bee": "evaluation", "Cod": "train", "Doe": "kept back"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files made of four tables of which two may be trained on."""
    source, out = tmp_path_factory.mktemp("wikitables"), tmp_path_factory.mktemp("out")
    write_source(source)
    write_learning_data(few(source, out))
    return out


def few(source: Path, out: Path) -> LearningDataConfig:
    """Settings with few invented listings."""
    return LearningDataConfig(source=source, folder=out, invented=12, invented_test=5)


def write_source(source: Path, splits: Mapping[str, str] = SPLITS) -> None:
    """The three files that `wideseek wikitables` reads."""
    source.mkdir(exist_ok=True)
    lines: dict[str, list[object]] = {"pages": [], "wide_dev": [], "splits": []}
    for title, split in splits.items():
        base = f"https://wiki.example/wiki/{title}"
        urls = [f"{base}#Eggs", f"{base}/{title}let#Eggs"]
        row = (
            f"{title}let is an entry of {title}, section Eggs (Name). Size: {title}-size. Hue: red."
        )
        texts = [f"{title}, section Eggs. It lists 1 entries by Name: {title}let.", row]
        titles = [f"{title}: Eggs", f"{title}let ({title})"]
        for url, name, text in zip(urls, titles, texts, strict=True):
            lines["pages"].append({"url": url, "title": name, "contents": text})
        question = (
            f'List every entry of "{title}", section "Eggs". For each entry give Name, Size, Hue.'
        )
        answer = f"| Name | Size | Hue |\n| --- | --- | --- |\n| {title}let | {title}-size | red |"
        lines["wide_dev"].append(
            {"instance_id": f"t-{title}", "question": question, "answer": answer}
        )
        lines["splits"].append(
            {"source": title, "split": split, "wide": f"t-{title}", "pages": urls}
        )
    for name, rows in lines.items():
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (source / f"{name}.jsonl").write_text(text)


def test_nothing_to_train_on_is_of_a_table_that_is_held_out(folder: Path) -> None:
    for name in (TRAIN, PARTS, LISTINGS):
        text = (folder / name).read_text()
        assert "Auk-size" in text
        assert "Cod-size" in text
        for held_out in ("Bee", "Doe"):
            assert held_out not in text
    assert "Bee-size" in (folder / EVALUATION).read_text()
    assert "Doe-size" not in (folder / EVALUATION).read_text()


def test_all_pages_can_be_found(folder: Path) -> None:
    text = (folder / PAGES).read_text()
    assert all(f"Size: {title}-size" in text for title in SPLITS)


def test_further_questions_ask_for_some_columns_of_the_same_table(folder: Path) -> None:
    whole = {line["id"]: line for line in _lines(folder / TRAIN)}
    parts = list(_lines(folder / PARTS))
    assert len({line["id"] for line in parts}) == len(parts) == 2 * len(whole)
    for line in parts:
        table = whole[line["id"].rpartition("-")[0]]
        asked = line["evaluation"]["required"]
        assert asked[0] == "Name"
        assert set(asked) <= set(table["evaluation"]["required"])
        assert asked != table["evaluation"]["required"]
        assert f"give these columns: {', '.join(asked)}." in line["question"]
        assert line["answer"].splitlines()[1] == f"| {' | '.join(asked)} |"


def test_data_with_a_table_in_both_splits_is_not_written(tmp_path: Path) -> None:
    source = tmp_path / "source"
    write_source(source)
    lines = list(_lines(source / "splits.jsonl"))
    again = lines[1] | {"split": "train"}
    with (source / "splits.jsonl").open("a") as file:
        file.write(json.dumps(again) + "\n")
    with pytest.raises(DataError, match="t-Bee, which is to be trained on, and t-Bee"):
        write_learning_data(few(source, tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_the_atlas_is_split_too(folder: Path) -> None:
    train, test = (load_tasks(JsonlData(path=folder / name)) for name in (ATLAS_TRAIN, ATLAS_TEST))
    assert train
    assert test
    assert not {task.id for task in train} & {task.id for task in test}
    assert not {task.question for task in train} & {task.question for task in test}


def test_invented_listings_are_to_train_on_and_others_to_measure_on(folder: Path) -> None:
    train, test = (
        load_tasks(JsonlData(path=folder / name)) for name in (INVENTED_TRAIN, INVENTED_TEST)
    )
    assert (len(train), len(test)) == (12, 5)
    assert {task.source for task in (*train, *test)} == {"invented"}
    assert not {task.id for task in train} & {task.id for task in test}
    assert not {task.question for task in train} & {task.question for task in test}
    pages = list(_lines(folder / PAGES))
    texts = [page["contents"] for page in pages]
    for task in (*train, *test):
        assert isinstance(task.gold, TableGold)
        table = parse_table(task.gold.text)
        assert table is not None
        names = [row[0] for row in table.rows]
        assert any(all(name in text for name in names) for text in texts)
    assert len({page["url"] for page in pages}) == len(pages)


def test_no_invented_listing_has_the_title_of_a_real_one(folder: Path, tmp_path: Path) -> None:
    first = invent_worlds(1, "test", set())[0][0]
    assert first.task.question in (folder / INVENTED_TEST).read_text("utf-8").replace('\\"', '"')
    write_source(tmp_path / "source", {**SPLITS, first.title: "train"})
    write_learning_data(few(tmp_path / "source", tmp_path / "out"))
    questions = [line["question"] for line in _lines(tmp_path / "out" / INVENTED_TEST)]
    assert len(questions) == 5
    assert not any(first.title in question for question in questions)


def test_demonstrations_show_the_listings_of_the_file_and_no_others(folder: Path) -> None:
    config = DemosConfig(listings=folder / LISTINGS, real_share=1.0, absent_share=0.0)
    seen = set[str]()
    for seed in range(12):
        episode = _demonstrate(seed, config)
        shown = " ".join(turn.text for part in episode for turn in part.turns)
        assert "Bee" not in shown
        assert "Doe" not in shown
        seen |= {title for title in SPLITS if f"| {title}let | {title}-size | red |" in shown}
    assert seen == {"Auk", "Cod"}


def _demonstrate(seed: int, config: DemosConfig) -> tuple[Trajectory, ...]:
    prompts = PromptSet.load(ATLAS_TEAM.prompts)
    made = demonstrate_listing(seed, config, ATLAS_TEAM, prompts, ScriptedPolicy)
    return asyncio.run(made).trajectories


@pytest.mark.parametrize(("rows", "role"), [(1, "lead"), (1000, "single")])
def test_a_single_agent_is_shown_listings_up_to_a_length(rows: int, role: str) -> None:
    config = DemosConfig(single_share=1.0, single_rows=rows)
    assert {_demonstrate(seed, config)[0].role for seed in range(4)} == {role}


def test_a_listing_without_its_pages_gets_an_answer_without_rows(folder: Path) -> None:
    config = DemosConfig(listings=folder / LISTINGS, real_share=1.0, absent_share=1.0)
    assert "-size" not in _demonstrate(3, config)[0].turns[-1].text


def test_what_is_missing_or_broken_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"splits\.jsonl"):
        check_learning_data(LearningDataConfig(source=tmp_path))
    (tmp_path / "bad.jsonl").write_text('{"id": "x"}\n')
    with pytest.raises(DataError, match=r"bad\.jsonl:1"):
        _demonstrate(0, DemosConfig(listings=tmp_path / "bad.jsonl", real_share=1.0))


@pytest.mark.skipif("WIDESEEK_DATA" not in os.environ, reason="needs the wikitables data")
def test_the_leak_rule_holds_for_the_real_tables(tmp_path: Path) -> None:
    source = Path(os.environ["WIDESEEK_DATA"]) / "wikitables"
    write_learning_data(LearningDataConfig(source=source, folder=tmp_path))
    lines = list(_lines(source / "splits.jsonl"))
    allowed = {line["wide"] for line in lines if line["split"] == "train"}
    pages = {page for line in lines if line["split"] == "train" for page in line["pages"]}
    assert {line["id"] for line in _lines(tmp_path / TRAIN)} == allowed
    parts = {line["id"] for line in _lines(tmp_path / PARTS)}
    assert {part.rpartition("-")[0] for part in parts} <= allowed
    listings = list(_lines(tmp_path / LISTINGS))
    assert {line["id"] for line in listings} == allowed
    assert {page["url"] for line in listings for page in line["pages"]} <= pages
    held_out = {line["id"] for line in _lines(tmp_path / EVALUATION)}
    assert held_out == {line["wide"] for line in lines if line["split"] == "evaluation"}
    assert not held_out & allowed
    questions = {line["question"] for line in _lines(source / "qa_dev.jsonl")}
    asked = {line["question"] for name in (TRAIN, PARTS) for line in _lines(tmp_path / name)}
    assert not questions & asked
    # Nor is a table that is held out to be trained on under another name.
    trained = [*_lines(tmp_path / TRAIN), *_lines(tmp_path / PARTS)]
    evaluated = list(_lines(tmp_path / EVALUATION))
    for part in (_subject, _answer):
        assert not {part(line) for line in trained} & {part(line) for line in evaluated}


def _subject(line: dict[str, Any]) -> str:
    """The quoted title and section of a question about a listing."""
    return " ".join(re.findall(r'"([^"]+)"', line["question"])[:2])


def _answer(line: dict[str, Any]) -> str:
    return line["answer"]


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    return map(json.loads, path.read_text("utf-8").splitlines())
