"""The measurement on pages of one's own: its corpora are right, and a policy can be measured."""

import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from wideseek_apps.evaluation import WideSearchConfig
from wideseek_core import TableGold, Task
from wideseek_core.config import load_config
from wideseek_core.tables import parse_table
from wideseek_data.teaching.names_layouts import HELD_OUT_NAMED
from wideseek_data.teaching.values_layouts import HELD_OUT_STATED
from wideseek_judge import JudgeConfig, open_judge

BENCHMARKS = Path(__file__).with_name("benchmarks")


@pytest.fixture
def own_pages(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The script as a module."""
    monkeypatch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])
    return import_module("own_pages")


async def test_the_pages_of_each_corpus_tell_what_is_asked(own_pages: Any) -> None:
    corpora = own_pages.written()
    assert len({corpus.name for corpus in corpora}) == len(corpora) >= 6
    async with open_judge(JudgeConfig()) as judge:
        for corpus in corpora:
            (question,) = corpus.questions
            task: Task = question.task
            assert isinstance(task.gold, TableGold)
            table = parse_table(task.gold.text)
            assert table is not None
            assert 3 <= len(table.rows) == task.rows <= 8
            assert f"give these columns: {', '.join(table.columns)}." in task.question
            texts: list[str] = [page.contents for page in corpus.pages]
            assert any(all(row[0] in text for row in table.rows) for text in texts)
            for row in table.rows:
                assert any(all(cell in text for cell in row) for text in texts), row
            assert (await judge.score(task, task.gold.text)).value == 1.0


def test_a_few_questions_are_one_for_each_pair_of_layouts(own_pages: Any) -> None:
    corpus = own_pages.invented(4, max_rows=5)
    pairs = {(one.names, one.values) for one in corpus.questions}
    assert pairs == {(names, stated) for names in HELD_OUT_NAMED for stated in HELD_OUT_STATED}
    assert all(one.task.rows <= 5 for one in corpus.questions)
    assert len(own_pages.invented(60, max_rows=12).questions) == 60


async def test_a_policy_is_measured_greedily(own_pages: Any, tmp_path: Path) -> None:
    settings = ["policy.turn_tokens=16", "policy.engine.processes=0", "policy.temperature=1"]
    config = load_config(WideSearchConfig, settings)
    out, again = tmp_path / "a" / "out.jsonl", tmp_path / "again.jsonl"
    for path in (out, again):
        await own_pages.measure(config, own_pages.written()[:1], path)
    (line,) = map(json.loads, out.read_text("utf-8").splitlines())
    assert (line["id"], line["names"], line["values"]) == ("ferries", "wiki links", "front matter")
    assert 0 <= line["item_f1"] <= 1
    assert json.loads(again.read_text("utf-8"))["answer"] == line["answer"]
    assert "| written | names | wiki links | 1 |" in own_pages.table([line])
