"""Invented worlds: the atlas's layout with names, words and numbers that nobody can know.

Demonstrations are made on them, so that a policy has to learn to copy what it reads: not only names
and values but nouns, columns and the titles of pages are composed anew. A world is small (two
domains, some sixty pages) and is drawn from a seed alone.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from wideseek_data.atlas.lexicon import NUMBER_STYLES, STYLES, TEXT_STYLES, Lexicon
from wideseek_data.atlas.words import FILLERS, PREPOSITIONS, VERBS
from wideseek_data.atlas.world import Attribute, Domain, Entity, Facet, Kind

SIZES = (2, 3, 3, 4, 4, 5, 5, 6, 7, 8, 9, 12, 18)
"""Of groups of things."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InventedWorld:
    """Things that lie in places."""

    things: Domain
    """Grouped by place, and by one more column that has no lists."""
    places: Domain
    """The places that group the things; their pages answer second hops."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Column:
    attribute: Attribute
    style: str
    """Of its values."""
    suffix: str = ""
    """Of `derived` values."""

    def value(self, words: Lexicon, name: str) -> str:
        """What the column tells of the entity with that name."""
        return (
            words.derived(name, self.suffix) if self.style == "derived" else words.value(self.style)
        )


def invent(seed: int) -> InventedWorld:
    """The world of a seed."""
    rng = random.Random(seed)
    words = Lexicon(rng)
    place_noun, place_nouns = words.noun()
    places = [words.place() for _ in range(rng.randint(2, 4))]
    things = _things(rng, words, place_noun, places)
    return InventedWorld(
        things=things, places=_places(rng, words, (place_noun, place_nouns), places)
    )


def _columns(rng: random.Random, words: Lexicon, count: int, facets: int) -> list[_Column]:
    """Columns spread over the facets."""
    return [_column(rng, words, words.column(), rng.randrange(facets)) for _ in range(count)]


def _column(rng: random.Random, words: Lexicon, label: str, facet: int) -> _Column:
    numeric = rng.random() < 0.5
    noun = _lower(label)
    root = noun.split()[0]
    unit = f" {words.term()}s" if numeric and rng.random() < 0.4 else ""
    attribute = Attribute(
        column=label,
        facet=facet,
        sentences=_sentences(rng, words, noun, unit),
        ask=f"the {noun} of {{entity}}",
        kind=Kind.NUMBER if numeric else Kind.TEXT,
        above=rng.choice(
            (
                f"with a {noun} above {{value}}{unit}",
                f"with a {noun} of more than {{value}}{unit}",
                f"with more than {{value}} {noun}",
                f"with {noun} over {{value}}{unit}",
                f"{words.term()} of {noun} {{value}}",
                f"{root}er than {{value}}{unit}",
            )
        )
        if numeric
        else "",
        below=rng.choice(
            (
                f"with a {noun} below {{value}}{unit}",
                f"with a {words.term()} {noun} of less than {{value}}{unit}",
                f"with fewer than {{value}} {noun}",
                f"of under {{value}} {noun}",
                f"{words.term()} {noun} {{value}}",
            )
        )
        if numeric
        else "",
        most=rng.choice((f"largest-{noun}", f"highest-{noun}", f"{root}est", f"most {root}"))
        if numeric
        else "",
    )
    style = rng.choice(NUMBER_STYLES if numeric else TEXT_STYLES)
    suffix = rng.choice(("", words.title(), f".{words.tld()}")) if style == "derived" else ""
    return _Column(attribute=attribute, style=style, suffix=suffix)


def _lower(label: str) -> str:
    """The label inside a sentence; abbreviations keep their capitals."""
    return label if label[1:2].isupper() else label[0].lower() + label[1:]


def _sentences(rng: random.Random, words: Lexicon, noun: str, unit: str) -> tuple[str, ...]:
    """One to three ways that a world has of telling a column."""
    return tuple(_sentence(rng, words, noun, f"{{value}}{unit}") for _ in range(rng.randint(1, 3)))


def _sentence(rng: random.Random, words: Lexicon, noun: str, value: str) -> str:
    """Mostly with the column's name, before or behind the value; with a part of it; or without."""
    way = rng.random()
    if way < 0.35:
        return _plainly(rng, noun, value)
    if way < 0.45:
        return _unnamed(rng, words, value)
    name = rng.choice(noun.split()) if way < 0.55 else noun
    return (_name_first if rng.random() < 0.6 else _value_first)(rng, words, name, value)


def _plainly(rng: random.Random, noun: str, value: str) -> str:
    return rng.choice(
        (
            f"The {noun} of {{entity}} is {value}.",
            f"{{entity}} has a {noun} of {value}.",
            f"Its {noun} is {value}.",
            f"The {noun} is {value}.",
            f"The {noun} is given as {value}.",
            f"According to the records, its {noun} is {value}.",
            f"{noun[0].upper()}{noun[1:]}: {value}.",
            f"With {value} as its {noun}, {{entity}} is well known.",
            f"{value} is the {noun} of {{entity}}.",
            f"In terms of {noun}, sources state {value}.",
            f"Observers put its {noun} at {value}.",
        )
    )


