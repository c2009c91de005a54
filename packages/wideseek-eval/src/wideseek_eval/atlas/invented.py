"""Invented worlds: the atlas's layout with names, words and numbers that nobody can know.

Demonstrations are made on them, so that a policy has to learn to copy what it reads: not only names
and values but nouns, columns and the titles of pages are composed anew. A world is small (two
domains, some sixty pages) and is drawn from a seed alone.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from wideseek_eval.atlas.lexicon import NUMBER_STYLES, TEXT_STYLES, Lexicon
from wideseek_eval.atlas.words import FILLERS
from wideseek_eval.atlas.world import Attribute, Domain, Entity, Facet, Kind


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
    told = _lower(label)
    root = told.split()[0]
    unit = f" {words.term()}s" if numeric and rng.random() < 0.4 else ""
    attribute = Attribute(
        column=label,
        facet=facet,
        sentences=_sentences(rng, told, unit),
        ask=f"the {told} of {{entity}}",
        kind=Kind.NUMBER if numeric else Kind.TEXT,
        above=rng.choice(
            (
                f"with a {told} above {{value}}{unit}",
                f"with more than {{value}} {told}",
                f"{root}er than {{value}}{unit}",
            )
        )
        if numeric
        else "",
        below=rng.choice((f"with a {told} below {{value}}{unit}", f"of under {{value}} {told}"))
        if numeric
        else "",
        most=rng.choice((f"largest-{told}", f"highest-{told}", f"{root}est", f"most {root}"))
        if numeric
        else "",
    )
    style = rng.choice(NUMBER_STYLES if numeric else TEXT_STYLES)
    return _Column(attribute=attribute, style=style)


def _lower(label: str) -> str:
    """The label inside a sentence; abbreviations keep their capitals."""
    return label if label[1:2].isupper() else label[0].lower() + label[1:]


def _sentences(rng: random.Random, told: str, unit: str) -> tuple[str, ...]:
    """One or two ways a world has of telling a column."""
    ways = (
        f"The {told} of {{entity}} is {{value}}{unit}.",
        f"{{entity}} has a {told} of {{value}}{unit}.",
        f"Its {told} is {{value}}{unit}.",
        f"The {told} is given as {{value}}{unit}.",
        f"According to the records, its {told} is {{value}}{unit}.",
        f"{told[0].upper()}{told[1:]}: {{value}}{unit}.",
        f"With {{value}}{unit} as its {told}, {{entity}} is well known.",
        f"{{value}}{unit} is the {told} of {{entity}}.",
        f"In terms of {told}, sources state {{value}}{unit}.",
        f"Observers put its {told} at {{value}}{unit}.",
    )
    return tuple(rng.sample(ways, rng.randint(1, 2)))


def _facets(
    rng: random.Random, words: Lexicon, main_lead: str, columns: Sequence[_Column], count: int
) -> tuple[Facet, ...]:
    """The main page and `count - 1` others; most worlds say in the lead what a page tells."""
    says = rng.random() < 0.85
    told = [
        [_lower(item.attribute.column) for item in columns if item.attribute.facet == facet]
        for facet in range(count)
    ]
    suffix = f" ({words.term()} {words.term()})" if rng.random() < 0.12 else ""
    if says and told[0] and rng.random() < 0.6:
        main_lead += f" This page {rng.choice(('gives', 'names'))} its {_and(told[0])}."
    of = rng.choice(
        ("{facet} of {{entity}}",) * 3
        + ("{{entity}}: {facet}", "{facet} in {{entity}}", "{{entity}} in {facet}")
    )
    made = [Facet(title=f"{{entity}}{suffix}", lead=main_lead)]
    names: dict[str, None] = {}
    while len(names) < count - 1:
        names[words.facet()] = None
    for index, name in enumerate(names, 1):
        lead = _telling(rng, name, told[index]) if says and told[index] else _plain(rng, name)
        made.append(Facet(title=of.format(facet=name), lead=lead))
    return tuple(made)


def _telling(rng: random.Random, name: str, told: Sequence[str]) -> str:
    """A lead that names the columns of its page."""
    list_ = _and(told)
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
                    value=words.value(other.style),
                )
                for sentence in rng.sample(FILLERS, rng.randint(1, 2))
            )
    return notes


def _share(rng: random.Random, words: Lexicon, columns: list[_Column]) -> list[str]:
    """Makes one column group things by a few values; returns these values."""
    at = rng.randrange(len(columns))
    column = columns[at]
    told = _lower(column.attribute.column)
    group = rng.choice(
        (f"with the {told} {{value}}", f"with {{value}} as {told}", f"whose {told} is {{value}}")
    )
    shared = replace(column.attribute, kind=Kind.TEXT, group=group, above="", below="", most="")
    values = [words.value(column.style) for _ in range(rng.randint(2, 3))]
    columns[at] = _Column(attribute=shared, style="shared")
    return values


def _things(rng: random.Random, words: Lexicon, place_noun: str, places: Sequence[str]) -> Domain:
    noun, nouns = words.noun()
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
    style = rng.randrange(9)
    entities: list[Entity] = []
    for place in places:
        for _ in range(rng.choice((2, 3, 3, 4, 4, 5, 5, 6, 7, 9))):
            values = {place_column: place}
            if coded:
                values[code_word] = words.unique(lambda: words.code() + str(rng.randint(0, 99)))
            for item in columns:
                shared = item.style == "shared"
                values[item.attribute.column] = (
                    rng.choice(pool) if shared else words.value(item.style)
                )
            known = [item for item in columns if item.style != "shared"] or [
                _Column(attribute=group, style="word")
            ]
            notes = _notes(rng, words, known, count)
            entities.append(Entity(name=words.thing(style), values=values, notes=notes))
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
                **{item.attribute.column: words.value(item.style) for item in columns},
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
