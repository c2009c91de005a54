"""Checks of tasks: given away, undated, doubles, contamination, reach."""

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest

from wideseek_core import Document, NoContent, Page, TextGold
from wideseek_data.checks.contamination import (
    DecontaminationConfig,
    TestSetConfig,
    contamination,
    entities,
    read_test_set,
)
from wideseek_data.checks.questions import dated, gives_away, undated_columns, without_doubles
from wideseek_data.checks.reach import Reach
from wideseek_data.tables.table import Table
from wideseek_data.tasks.make import Amounts, make_tasks
from wideseek_data.tasks.recipes import PlannedTask, ShortShape

from .moons import moon_pages, moons

TABLE = moons()
TABLES = {TABLE.id: TABLE}
PLANS = list(make_tasks([TABLE], Amounts(wide_per_table=12, short_per_table=27), Counter()))


def plan_of(shape: str) -> PlannedTask:
    return next(plan for plan in PLANS if plan.recipe.shape == shape)


def asking(plan: PlannedTask, question: str) -> PlannedTask:
    return plan.model_copy(update={"task": plan.task.model_copy(update={"question": question})})


def test_a_question_that_holds_its_answer_is_found() -> None:
    plan = plan_of(ShortShape.LOOKUP)
    assert isinstance(plan.task.gold, TextGold)
    answer = plan.task.gold.answers[0]
    assert gives_away(plan, f"Is it {answer.upper()}?")
    assert not gives_away(plan, f"Is it x{answer}?")


def test_a_question_that_offers_two_answers_gives_none_away() -> None:
    plan = plan_of(ShortShape.COMPARE)
    assert not gives_away(plan, plan.task.question)


def test_a_table_is_given_away_only_as_a_whole() -> None:
    plan = plan_of("all")
    text = plan.task.gold.text if plan.task.gold.kind == "table" else ""
    assert gives_away(plan, text)
    assert not gives_away(plan, "\n".join(text.splitlines()[:4]))


def _renamed(name: str, title: str = "Towns of Uranus") -> tuple[PlannedTask, dict[str, Table]]:
    columns = tuple(
        column.model_copy(update={"name": name}) if column.name == "Diameter" else column
        for column in TABLE.columns
    )
    table = TABLE.model_copy(update={"columns": columns, "title": title, "id": "towns"})
    plans = make_tasks([table], Amounts(wide_per_table=12, short_per_table=27), Counter())
    found = next(plan for plan in plans if name in plan.task.model_dump_json())
    return asking(found, "What is it?"), {"towns": table}


def test_facts_that_change_need_a_date() -> None:
    plan, tables = _renamed("Population")
    assert undated_columns(plan, tables) == ["Population"]
    assert "as that page states" in dated(plan).task.question
    for name, title in (("Population (2010)", "Towns"), ("Population", "Towns in 2010")):
        assert undated_columns(*_renamed(name, title)) == []
    assert undated_columns(*_renamed("Diameter")) == []


def test_doubles_are_named_by_what_is_double() -> None:
    first, other = plan_of("all"), plan_of("equal")
    again = asking(other, first.task.question)
    worded = asking(first, first.task.question + " Please.")
    found = [problem for _, problem in without_doubles([first, again, worded, other], 0.9)]
    assert found == ["", "the same question", "the same answer", ""]


def test_equal_short_answers_to_other_questions_are_no_doubles() -> None:
    short = [plan for plan in PLANS if plan.recipe.kind == "short"]
    kept = [plan for plan, problem in without_doubles(short, 0.9) if not problem]
    assert len(kept) > 0.8 * len(short)


def _set(tmp_path: Path, *lines: Mapping[str, object]) -> TestSetConfig:
    path = tmp_path / "held.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    return TestSetConfig(name="held", path=path)


def test_tasks_about_an_entity_of_a_test_set_are_found(tmp_path: Path) -> None:
    known = read_test_set(
        _set(tmp_path, {"question": "Who saw the Moons of Uranus?", "answer": "x"})
    )
    assert contamination(PLANS[0], [known]) == "held: title"


def test_tasks_with_the_words_of_a_test_set_are_found(tmp_path: Path) -> None:
    plan = PLANS[0].model_copy(update={"entities": ("elsewhere",)})
    text = plan.task.question.replace("Moons of Uranus", "Satellites")
    known = read_test_set(_set(tmp_path, {"query": text, "answer": ["x"]}))
    assert contamination(asking(plan, text), [known]) == "held: text"


def test_tasks_with_the_rows_of_a_test_set_are_found(tmp_path: Path) -> None:
    plan = plan_of("all").model_copy(update={"entities": ("elsewhere",)})
    answer = "```markdown\n| M | Y |\n| --- | --- |\n" + "\n".join(
        f"| {key} | 1 |" for key in TABLE.cells("Moon")[:6]
    )
    known = read_test_set(_set(tmp_path, {"question": "Anything else?", "answer": answer}))
    assert contamination(plan, [known]) == "held: entities"