def _name_first(rng: random.Random, words: Lexicon, name: str, value: str) -> str:
    to, by = rng.choice(PREPOSITIONS), rng.choice(PREPOSITIONS)
    term = words.term
    return rng.choice(
        (
            f"Its {name} {rng.choice(VERBS)} {value}.",
            f"The {name} {rng.choice(VERBS)} {value}.",
            f"The {name} {to} {{entity}} {rng.choice(VERBS)} {value}.",
            f"{words.title()}s {term()} it {to} the {name} {value}.",
            f"{words.title()}s {term()} {{entity}} {to} a {name} of {value}.",
            f"{to.capitalize()} the {term()} {term()} it is {term()} {by} the {name} {value}.",
            f"It is {term()} {to} {name} {value}.",
            f"It {term()}s {to} the {name} {by} {value}.",
            f"The {term()} {name} of the {term()} is {value}.",
            f"{{entity}} {term()}s at {name} {value}.",
            f"The {name} that {term()}s {term()} it {rng.choice(VERBS)} {value}.",
        )
    )


def _value_first(rng: random.Random, words: Lexicon, name: str, value: str) -> str:
    to = rng.choice(PREPOSITIONS)
    term = words.term
    return rng.choice(
        (
            f"It {term()}s the {value} {name}.",
            f"It is {term()} {term()} {to} the {value} {name}.",
            f"{words.title()}s {to} {{entity}} {term()} {term()} the {value} {name}.",
            f"{{entity}} {term()}s {value} as its {name}.",
            f"{value} {term()}s it as {name}.",
            f"About {value} {name} {term()} {to} {{entity}}.",
            f"{words.title()}s {term()} {value}, its {name}.",
            f"The {value} {name} {term()}s it.",
            f"It has {value} {name}.",
        )
    )


def _unnamed(rng: random.Random, words: Lexicon, value: str) -> str:
    to = rng.choice(PREPOSITIONS)
    term = words.term
    return rng.choice(
        (
            f"It {term()}s {to} {value}.",
            f"{words.title()}s {term()} {to} the {value}.",
            f"{{entity}} {term()}s {value} {term()}s.",
            f"The {term()} {to} it {rng.choice(VERBS)} {value}.",
            f"{words.title()}s {term()} {{entity}} {value}.",
        )
    )


def _facets(
    rng: random.Random, words: Lexicon, main_lead: str, columns: Sequence[_Column], count: int
) -> tuple[Facet, ...]:
    """The main page and `count - 1` others; most worlds say in the lead what a page tells."""
    says = rng.random() < 0.85
    nouns = [
        [_lower(item.attribute.column) for item in columns if item.attribute.facet == facet]
        for facet in range(count)
    ]
    suffix = ""
    if rng.random() < 0.15:
        suffix = f" ({rng.choice((words.term, words.initials))()} {words.term()})"
    if says and nouns[0] and rng.random() < 0.6:
        main_lead += f" This page {rng.choice(('gives', 'names'))} its {_and(nouns[0])}."
    of = rng.choice(
        ("{facet} of {{entity}}",) * 3
        + ("{{entity}}: {facet}", "{facet} in {{entity}}", "{{entity}} in {facet}")
    )
    made = [Facet(title=f"{{entity}}{suffix}", lead=main_lead)]
    names: dict[str, None] = {}
    while len(names) < count - 1:
        names[words.facet()] = None
    for index, name in enumerate(names, 1):
        lead = _telling(rng, name, nouns[index]) if says and nouns[index] else _plain(rng, name)
        made.append(Facet(title=of.format(facet=name), lead=lead))
    return tuple(made)


def _telling(rng: random.Random, name: str, nouns: Sequence[str]) -> str:
    """A lead that names the columns of its page."""
    list_ = _and(nouns)
    return rng.choice(
        (
            f"About the {list_} of {{entity}}.",
            f"{name} of {{entity}}: {list_}.",
            f"{{entity}} in figures: {list_}.",
            f"The {name.lower()} of {{entity}}: {list_}.",
            f"What is known of {{entity}}: {list_}.",
            f"How {{entity}} is described: {list_}.",
            f"{name} and more in {{entity}}: {list_}.",
        )
    )


def _plain(rng: random.Random, name: str) -> str:
    """A lead that leaves it open what its page tells."""
    return rng.choice(
        (
            f"{name} of {{entity}}.",
            f"Notes on the {name.lower()} of {{entity}}.",
            f"{name} of {{entity}}, in brief.",
            f"{{entity}} and its {name.lower()}.",
        )
    )


