"""Questions that no page of an invented world answers, to demonstrate saying so.

A policy that has only seen questions with an answer makes one up for every other question. What is
asked for here is not in the world that is searched, in three forms: a listed group of another
world, a fact of another world, and a question in free words.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from wideseek_core import TableGold, Task, TextGold
from wideseek_data.atlas.chains import chains
from wideseek_data.atlas.invented import InventedWorld
from wideseek_data.atlas.lexicon import STYLES, Lexicon, common_words
from wideseek_data.atlas.wide import questions

LIST_PREFIX = "List the "
"""How a lead's request for a list begins."""

FREE_WIDE = (
    "Which {nouns} does {name} have?",
    "Which {nouns} did {name} {verb}?",
    "Which {nouns} {verb} the {noun} of {name}?",
    "What {nouns} are there in {name}?",
    "Name all {nouns} of {name}.",
    "List the {nouns} that {verb} {name}.",
    "List every {noun} in the {other} of {name}.",
    "All {nouns} by {name}",
    "{name} {nouns}",
    "Who are the {nouns} of {name}?",
)
FREE_SHORT = (
    "Who {verb} the {noun} of {name}?",
    "Who is the {noun} of {name}?",
    "When did {name} {verb} the {noun}?",
    "Where is the {noun} of {name}?",
    "How many {nouns} does {name} have?",
    "What {noun} does {name} {verb}?",
    "What is the {noun} of {name}?",
    "Why do {nouns} {verb}?",
    "How tall is {name}?",
    "In which {noun} was {name} born?",
)
COLUMN_FRAMES = (
    "",
    " Give a Markdown table with the columns {columns}.",
    " Columns: {columns}.",
    " With columns {columns}",
    " Answer with a Markdown table of {columns}.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Absent:
    """A question without an answer in its world."""

    task: Task
    asked: str
    """What the lead passes on to a subagent."""
    queries: tuple[str, str]
    """What the agent searches for before it gives up."""


def absent(
    world: InventedWorld, other: InventedWorld, rng: random.Random, count: int
) -> Iterator[Absent]:
    """`count` questions that `world` can't answer; `other` is where some of them come from.

    Names that the world has by chance are never asked for.
    """
    known = {
        name
        for domain in (world.things, world.places)
        for entity in domain.entities
        for name in (entity.name, *entity.values.values())
    }
    forms = (_group, _fact, _free, _free)
    made = 0
    while made < count:
        form = rng.choice(forms)
        drawn = form(other, rng)
        if drawn is not None and not any(query in known for query in drawn.queries):
            made += 1
            yield drawn


def _group(other: InventedWorld, rng: random.Random) -> Absent | None:
    """A listed group of another world."""
    wide = list(questions(rng.choice((other.things, other.places)), rng, per_group=1))
    if not wide:
        return None
    plan = rng.choice(wide)
    what = f"{plan.domain.nouns} {plan.group.group.format(value=plan.group_value)}"
    title = plan.group.list_title.format(value=plan.group_value)
    return Absent(
        task=_task(plan.task.question, rng, wide=True),
        asked=f"{LIST_PREFIX}{what}",
        queries=(what, title),
    )


def _fact(other: InventedWorld, rng: random.Random) -> Absent:
    """A fact of another world."""
    (chain,) = chains(other, rng, 1)
    hop = chain.hops[0]
    name = hop.by_code or hop.entity.name
    asked = (
        f"{hop.column} of the {hop.domain.noun} with the code {hop.by_code}"
        if hop.by_code
        else f"{name}: {hop.column}"
    )
    first = f"{hop.domain.noun} {name}" if hop.by_code else f"{name} {hop.column}"
    return Absent(
        task=_task(chain.task.question, rng, wide=False), asked=asked, queries=(first, name)
    )


def _free(other: InventedWorld, rng: random.Random) -> Absent:
    """A question in free words, passed on as it stands."""
    words = Lexicon(rng)
    wide = rng.random() < 0.6
    noun, nouns = _noun(words, rng)
    other_noun, _ = _noun(words, rng)
    name = _name(words, rng)
    asked = rng.choice(FREE_WIDE if wide else FREE_SHORT).format(
        noun=noun, nouns=nouns, other=other_noun, name=name, verb=rng.choice(common_words())
    )
    frame = rng.choice(COLUMN_FRAMES) if wide else ""
    columns = [noun.capitalize(), *(words.column() for _ in range(rng.randint(1, 3)))]
    question = asked + frame.format(columns=", ".join(columns))
    subject = asked.rstrip("?.")
    return Absent(
        task=_task(question, rng, wide=wide),
        asked=asked,
        queries=(subject, rng.choice((f"{nouns} {name}", name))),
    )


def _noun(words: Lexicon, rng: random.Random) -> tuple[str, str]:
    if rng.random() < 0.4:
        return words.noun()
    word = rng.choice(common_words())
    return word, f"{word}s"


def _name(words: Lexicon, rng: random.Random) -> str:
    makers: tuple[Callable[[], str], ...] = (
        words.place,
        lambda: words.thing(rng.randrange(STYLES)),
        lambda: f"the {rng.choice(common_words())} {rng.choice(common_words())}",
        lambda: rng.choice(common_words()).capitalize(),
        lambda: f"{words.word()} {words.word()}",
    )
    return rng.choice(makers)()


def _task(question: str, rng: random.Random, *, wide: bool) -> Task:
    gold = (
        TableGold(text="", key_columns=(), required_columns=())
        if wide
        else TextGold(answers=("unknown",))
    )
    return Task(
        id=f"absent-{rng.getrandbits(40):010x}", question=question, gold=gold, source="absent"
    )
