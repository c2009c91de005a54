"""Rewriting by a paid model: what is asked, what is accepted, what it costs."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path

import pytest

from wideseek_core import (
    Conversation,
    DataError,
    Finish,
    Message,
    PolicyUnavailable,
    Reply,
    ToolSpec,
)
from wideseek_data.rewriting.ledger import Ledger, Prices
from wideseek_data.rewriting.model import LEDGER, ModelRewriting, RewritingConfig
from wideseek_data.rewriting.prompts import rewriting_prompt
from wideseek_data.rewriting.replies import Malformed, read_rewriting
from wideseek_data.tasks.make import Amounts, make_tasks
from wideseek_data.tasks.recipes import PlannedTask

from .moons import moons

TABLE = moons()
TABLES = {TABLE.id: TABLE}
PLANS = list(make_tasks([TABLE], Amounts(wide_per_table=12, short_per_table=27), Counter()))
PRICES = Prices(prompt_per_million=Decimal("0.15"), response_per_million=Decimal("0.60"))


def plan_of(shape: str) -> PlannedTask:
    return next(plan for plan in PLANS if plan.recipe.shape == shape)


class Model:
    """Answers each request by a script, and counts."""

    def __init__(self, *replies: str) -> None:
        self.replies = list(replies)
        self.prompts: list[str] = []

    def open(
        self, tools: Sequence[ToolSpec], *, seed: int = 0, max_question_tokens: int | None = None
    ) -> Conversation:
        return self

    async def reply(self, messages: Sequence[Message]) -> Reply:
        self.prompts.append(messages[0].content)
        text = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        if text == "down":
            raise PolicyUnavailable("down")
        return Reply(text=text, finish=Finish.STOP, prompt_tokens=400, response_tokens=100)

    async def close(self) -> None:
        return None


def good(plan: PlannedTask) -> str:
    return json.dumps({"intent": "a class", "question": f"Please tell me: {plan.task.question}"})


def test_good_replies_are_taken_however_they_are_wrapped() -> None:
    plan = plan_of("all")
    for text in (good(plan), f"<think>hm {{}}</think>```json\n{good(plan)}\n```"):
        assert read_rewriting(text, plan, TABLES).startswith("Please tell me: ")


MALFORMED: list[tuple[str, Callable[[str], str], str]] = [
    ("all", lambda text: "no JSON", "no JSON object"),
    ("all", lambda text: '{"intent": "x"}', "has no question"),
    ("all", lambda text: '{"question": 3}', "has no question"),
    ("all", lambda text: text.replace("Uranus", "Neptune"), "name the source"),
    ("all", lambda text: text.replace("Moon, ", "M, ").replace("Moon; ", ""), "column's name"),
    ("top", lambda text: text.replace("3", "some"), "number of rows"),
    ("equal", lambda text: text.replace("Voyager 2", "a probe"), "condition's value"),
    ("all", lambda text: text.replace("tell me", "x " * 700), "too long"),
    ("all", lambda text: json.dumps({"question": "天王星的卫星有哪些？请列表。"}), "language"),
]


@pytest.mark.parametrize(("shape", "change", "reason"), MALFORMED)
def test_malformed_replies_are_named(shape: str, change: Callable[[str], str], reason: str) -> None:
    for plan in (plan for plan in PLANS if plan.recipe.shape == shape):
        text = change(good(plan))
        if text == good(plan):
            continue  # this one says it in other words
        with pytest.raises(Malformed, match=reason):
            read_rewriting(text, plan, TABLES)


def test_a_reply_that_gives_the_answer_away_is_malformed() -> None:
    plan = plan_of("lookup")
    gold = plan.task.gold
    assert gold.kind == "text"
    text = json.dumps({"question": f"{plan.task.question} Is it {gold.answers[0]}?"})
    with pytest.raises(Malformed, match="gives the answer away"):
        read_rewriting(text, plan, TABLES)


def test_the_prompt_shows_the_columns_and_not_the_whole_table() -> None:
    plan = plan_of("all")
    prompt = rewriting_prompt(plan, TABLES)
    assert plan.task.question in prompt
    assert "; ".join(plan.recipe.labels if plan.recipe.kind == "wide" else ()) in prompt
    assert "Juliet" not in prompt


def rewriting(folder: Path, model: Model, **settings: object) -> ModelRewriting:
    config = RewritingConfig.model_validate({"model": "stub", "prices": PRICES} | settings)
    return ModelRewriting(config, model, folder)


async def test_a_malformed_reply_is_counted_and_asked_for_again(tmp_path: Path) -> None:
    plan = plan_of("all")
    made = rewriting(tmp_path, Model("no", good(plan)))
    (worded,) = await made.word_all([plan], TABLES)
    assert worded.task.question == f"Please tell me: {plan.task.question}"
    assert worded.task.gold == plan.task.gold
    assert made.counts == {
        "malformed: the reply is no JSON object": 1,
        "worded by the model": 1,
    }
    assert made.ledger.paid == 2 * PRICES.cost(400, 100)


async def test_what_can_not_be_worded_keeps_its_words(tmp_path: Path) -> None:
    plan = plan_of("all")
    made = rewriting(tmp_path, Model("no"))
    assert await made.word_all([plan], TABLES) == [plan]
    assert made.counts["kept as it was: no usable reply"] == 1
    failing = rewriting(tmp_path / "b", Model("down"))
    assert await failing.word_all([plan], TABLES) == [plan]
    assert failing.counts == {"kept as it was: request failed": 1}


async def test_a_resumed_run_asks_nothing_again(tmp_path: Path) -> None:
    plans = PLANS[:6]
    first = Model("no")
    await rewriting(tmp_path, first).word_all(plans, TABLES)
    second = Model("no")
    made = rewriting(tmp_path, second)
    await made.word_all(plans, TABLES)
    assert len(first.prompts) == 12
    assert second.prompts == []
    assert made.ledger.paid == 12 * PRICES.cost(400, 100)


@pytest.mark.parametrize("budget", ["0", "0.0005", "0.002", "0.0024"])
async def test_a_budget_is_never_passed(tmp_path: Path, budget: str) -> None:
    model = Model("no")
    made = rewriting(tmp_path, model, budget=budget, max_attempts=1)
    await made.word_all(PLANS, TABLES)
    assert len(model.prompts) * PRICES.cost(400, 100) == made.ledger.paid <= Decimal(budget)
    assert made.counts["kept as it was: budget spent"] == len(PLANS) - len(model.prompts) > 0


def test_prices_are_exact() -> None:
    assert PRICES.cost(3, 7) == Decimal("0.00000465")
    ledger = Prices(prompt_per_million=Decimal("0.1"))
    assert sum((ledger.cost(1, 0) for _ in range(10)), Decimal(0)) == Decimal("0.000001")


def test_failed_and_lost_requests_count_as_paid_in_full(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / LEDGER, Decimal("1"))
    assert ledger.ask("a", Decimal("0.4"))
    assert ledger.ask("b", Decimal("0.4"))
    assert not ledger.ask("c", Decimal("0.4"))
    ledger.failed("a")
    again = Ledger(tmp_path / LEDGER, Decimal("1"))
    assert again.lost == {"b"}
    assert again.committed == Decimal("0.8")
    assert not again.ask("c", Decimal("0.21"))
    assert again.ask("c", Decimal("0.2"))


def test_a_torn_last_line_is_cut_and_a_broken_one_is_named(tmp_path: Path) -> None:
    path = tmp_path / LEDGER
    Ledger(path, None).ask("a", Decimal(1))
    with path.open("a") as file:
        file.write('{"event": "ans')
    assert Ledger(path, None).lost == {"a"}
    path.write_text("{}\n")
    with pytest.raises(DataError, match=rf"{LEDGER}:1: event"):
        Ledger(path, None)


def test_nothing_is_paid_twice_by_runs_that_are_killed(tmp_path: Path) -> None:
    budget = "0.025"
    script = Path(__file__).with_name("killed_rewriting.py")
    subprocess.run([sys.executable, str(script), str(tmp_path), "20", budget], check=True)
    assert (tmp_path / "killed").read_text() == "20"
    charges = [line.split() for line in (tmp_path / "charges").read_text().splitlines()]
    assert max(Counter(prompt for prompt, _ in charges).values()) == 1
    counts = dict(line.split("\t") for line in (tmp_path / "counts").read_text().splitlines())
    spent = sum((Decimal(cost) for _, cost in charges), Decimal(0))
    assert spent <= Decimal(counts["committed"]) <= Decimal(budget)
    assert int(counts["kept as it was: reply lost"]) >= 20
    assert int(counts["malformed: the reply is no JSON object"]) > 10
    assert int(counts["kept as it was: budget spent"]) > 0
