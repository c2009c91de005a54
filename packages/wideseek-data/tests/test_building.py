"""The steps of a build by themselves: files, splits, counts, the card, services that fail."""

import json
import re
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from wideseek_core import (
    Conversation,
    DataError,
    Document,
    Finish,
    Message,
    NoContent,
    Page,
    PolicyUnavailable,
    Reply,
    Score,
    Task,
    ToolSpec,
)
from wideseek_core.config import ConfigError, validate
from wideseek_core.scores import ScoreState, TextMetrics
from wideseek_data.building.build import BuildServices, World, build_data, oracle_answer
from wideseek_data.building.card import card_text
from wideseek_data.building.config import BuildConfig
from wideseek_data.building.output import (
    read_plans,
    read_stored_pages,
    read_tables,
    split_of,
    task_line,
)
from wideseek_data.building.report import BuildReport, SourceReport, StepCounter
from wideseek_data.tables.table import Table
from wideseek_data.tasks.make import Amounts, make_tasks
from wideseek_data.tasks.recipes import PlannedTask

from .moons import moon_pages, moons

PLANS = list(make_tasks([moons()], Amounts(wide_per_table=12, short_per_table=27), Counter()))


class Everything:
    """Search that shows every page, and reads it."""

    def __init__(self, pages: Sequence[Page]) -> None:
        self.pages = {page.url: page for page in pages}

    async def search(self, query: str, k: int) -> list[Document]:
        return [
            Document(url=page.url, title=page.title, text=page.text) for page in self.pages.values()
        ]

    async def read(self, url: str) -> Page:
        if url not in self.pages:
            raise NoContent(url)
        return self.pages[url]


@asynccontextmanager
async def open_world(pages: Sequence[Page]) -> AsyncGenerator[World]:
    everything = Everything(pages)
    yield World(search=everything, pages=everything)


class Judging:
    """Gives the score of a rule."""

    def __init__(self, wrong: str = "") -> None:
        self.wrong = wrong
        self.asked = 0

    async def score(self, task: Task, answer: str) -> Score:
        self.asked += 1
        right = not self.wrong or self.wrong not in answer
        return Score(state=ScoreState.SCORED, metrics=TextMetrics(correct=float(right)))


class Refusing(Judging):
    """Finds every answer wrong."""

    async def score(self, task: Task, answer: str) -> Score:
        return Score(state=ScoreState.SCORED, metrics=TextMetrics(correct=0.0))


class Rewriter:
    """A model that puts the same words before every question about a count."""

    def __init__(self, said: str) -> None:
        self.said = said

    def open(
        self, tools: Sequence[ToolSpec], *, seed: int = 0, max_question_tokens: int | None = None
    ) -> Conversation:
        return self

    async def reply(self, messages: Sequence[Message]) -> Reply:
        prompt = messages[0].content
        question = prompt.split("Question of the program:\n")[1].split("\n\nTable:")[0]
        worded = f"{self.said}: {question}" if "How many" in question else question
        return Reply(text=json.dumps({"question": worded}), finish=Finish.STOP)

    async def close(self) -> None:
        return None


