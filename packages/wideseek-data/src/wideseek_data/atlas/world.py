"""A world of facts: domains of entities with attributes, and the pages that tell them.

The same types carry the bundled atlas (true facts) and invented worlds (for demonstrations), so
both are rendered and asked about by the same code. Facts about one entity lie on several pages
(facets); list pages name the members of a group and nothing else.
"""

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from wideseek_core import DataError

MAX_LIST = 60

WANTS_ARTICLE = re.compile(
    r"^(United|Republic of|Democratic Republic of|Federated States|Isle of)\b"
    r"|^[^,]*\b(Islands|Emirates|Republic|Territory)$"
    r"|^(Bahamas|Caribbean|Comoros|Gambia|Maldives|Netherlands|Philippines|Seychelles|Vatican)$"
)

Split = Literal["train", "dev", "test"]


class Kind(StrEnum):
    """What the values of an attribute are."""

    TEXT = "text"
    NUMBER = "number"
    """Comparable by size; may be written with thousands separators."""
    CODE = "code"


@dataclass(frozen=True, slots=True, kw_only=True)
class Facet:
    """One kind of page that each entity has; templates know `{entity}` and the columns."""

    title: str
    """`{entity}` for the main page, `Economy of {entity}` for another."""
    lead: str
    """First sentence; the search index shows it, so it must not tell what the body is for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribute:
    """A column: where its values are stated, how, and how questions name them."""

    column: str
    """Label in tables and questions: `Population`."""
    facet: int
    """Index of the facet whose body tells it; -1 if the main page's lead already does."""
    sentences: tuple[str, ...] = ()
    """Ways to tell it, with `{entity}` and `{value}`; one is chosen per entity."""
    ask: str = ""
    """Noun phrase of a question for one value: `the population of {entity}`."""
    kind: Kind = Kind.TEXT
    group: str = ""
    """Noun phrase that groups entities: `in {value}`; empty if this column groups nothing."""
    list_title: str = ""
    """Title of the list page of a group: `Cities in {value}`; empty if there is none."""
    above: str = ""
    """`with more than {value} inhabitants`; empty if the column is no good for ranges."""
    below: str = ""
    most: str = ""
    """Superlative before the noun: `most populous`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entity:
    """A thing with a name that is unique in its domain."""

    name: str
    values: Mapping[str, str]
    """By column; a missing fact has no key."""
    notes: Mapping[int, tuple[str, ...]] = field(default_factory=dict[int, tuple[str, ...]])
    """Further sentences of a facet's page, by facet index, which no question asks about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Domain:
    """Entities of one kind, with everything needed to tell and ask about them."""

    name: str
    key: str
    """Label of the key column: `City`."""
    noun: str
    nouns: str
    facets: tuple[Facet, ...]
    """The main page first."""
    attributes: tuple[Attribute, ...]
    entities: tuple[Entity, ...]
    partition: str = ""
    """Column by whose value entities are divided into splits; the entity itself if empty."""
    family: str = ""
    """Domains of one family put equal values of their partitions into the same split."""
    source: str = ""
    """Where the facts come from, with the license, as attribution is to be given."""

    def attribute(self, column: str) -> Attribute:
        """The attribute of that column."""
        return next(item for item in self.attributes if item.column == column)

    def split_of(self, entity: Entity) -> Split:
        """The split an entity belongs to, by a hash that nothing else influences."""
        value = entity.values.get(self.partition, "") if self.partition else ""
        return split_of(f"{self.family or self.name}/{value or entity.name}")

    def title(self, entity: Entity, facet: int) -> str:
        """Title of an entity's page."""
        return self.facets[max(facet, 0)].title.format_map(_names(entity))

    def groups(self, attribute: Attribute) -> dict[str, list[Entity]]:
        """The entities by the value of a grouping attribute, both in the domain's order."""
        found: dict[str, list[Entity]] = defaultdict(list)
        for entity in self.entities:
            if value := entity.values.get(attribute.column):
                found[value].append(entity)
        return dict(found)

    def listed(self, attribute: Attribute) -> dict[str, list[Entity]]:
        """The groups that have a list page: not single entities, nor more than a page can hold."""
        if not attribute.list_title:
            return {}
        groups = self.groups(attribute)
        return {key: members for key, members in groups.items() if 2 <= len(members) <= MAX_LIST}


@dataclass(frozen=True, slots=True, kw_only=True)
class WorldPage:
    """One page of the world."""

    title: str
    lead: str
    body: str
    source: str = ""

    @property
    def contents(self) -> str:
        """What a reader of the page gets."""
        return f"{self.lead}\n{self.body}" if self.body else self.lead

    @property
    def url(self) -> str:
        """`atlas:` and the title with underscores."""
        return url_of(self.title)


def url_of(title: str) -> str:
    """The address of the page with that title."""
    return "atlas:" + title.replace(" ", "_")


def split_of(name: str) -> Split:
    """Train 70 %, dev 10 %, test 20 % of all names, by hash."""
    share = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=4).digest()) / 2**32
    return "train" if share < 0.7 else "dev" if share < 0.8 else "test"


def pages_of(domain: Domain) -> Iterator[WorldPage]:
    """All pages of a domain: each entity's facets, then the lists.

    Raises `DataError` if a sentence names a column that an entity lacks.
    """
    for entity in domain.entities:
        yield from entity_pages(domain, entity)
    for attribute in domain.attributes:
        for value, members in domain.listed(attribute).items():
            yield list_page(domain, attribute, value, members)


def entity_pages(domain: Domain, entity: Entity) -> Iterator[WorldPage]:
    """The pages of one entity; a facet of which nothing is known has none, the main page always."""
    names = _names(entity)
    in_text = {column: with_article(value) for column, value in entity.values.items()}
    told_names = {"entity": entity.name, **in_text}
    for index, facet in enumerate(domain.facets):
        sentences = [
            _choose(attribute.sentences, entity.name + attribute.column).format(
                entity=entity.name, value=entity.values[attribute.column]
            )
            for attribute in domain.attributes
            if attribute.facet == index and attribute.column in entity.values
        ]
        body = " ".join([*sentences, *entity.notes.get(index, ())])
        if body or index == 0:
            try:
                title, lead = facet.title.format_map(names), facet.lead.format_map(told_names)
            except KeyError as error:
                raise DataError(f"{domain.name}: {entity.name!r} lacks {error}") from None
            yield WorldPage(title=title, lead=lead, body=body, source=domain.source)


def list_page(
    domain: Domain, attribute: Attribute, value: str, members: Sequence[Entity]
) -> WorldPage:
    """The page that names all members of a group."""
    title = attribute.list_title.format(value=value)
    return WorldPage(
        title=title,
        lead=f"List of {domain.nouns} {attribute.group.format(value=with_article(value))}.",
        body=f"{len(members)} entries: {'; '.join(member.name for member in members)}.",
        source=domain.source,
    )


def with_article(name: str) -> str:
    """`the` before names that want it in running text: `the Bahamas`, `the Cook Islands`."""
    return f"the {name}" if WANTS_ARTICLE.search(name) else name


def _names(entity: Entity) -> dict[str, str]:
    return {"entity": entity.name, **entity.values}


def _choose(options: Sequence[str], name: str) -> str:
    """One of `options`, the same for the same name."""
    digest = hashlib.blake2b(name.encode(), digest_size=4).digest()
    return options[int.from_bytes(digest) % len(options)]
