"""Questions answered over one or more pages in a row, with the plan that answers them."""

import random
from collections.abc import Iterator
from dataclasses import dataclass

from wideseek_core import Task, TextGold
from wideseek_data.atlas.invented import InventedWorld
from wideseek_data.atlas.world import Attribute, Domain, Entity


@dataclass(frozen=True, slots=True, kw_only=True)
class Hop:
    """One look-up: a fact about an entity, or the entity behind a code."""

    domain: Domain
    entity: Entity
    column: str
    by_code: str = ""
    """If set, the entity is known by this code alone."""

    @property
    def answer(self) -> str:
        """What the look-up finds."""
        return self.entity.values[self.column]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """A short-answer question; the last hop's answer is the answer."""

    task: Task
    hops: tuple[Hop, ...]


def chains(world: InventedWorld, rng: random.Random, count: int) -> Iterator[Chain]:
    """`count` short-answer questions about an invented world, of one or two hops."""
    for _ in range(count):
        hops, text = _draw(world, rng)
        task = Task(
            id=f"qa-{rng.getrandbits(40):010x}",
            question=text,
            gold=TextGold(answers=(hops[-1].answer,)),
            source=f"{len(hops)} hops",
        )
        yield Chain(task=task, hops=hops)


def _draw(world: InventedWorld, rng: random.Random) -> tuple[tuple[Hop, ...], str]:
    things, places = world.things, world.places
    thing = rng.choice(things.entities)
    if rng.random() < 0.3:
        asked = rng.choice([item for item in things.attributes if item.facet >= 0])
        hop = Hop(domain=things, entity=thing, column=asked.column)
        return (hop,), f"What is {_ask(asked, thing.name)}?"
    where = things.attributes[0]
    place = next(item for item in places.entities if item.name == thing.values[where.column])
    asked = rng.choice([item for item in places.attributes if item.facet >= 0])
    code = thing.values.get("Code", "")
    by_code = bool(code) and rng.random() < 0.6
    known = f"with the code {code}" if by_code else thing.name
    subject = rng.choice(
        (
            f"the {places.noun} where the {things.noun} {known} is",
            f"the {places.noun} of the {things.noun} {known}",
            f"the {places.noun} that the {things.noun} {known} belongs to",
        )
    )
    first = Hop(domain=things, entity=thing, column=where.column, by_code=code if by_code else "")
    second = Hop(domain=places, entity=place, column=asked.column)
    return (first, second), f"What is {_ask(asked, subject)}?"


def _ask(attribute: Attribute, subject: str) -> str:
    return attribute.ask.format(entity=subject)