def _and(words: Sequence[str]) -> str:
    """`a, b and c`."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _notes(
    rng: random.Random, words: Lexicon, columns: Sequence[_Column], facets: int
) -> dict[int, tuple[str, ...]]:
    """Sentences that no question asks about, on some pages; some give others' values."""
    notes: dict[int, tuple[str, ...]] = {}
    for facet in range(facets):
        if rng.random() < 0.45:
            other = rng.choice(columns)
            notes[facet] = tuple(
                sentence.format(
                    word=words.word(),
                    number=rng.randint(2, 9999),
                    small=rng.randint(1, 12),
                    column=_lower(other.attribute.column),
                    value=other.value(words, words.word()),
                )
                for sentence in rng.sample(FILLERS, rng.randint(1, 2))
            )
    return notes


def _share(rng: random.Random, words: Lexicon, columns: list[_Column]) -> list[str]:
    """Makes one column group things by a few values; returns these values."""
    at = rng.randrange(len(columns))
    column = columns[at]
    noun = _lower(column.attribute.column)
    by = rng.choice(PREPOSITIONS)
    group = rng.choice(
        (
            f"with the {noun} {{value}}",
            f"with {{value}} as {noun}",
            f"whose {noun} is {{value}}",
            f"{words.term()} {by} the {noun} {{value}}",
            f"{by} the {{value}} {noun}",
            f"{words.term()} {by} {{value}}",
        )
    )
    shared = replace(column.attribute, kind=Kind.TEXT, group=group, above="", below="", most="")
    values = [column.value(words, words.word()) for _ in range(rng.randint(2, 3))]
    columns[at] = _Column(attribute=shared, style="shared")
    return values


def _things(rng: random.Random, words: Lexicon, place_noun: str, places: Sequence[str]) -> Domain:
    noun, nouns = words.initialled(words.noun())
    count = rng.choice((1, 2, 2, 3, 3, 4))
    columns = _columns(rng, words, rng.randint(max(2, count), 9), count)
    pool = _share(rng, words, columns)
    place_column = place_noun[0].upper() + place_noun[1:]
    link = words.link()
    group = Attribute(
        column=place_column,
        facet=-1,
        ask=f"the {place_noun} of {{entity}}",
        group=f"{link} {{value}}",
        list_title=rng.choice(
            (f"{nouns[0].upper()}{nouns[1:]} {link} {{value}}", f"List of {nouns} {link} {{value}}")
        ),
    )
    code_word = words.code_column()
    coded = rng.random() < 0.4
    code = Attribute(
        column=code_word, facet=-1, ask=f"the {_lower(code_word)} of {{entity}}", kind=Kind.CODE
    )
    style = rng.randrange(STYLES)
    entities: list[Entity] = []
    for place in places:
        for _ in range(rng.choice(SIZES)):
            name = words.thing(style)
            values = {place_column: place}
            if coded:
                values[code_word] = words.unique(lambda: words.code() + str(rng.randint(0, 99)))
            for item in columns:
                shared = item.style == "shared"
                values[item.attribute.column] = (
                    rng.choice(pool) if shared else item.value(words, name)
                )
            known = [item for item in columns if item.style != "shared"] or [
                _Column(attribute=group, style="word")
            ]
            notes = _notes(rng, words, known, count)
            entities.append(Entity(name=name, values=values, notes=notes))
    article = "an" if noun[0] in "aeiou" else "a"
    named = rng.choice((f" ({{{code_word}}})", f" ({_lower(code_word)} {{{code_word}}})"))
    lead = f"{{entity}}{named if coded else ''} is {article} {noun} {link} {{{place_column}}}."
    return Domain(
        name="things",
        key=noun[0].upper() + noun[1:],
        noun=noun,
        nouns=nouns,
        facets=_facets(rng, words, lead, columns, count),
        attributes=(group, *((code,) if coded else ()), *(item.attribute for item in columns)),
        entities=tuple(entities),
        partition=place_column,
    )


def _places(
    rng: random.Random, words: Lexicon, nouns: tuple[str, str], places: Sequence[str]
) -> Domain:
    noun, many = nouns
    count = rng.randint(1, 2)
    columns = _columns(rng, words, rng.randint(2, 3), count)
    realm, link = words.place(), words.link()
    entities = tuple(
        Entity(
            name=place,
            values={
                "Realm": realm,
                **{item.attribute.column: item.value(words, place) for item in columns},
            },
            notes=_notes(rng, words, columns, count),
        )
        for place in places
    )
    group = Attribute(
        column="Realm",
        facet=-1,
        group=f"{link} {{value}}",
        list_title=f"{many[0].upper()}{many[1:]} {link} {{value}}",
    )
    article = "an" if noun[0] in "aeiou" else "a"
    lead = f"{{entity}} is {article} {noun} {link} {{Realm}}."
    return Domain(
        name="places",
        key=noun[0].upper() + noun[1:],
        noun=noun,
        nouns=many,
        facets=_facets(rng, words, lead, columns, count),
        attributes=(group, *(item.attribute for item in columns)),
        entities=entities,
        partition="Realm",
    )