class Answering:
    """Answers every task alike, or not at all."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.asked: list[str] = []

    async def answer(self, task: Task) -> str:
        self.asked.append(task.id)
        if self.text == "down":
            raise PolicyUnavailable("down")
        return self.text


def config_of(folder: Path, **settings: Any) -> BuildConfig:
    lines = [
        json.dumps({"url": page.url, "title": page.title, "contents": page.text})
        for page in moon_pages()
    ]
    (folder / "pages.jsonl").write_text("\n".join(lines))
    source = {"kind": "pages", "name": "moons", "path": str(folder / "pages.jsonl")}
    values: dict[str, Any] = {
        "folder": str(folder / "data"),
        "sources": [source],
        "splits": {"train": 1.0},
    }
    return validate(BuildConfig, values | settings)


def services(
    judge: Judging, answering: Answering | None = None, writer: Rewriter | None = None
) -> BuildServices:
    def open_answerer(
        world: World, plans: Sequence[PlannedTask], tables: dict[str, Table]
    ) -> Answering:
        assert answering is not None
        return answering

    return BuildServices(
        open_world=open_world,
        judge=judge,
        writer=writer,
        open_answerer=open_answerer if answering is not None else None,
    )


def stored_report(config: BuildConfig) -> BuildReport:
    return BuildReport.model_validate_json((config.folder / "report.json").read_text())


def step_of(report: BuildReport, name: str) -> tuple[int, int, dict[str, int], dict[str, int]]:
    found = next(step for step in report.steps if step.name.startswith(name))
    return found.given, found.kept, found.dropped, found.repaired


async def test_what_is_written_can_be_read_again(tmp_path: Path) -> None:
    config = config_of(tmp_path)
    report = await build_data(config, services(Judging()))
    plans = list(read_plans(config.folder))
    assert len(plans) == report.files["plans.jsonl"] > 15
    assert [table.cells("Moon") for table in read_tables(config.folder)] == [moons().cells("Moon")]
    assert {page.url for page in read_stored_pages(config.folder)} == set(moons().urls())
    stored = json.loads((config.folder / "report.json").read_text())
    assert BuildReport.model_validate(stored).files == report.files


async def test_gold_that_does_not_score_one_is_dropped(tmp_path: Path) -> None:
    report = await build_data(config_of(tmp_path), services(Judging(wrong="Juliet")))
    given, kept, dropped, _ = step_of(report, "the gold scores 1")
    assert dropped == {"scores less": given - kept}
    assert dropped["scores less"] > 3


async def test_second_answers_are_compared_and_remembered(tmp_path: Path) -> None:
    second = {"second": {"by": "teacher", "share": 1.0}}
    config = config_of(tmp_path, checks=second)
    answering = Answering("wrong")
    with pytest.raises(DataError, match="no task is left after 'second answer by the teacher'"):
        await build_data(config, services(Judging(wrong="wrong"), answering))
    report = stored_report(config)
    given, kept, dropped, _ = step_of(report, "second answer by the teacher")
    assert (kept, dropped) == (0, {"disagrees": given})
    assert len(answering.asked) == given
    again = Answering("wrong")
    with pytest.raises(DataError, match="no task is left"):
        await build_data(config, services(Judging(wrong="wrong"), again))
    assert stored_report(config).steps == report.steps
    assert again.asked == []


async def test_second_answers_are_asked_for_again_where_the_gold_has_changed(
    tmp_path: Path,
) -> None:
    config = config_of(tmp_path, checks={"second": {"by": "teacher", "share": 1.0}})
    first = Answering("right")
    await build_data(config, services(Judging(), first))
    path = tmp_path / "pages.jsonl"
    path.write_text(path.read_text().replace("94 km", "95 km"))
    again = Answering("right")
    await build_data(config, services(Judging(), again))
    assert 0 < len(again.asked) < len(first.asked)


async def test_a_build_that_keeps_nothing_says_which_step_dropped_the_last(tmp_path: Path) -> None:
    config = config_of(tmp_path, splits={"train": 0.5, "dev": 0.5})
    await build_data(config, services(Judging()))
    assert list(config.folder.glob("*/*.jsonl"))
    with pytest.raises(DataError) as caught:
        await build_data(config, services(Refusing()))
    assert re.fullmatch(
        r"no task is left after 'the gold scores 1 itself' \(\d+ scores less\): see .*README\.md",
        str(caught.value),
    )
    assert not list(config.folder.glob("*/*.jsonl"))
    assert not list(read_plans(config.folder))
    assert "the gold scores 1 itself" in (config.folder / "README.md").read_text()


async def test_files_of_an_earlier_run_without_tasks_now_are_removed(tmp_path: Path) -> None:
    config = config_of(tmp_path)
    await build_data(config, services(Judging()))
    assert (config.folder / "train" / "short.jsonl").exists()
    (config.folder / "train" / "notes.txt").write_text("mine")
    fewer = config.model_copy(update={"short_per_table": 0})
    report = await build_data(fewer, services(Judging()))
    assert not (config.folder / "train" / "short.jsonl").exists()
    assert (config.folder / "train" / "notes.txt").exists()
    assert set(report.files) == {"pages.jsonl", "tables.jsonl", "plans.jsonl", "train/wide.jsonl"}


async def test_the_card_tells_what_test_sets_share_with_the_tasks(tmp_path: Path) -> None:
    answer = "| M |\n| --- |\n| Ariel |\n| Umbriel |\n| Titania |"
    line = json.dumps({"question": "Something else entirely?", "answer": answer})
    (tmp_path / "held.jsonl").write_text(line)
    sets = [{"name": "held", "path": str(tmp_path / "held.jsonl")}]
    config = config_of(tmp_path, checks={"test_sets": sets})
    report = await build_data(config, services(Judging()))
    (overlap,) = report.overlaps
    assert overlap.dropped["entities"] > 0
    assert sum(overlap.kept.values()) > 3
    assert set(overlap.kept) == {
        "fewer than 3 entities",
        "at most 50% of their entities shared with one answer",
    }
    card = (config.folder / "README.md").read_text()
    assert f"| held | entities: {overlap.dropped['entities']} | at most 50% of" in card
    strict = {"entities": 0.0, "min_entities": 1}
    config = config_of(tmp_path, checks={"test_sets": sets, "decontaminate": strict})
    (overlap,) = (await build_data(config, services(Judging()))).overlaps
    assert overlap.kept == {}


async def test_questions_in_a_models_words_are_compared_with_the_test_sets_again(
    tmp_path: Path,
) -> None:
    said = (
        "I have wondered for a long while now what to say of these moons to all of my pupils at "
        "school who ask me about them again and again whenever the sky is clear"
    )
    (tmp_path / "held.jsonl").write_text(json.dumps({"question": f"{said} at night?"}))
    sets = [{"name": "held", "path": str(tmp_path / "held.jsonl")}]
    config = config_of(
        tmp_path,
        checks={"test_sets": sets, "decontaminate": {"titles": False}},
        rewriting={"model": "stub", "max_attempts": 1},
        wide_per_table=0,
    )
    report = await build_data(config, services(Judging(), writer=Rewriter(said)))
    assert step_of(report, "not shared with test sets")[2] == {}
    given, kept, dropped, _ = step_of(report, "not shared with test sets in other words")
    assert dropped == {"held: text": given - kept}
    assert 0 < kept < given
    assert not any(said in plan.task.question for plan in read_plans(config.folder))


async def test_a_share_of_the_tasks_gets_second_answers(tmp_path: Path) -> None:
    config = config_of(tmp_path, checks={"second": {"by": "teacher", "share": 0.4}})
    answering = Answering("right")
    report = await build_data(config, services(Judging(), answering))
    given, kept, _, repaired = step_of(report, "second answer")
    assert kept == given
    assert 0 < len(answering.asked) == given - repaired["not asked"] < given


async def test_a_second_answer_that_can_not_be_had_drops_nothing(tmp_path: Path) -> None:
    config = config_of(tmp_path, checks={"second": {"by": "teacher", "share": 1.0}})
    report = await build_data(config, services(Judging(), Answering("down")))
    given, kept, _, repaired = step_of(report, "second answer")
    assert kept == given == repaired["no answer"]
    again = Answering("right")
    report = await build_data(config, services(Judging(), again))
    assert len(again.asked) == given
    assert "no answer" not in step_of(report, "second answer")[3]


async def test_pages_need_not_be_reachable_if_that_is_not_checked(tmp_path: Path) -> None:
    report = await build_data(config_of(tmp_path, checks={"reachable": False}), services(Judging()))
    assert not any(step.name == "answerable from the pages" for step in report.steps)


async def test_undated_facts_are_repaired_dropped_or_kept(tmp_path: Path) -> None:
    questions: dict[str, str] = {}
    for way in ("repair", "drop", "keep"):
        folder = tmp_path / way
        folder.mkdir()
        config = config_of(folder, checks={"undated": way})
        path = folder / "pages.jsonl"
        path.write_text(path.read_text().replace("Diameter: ", "Population: "))
        await build_data(config, services(Judging()))
        questions[way] = "\n".join(plan.task.question for plan in read_plans(config.folder))
    assert "Take the figures as that page states them." in questions["repair"]
    assert "population" in questions["repair"]
    assert "population" not in questions["drop"]
    assert "Take the figures" not in questions["keep"]


def test_the_split_of_two_entities_is_theirs_if_it_is_one() -> None:
    shares = {"train": 0.5, "dev": 0.5}
    names = [f"entity {number}" for number in range(200)]
    split = {name: split_of((name,), shares) for name in names}
    assert 70 < sum(value == "train" for value in split.values()) < 130
    train = [name for name in names if split[name] == "train"]
    dev = [name for name in names if split[name] == "dev"]
    assert split_of((train[0], train[1]), shares) == "train"
    assert split_of((train[0], dev[0]), shares) == ""
    assert split_of((dev[0],), {"train": 0.0, "dev": 3.0}) == "dev"


def test_lines_of_tasks_have_the_fields_that_loaders_read() -> None:
    for plan in PLANS:
        line = json.loads(task_line(plan).model_dump_json(exclude_none=True))
        if plan.recipe.kind == "wide":
            assert line["is_markdown"] is True
            assert line["answer"].startswith("```markdown\n| ")
            assert line["evaluation"]["required"][0] == line["unique_columns"][0]
        else:
            assert line["is_markdown"] is False
            assert isinstance(line["answer"], list)
            assert "evaluation" not in line
        assert line["question"] == plan.task.question


def test_the_oracle_answers_in_the_form_that_is_scored() -> None:
    wide = next(plan for plan in PLANS if plan.recipe.kind == "wide")
    short = next(plan for plan in PLANS if plan.recipe.kind == "short")
    assert oracle_answer(wide).startswith("```markdown\n| ")
    assert oracle_answer(short).startswith("\\boxed{")


def test_a_step_counts_what_it_drops() -> None:
    step = StepCounter("a step")
    assert [step.take(problem) for problem in ("", "bad", "", "bad", "worse")] == [
        True,
        False,
        True,
        False,
        False,
    ]
    report = step.report()
    assert (report.given, report.kept, report.dropped) == (5, 2, {"bad": 2, "worse": 1})


def test_the_card_says_what_is_not_stated_and_what_was_paid() -> None:
    report = BuildReport(
        sources=(SourceReport(name="mine", tables=3, pages=9, refused={"no key": 2}),),
        steps=(),
        files={"train/wide.jsonl": 7},
        shapes={"wide/all": 7},
        languages={"en": 6, "zh": 1},
        requests=12,
        paid=Decimal("0.0042"),
    )
    card = card_text(report, "My set")
    assert card.startswith("# My set\n")
    assert "| mine | not stated | not stated | 3 | 9 | no key: 2 |" in card
    assert "Languages: en: 6; zh: 1." in card
    assert "12 requests, at most 0.0042 paid" in card
    assert "Difficulty" not in card


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"splits": {"train": 0.0}}, "splits"),
        ({"splits": {"train": -1.0, "dev": 2.0}}, "splits"),
        ({"languages": {"en": 0.0}}, "languages"),
        ({"sources": []}, "sources"),
        ({"checks": {"second": {"share": 2}}}, "share"),
        ({"wide_per_table": -1}, "wide_per_table"),
        ({"nonsense": 1}, "nonsense"),
    ],
)
def test_settings_that_make_no_sense_are_refused(
    tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        config_of(tmp_path, **settings)
