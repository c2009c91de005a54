"""Invented worlds: the atlas's layout with names, numbers and columns that nobody can know.

Demonstrations are made on them, so that a policy has to learn to copy what it reads. A world is
small (two domains, some sixty pages) and is drawn from a seed alone.
"""

import random
import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from wideseek_eval.atlas.words import (
    CODAS,
    COLUMN_NOUNS,
    FACET_NAMES,
    FILLERS,
    NOUNS,
    NUCLEI,
    NUMBER_COLUMNS,
    ONSETS,
    PLACE_NOUNS,
    QUALIFIERS,
    SUFFIXES,
    SYLLABLES,
)
from wideseek_eval.atlas.world import Attribute, Domain, Entity, Facet, Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class InventedWorld:
    """Things that lie in places."""

    things: Domain
    """Grouped by place, and often by one more column."""
    places: Domain
    """The places that group the things; their pages answer second hops."""


def invent(seed: int) -> InventedWorld:
    """The world of a seed."""
    rng = random.Random(seed)
    names = Names(rng)
    place_noun, place_nouns = rng.choice(PLACE_NOUNS)
    places = [names.place() for _ in range(rng.randint(2, 4))]
    things = _things(rng, names, place_noun, places)
    return InventedWorld(things=things, places=_places(rng, names, place_noun, place_nouns, places))