def test_the_title_rule_can_be_left_out(tmp_path: Path) -> None:
    known = read_test_set(_set(tmp_path, {"question": "Who saw the Moons of Uranus?"}))
    assert contamination(PLANS[0], [known], DecontaminationConfig(titles=False)) == ""


def test_entities_are_the_names_of_rows_that_question_and_answer_hold() -> None:
    assert entities(plan_of("all")) == {key.lower() for key in TABLE.cells("Moon")}
    compared = plan_of("compare")
    assert compared.recipe.kind == "short"
    assert entities(compared) == {key.lower() for key in compared.recipe.keys}
    looked_up = next(
        plan for plan in PLANS if plan.recipe.shape == "lookup" and plan.task.gold.kind == "text"
    )
    numbers = looked_up.model_copy(
        update={"task": looked_up.task.model_copy(update={"gold": TextGold(answers=("94 km",))})}
    )
    assert len(entities(numbers)) == 1  # the diameter names nothing


ANSWER_OF_THREE = {
    "question": "Anything else?",
    "answer": "| M |\n| --- |\n| Ariel |\n| Puck |\n| Juliet |",
}


@pytest.mark.parametrize(
    ("share", "least", "dropped"),
    [(0.5, 3, False), (0.3, 3, True), (0.3, 9, False), (0.0, 1, True), (1.0, 1, False)],
)
def test_the_share_of_entities_decides_what_is_dropped(
    tmp_path: Path, share: float, least: int, dropped: bool
) -> None:
    plan = plan_of("all").model_copy(update={"entities": ("elsewhere",)})
    known = read_test_set(_set(tmp_path, ANSWER_OF_THREE))  # three of the eight moons
    rule = DecontaminationConfig(entities=share, min_entities=least)
    assert (contamination(plan, [known], rule) == "held: entities") is dropped
    assert known.shared(entities(plan)) == 3
    if not dropped:
        reason = "fewer than 9 entities" if least == 9 else f"at most {share:.0%} of their entities"
        assert known.kept_for(plan, rule).startswith(reason)


def test_entities_of_several_answers_do_not_add_up(tmp_path: Path) -> None:
    lines = [{"question": f"Who found {key}?", "answer": [key]} for key in TABLE.cells("Moon")]
    known = read_test_set(_set(tmp_path, *lines))
    assert known.shared(entities(plan_of("all"))) == 1


def test_numbers_and_dates_are_no_entities(tmp_path: Path) -> None:
    lines = [{"question": "?", "answer": text} for text in ("94 km", "1986", "3 May 1986", "-")]
    known = read_test_set(_set(tmp_path, *lines))
    assert not known.answers


def test_phrases_that_all_questions_share_are_no_overlap(tmp_path: Path) -> None:
    plan = PLANS[0].model_copy(update={"entities": ("elsewhere",)})
    form = "Answer with one Markdown table with the columns Moon and so on and on"
    lines = [{"question": f"Number {n} of all? {form}", "answer": "x"} for n in range(200)]
    known = read_test_set(_set(tmp_path, *lines))
    assert contamination(asking(plan, f"Something of its own here? {form}"), [known]) == ""


class Pages:
    """Pages, of which search finds some."""

    def __init__(self, pages: list[Page], hidden: str = "") -> None:
        self.pages = {page.url: page for page in pages}
        self.hidden = hidden

    async def search(self, query: str, k: int) -> list[Document]:
        words = set(query.split())
        found = sorted(self.pages.values(), key=lambda page: -len(words & set(page.text.split())))
        return [
            Document(url=page.url, title=page.title, text=page.text)
            for page in found
            if not self.hidden or not page.url.endswith(self.hidden)
        ][:k]

    async def read(self, url: str) -> Page:
        if url not in self.pages:
            raise NoContent(url)
        return self.pages[url]


async def _problems(pages: Pages) -> Counter[str]:
    reach = Reach(pages, pages, 3)
    return Counter([await reach.problem(plan, TABLES) for plan in PLANS])


async def test_what_stands_on_pages_that_search_finds_is_reached() -> None:
    assert await _problems(Pages(moon_pages())) == {"": len(PLANS)}


async def test_a_page_that_search_never_shows_is_a_problem() -> None:
    problems = await _problems(Pages(moon_pages(), hidden="/Puck#Large_moons"))
    assert problems["a page that search does not find"] > len(PLANS) / 2


async def test_a_cell_that_its_page_does_not_state_is_a_problem() -> None:
    rows = [(*row[:3], "9 km", *row[4:]) for row in moon_rows()]
    problems = await _problems(Pages(moon_pages(tuple(rows))))
    assert problems["a cell that its page does not state"] > 0
    assert problems[""] > 0


def moon_rows() -> list[tuple[str, ...]]:
    return [row.cells for row in TABLE.rows]


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_similarity_decides_what_is_nearly_the_same(share: float) -> None:
    first = plan_of("all")
    gold = plan_of("range").task.gold
    other = asking(first, f"{first.task.question} Thanks.")
    other = other.model_copy(update={"task": other.task.model_copy(update={"gold": gold})})
    problems = [problem for _, problem in without_doubles([first, other], share)]
    assert (problems[1] != "") == (share == 0.0)