class Names:
    """Draws names that are unique within one world."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._used: set[str] = set()
        self._stems = [self.word() for _ in range(3)]

    def word(self) -> str:
        """A pronounceable word: `Tarvello`."""
        rng = self._rng
        way = rng.random()
        if way < 0.1:
            return rng.choice(string.ascii_uppercase) + "".join(
                rng.choices(string.ascii_lowercase, k=rng.randint(2, 8))
            )
        count = rng.choice((1, 2, 2, 2, 3, 3))
        if way < 0.35:
            return "".join(rng.choices(SYLLABLES, k=count)).capitalize()
        return "".join(
            rng.choice(ONSETS) + rng.choice(NUCLEI) + rng.choice(CODAS) for _ in range(count)
        ).capitalize()

    def unique(self, make: Callable[[], str]) -> str:
        """A name that was not drawn before."""
        for _ in range(50):
            name = make()
            if name not in self._used:
                self._used.add(name)
                return name
        raise AssertionError("the name space is exhausted")

    def place(self) -> str:
        """A place: one word, or two."""
        rng = self._rng
        return self.unique(
            lambda: self.word() if rng.random() < 0.7 else f"{rng.choice(QUALIFIERS)} {self.word()}"
        )

    def thing(self, style: int) -> str:
        """A thing; all things of a world share a style."""
        rng = self._rng

        def make() -> str:
            if style == 0:
                return self.word()
            if style == 1:
                return f"{self.word()} {self.word()}"
            if style == 2:
                return f"{rng.choice(self._stems)} {self.word()}"
            if style == 3:
                return f"{rng.choice(('NGC', 'IC', 'KX', self._stems[0]))} {rng.randint(10, 9999)}"
            if style == 4:
                return f"{self.word()} {rng.choice(SUFFIXES)}"
            if style == 5:
                tail = self.word() if rng.random() < 0.5 else str(rng.randint(1, 99))
                return f"{self.word()}{rng.choice('-+#.')}{tail}"
            if style == 6:
                return f"{rng.choice(QUALIFIERS)} {self.word()}"
            return f"{self.word()} {self.word()} {self.word()}"

        return self.unique(make)


def _value(rng: random.Random, names: Names, style: str) -> str:
    """One value of a column; a column keeps its style."""
    makers: dict[str, Callable[[], str]] = {
        "integer": lambda: str(rng.randint(1, 10 ** rng.randint(1, 7))),
        "grouped": lambda: f"{rng.randint(1000, 10 ** rng.randint(4, 8)):,}",
        "decimal": lambda: f"{rng.uniform(-200, 200):.2f}",
        "tenth": lambda: f"{rng.uniform(0, 30):.1f}",
        "year": lambda: str(rng.randint(1200, 2024)),
        "code": lambda: "".join(rng.choices(string.ascii_uppercase, k=rng.randint(2, 4))),
        "mixed": lambda: rng.choice(string.ascii_uppercase) + str(rng.randint(1, 999)),
        "date": lambda: (
            f"{rng.randint(1900, 2030)}-{rng.randint(1, 12):02d}-{rng.randint(1, 28):02d}"
        ),
        "zone": lambda: f"{names.word()}/{names.word()}",
        "extension": lambda: "*." + names.word().lower()[:5],
        "word": names.word,
        "words": lambda: f"{names.word()} {names.word()}",
        "lower": lambda: names.word().lower(),
        "person": lambda: f"{rng.choice(string.ascii_uppercase)}. {names.word()}",
        "people": lambda: f"{names.word()} {names.word()} and {names.word()} {names.word()}",
    }
    return makers[style]()


NUMBER_STYLES = ("integer", "integer", "grouped", "decimal", "tenth", "year")
TEXT_STYLES = (
    "code", "mixed", "date", "zone", "extension", "word", "words", "lower", "person", "people",
)  # fmt: skip


def _columns(rng: random.Random, count: int, facets: int) -> list[tuple[Attribute, str]]:
    """Attributes with the style of their values, spread over the facets."""
    drawn: list[tuple[Attribute, str]] = []
    used: set[str] = set()
    while len(drawn) < count:
        numeric = rng.random() < 0.5
        column = rng.choice(NUMBER_COLUMNS if numeric else COLUMN_NOUNS)
        if rng.random() < 0.15:
            column = "".join(rng.choices(SYLLABLES, k=2)).capitalize()
        if column.lower() in used:
            continue
        used.add(column.lower())
        style = rng.choice(NUMBER_STYLES if numeric else TEXT_STYLES)
        noun = column[0].lower() + column[1:]
        attribute = Attribute(
            column=column,
            facet=rng.randrange(facets),
            sentences=_sentences(rng, noun),
            ask=f"the {noun} of {{entity}}",
            kind=Kind.NUMBER if numeric else Kind.TEXT,
            above=rng.choice(
                (f"with a {noun} above {{value}}", f"with a {noun} of more than {{value}}")
            )
            if numeric
            else "",
            below=f"with a {noun} below {{value}}" if numeric else "",
            most=f"{rng.choice(('largest', 'highest', 'top'))}-{noun}" if numeric else "",
        )
        drawn.append((attribute, style))
    return drawn


def _sentences(rng: random.Random, noun: str) -> tuple[str, ...]:
    """One or two ways a world has of telling a column."""
    ways = (
        f"The {noun} of {{entity}} is {{value}}.",
        f"{{entity}} has a {noun} of {{value}}.",
        f"Its {noun} is {{value}}.",
        f"The {noun} is given as {{value}}.",
        f"According to the records, its {noun} is {{value}}.",
        f"{noun.capitalize()}: {{value}}.",
        f"With {{value}} as its {noun}, {{entity}} is well known.",
        f"{{value}} is the {noun} of {{entity}}.",
        f"In terms of {noun}, sources state {{value}}.",
    )
    return tuple(rng.sample(ways, rng.randint(1, 2)))


def _facets(
    rng: random.Random, count: int, main_lead: str, hints: Sequence[Sequence[str]]
) -> tuple[Facet, ...]:
    """The main page and `count - 1` others; most worlds say in the lead what a page tells."""
    says = rng.random() < 0.8
    of = rng.choice(("{facet} of {{entity}}", "{facet} of {{entity}}", "{{entity}}: {facet}"))
    made = [Facet(title="{entity}", lead=main_lead)]
    for index, name in enumerate(rng.sample(FACET_NAMES, count - 1), 1):
        lead = rng.choice(
            (
                f"{name} of {{entity}}.",
                f"Notes on the {name.lower()} of {{entity}}.",
                f"{name} of {{entity}}, in brief.",
                f"{{entity}} and its {name.lower()}.",
            )
        )
        if says and hints[index]:
            told = _and([column[0].lower() + column[1:] for column in hints[index]])
            lead = rng.choice(
                (
                    f"About the {told} of {{entity}}.",
                    f"{name} of {{entity}}: {told}.",
                    f"{{entity}} in figures: {told}.",
                    f"The {name.lower()} of {{entity}}: {told}.",
                    f"What is known of {{entity}}: {told}.",
                    f"{{entity}} at a glance: {told}.",
                )
            )
        made.append(Facet(title=of.format(facet=name), lead=lead))
    return tuple(made)


def _and(words: Sequence[str]) -> str:
    """`a, b and c`."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _notes(rng: random.Random, names: Names, facets: int) -> dict[int, tuple[str, ...]]:
    """Sentences that no question asks about, on some pages."""
    return {
        facet: tuple(
            sentence.format(
                word=names.word(), number=rng.randint(2, 9999), small=rng.randint(1, 12)
            )
            for sentence in rng.sample(FILLERS, rng.randint(1, 2))
        )
        for facet in range(facets)
        if rng.random() < 0.4
    }


def _things(rng: random.Random, names: Names, place_noun: str, places: Sequence[str]) -> Domain:
    noun, nouns = rng.choice(NOUNS)
    count = rng.choice((1, 2, 2, 3, 3, 4))
    columns = _columns(rng, rng.randint(max(2, count), 9), count)
    hints = [[item.column for item, _ in columns if item.facet == facet] for facet in range(count)]
    place_column = place_noun.capitalize()
    columns = [pair for pair in columns if pair[0].column != place_column]
    shared = rng.choice([index for index, _ in enumerate(columns)])
    attribute, style = columns[shared]
    pool = [_value(rng, names, style) for _ in range(rng.randint(2, 3))]
    phrase = rng.choice(
        (
            f"with the {attribute.column[0].lower() + attribute.column[1:]} {{value}}",
            f"whose {attribute.column[0].lower() + attribute.column[1:]} is {{value}}",
        )
    )
    columns[shared] = (
        Attribute(
            column=attribute.column,
            facet=attribute.facet,
            sentences=attribute.sentences,
            ask=attribute.ask,
            kind=Kind.TEXT,
            group=phrase,
        ),
        style,
    )
    where = rng.choice(("in", "in", "of", "from"))
    code = Attribute(column="Code", facet=-1, ask="the code of {entity}", kind=Kind.CODE)
    coded = rng.random() < 0.4
    group = Attribute(
        column=place_column,
        facet=-1,
        ask=f"the {place_noun} of {{entity}}",
        group=f"{where} {{value}}",
        list_title=rng.choice(
            (
                f"{nouns.capitalize()} {where} {{value}}",
                f"List of {nouns} {where} {{value}}",
            )
        ),
    )
    style_of_name = rng.randrange(8)
    entities: list[Entity] = []
    for place in places:
        for _ in range(rng.choice((2, 3, 3, 4, 4, 5, 5, 6, 7, 9))):
            values = {place_column: place}
            if coded:
                values["Code"] = names.unique(
                    lambda: _value(rng, names, "code") + str(rng.randint(0, 99))
                )
            for index, (item, kind) in enumerate(columns):
                values[item.column] = (
                    rng.choice(pool) if index == shared else _value(rng, names, kind)
                )
            entities.append(
                Entity(
                    name=names.thing(style_of_name), values=values, notes=_notes(rng, names, count)
                )
            )
    article = "an" if noun[0] in "aeiou" else "a"
    lead = (
        f"{{entity}}{' ({Code})' if coded else ''} is {article} {noun} {where} {{{place_column}}}."
    )
    return Domain(
        name="things",
        key=noun.capitalize(),
        noun=noun,
        nouns=nouns,
        facets=_facets(rng, count, lead, hints),
        attributes=(group, *((code,) if coded else ()), *(item for item, _ in columns)),
        entities=tuple(entities),
        partition=place_column,
    )


def _places(
    rng: random.Random, names: Names, noun: str, nouns: str, places: Sequence[str]
) -> Domain:
    count = rng.randint(1, 2)
    columns = [pair for pair in _columns(rng, rng.randint(2, 3), count)]
    hints = [[item.column for item, _ in columns if item.facet == facet] for facet in range(count)]
    realm = names.place()
    entities = [
        Entity(
            name=place,
            values={
                "Realm": realm,
                **{item.column: _value(rng, names, style) for item, style in columns},
            },
            notes=_notes(rng, names, count),
        )
        for place in places
    ]
    group = Attribute(
        column="Realm",
        facet=-1,
        group="in {value}",
        list_title=f"{nouns.capitalize()} in {{value}}",
    )
    return Domain(
        name="places",
        key=noun.capitalize(),
        noun=noun,
        nouns=nouns,
        facets=_facets(rng, count, f"{{entity}} is a {noun} in {{Realm}}.", hints),
        attributes=(group, *(item for item, _ in columns)),
        entities=tuple(entities),
        partition="Realm",
    )
