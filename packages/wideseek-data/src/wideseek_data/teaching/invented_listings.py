"""Invented listings in many layouts, to learn copying from: nothing in them can be known."""

import itertools
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote

from wideseek_data.atlas.lexicon import NUMBER_STYLES, STYLES, TEXT_STYLES, Lexicon
from wideseek_data.tables.values import normalized
from wideseek_data.teaching.listing import QUESTION, UNSECTIONED, ListedRow, Listing
from wideseek_data.teaching.listing_layouts import WHOLE, PageWriter, Subject, shuffled
from wideseek_data.teaching.names_layouts import HELD_OUT_NAMED, NAMED, can_run
from wideseek_data.teaching.values_layouts import HELD_OUT_STATED, STATED

Split = Literal["demos", "train", "test"]
"""No listing is in two of them. `test` has the layouts that are held out, and no others."""

SIZES = (2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 8, 9, 10, 11, 12)
"""Numbers of entries."""
PHRASINGS = (
    *(QUESTION,) * 4,
    'Make a Markdown table of all entries of "{title}", section "{section}", with the columns '
    "{columns}. Write '-' for what no page gives.",
    'What does "{title}" list under "{section}"? Give a Markdown table with {columns}.',
    "I need a table of everything that {title} has under {section}: {columns}.",
    "Table: {title}, {section}. Columns: {columns}.",
)
UNSECTIONED_PHRASINGS = (
    *(UNSECTIONED,) * 4,
    "Make a Markdown table of everything in \"{title}\" with the columns {columns}. Write '-' for "
    "what no page gives.",
    "Which entries does {title} have? Give a Markdown table with {columns}.",
    "I need a table of {title} with the columns {columns}.",
    "Table: {title}. Columns: {columns}.",
)
"""Of listings that are all of their title."""
BASES = ("https://wiki.example/wiki", "https://{word}.example", "https://www.{word}.example/pages")
SENTENCE_SHARE = 0.2
"""Share of the pages of names, and of the rows, that have the form of wikitables."""
UNSECTIONED_SHARE = 0.3
"""Share of the titles that have no sections."""
MISSING_SHARE = 0.15
"""Share of the listings that have cells without a value."""
WHOLE_SHARE = 0.2
"""Share of the listings that are on one page."""
UNSTATED_SHARE = 0.08
"""Share of the listings of which a column is asked for that no page tells."""

_STYLES = tuple(
    style for style in (*NUMBER_STYLES, *TEXT_STYLES) if style not in ("derived", "site", "host")
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Columns:
    labels: list[str]
    styles: list[str]

    def values(self, words: Lexicon) -> dict[str, str]:
        pairs = zip(self.labels, self.styles, strict=True)
        return {label: words.value(style) for label, style in pairs}


def invent_worlds(count: int, split: Split, taken: set[str]) -> list[list[Listing]]:
    """Worlds to search in together: none has a title that is taken, or one of another.

    Their titles are added to those that are taken.
    """
    worlds: list[list[Listing]] = []
    seeds = itertools.count()
    while len(worlds) < count:
        world = invent_listings(next(seeds), split)
        titles = {normalized(listing.title) for listing in world}
        if titles.isdisjoint(taken):
            taken |= titles
            worlds.append(world)
    return worlds


def invent_listings(seed: int, split: Split = "demos") -> list[Listing]:
    """The listings of a small world; the first is the one to ask about."""
    world = f"{seed}" if split == "demos" else f"{split}-{seed}"
    rng = random.Random(f"listings {world}")
    words = Lexicon(rng)
    titles = [_title(rng, words) for _ in range(rng.choice((1, 2, 3, 3, 4, 5)))]
    if len(titles) > 1 and rng.random() < 0.4:
        titles[1] = titles[0]  # two sections of one page
    site = _Site(
        base=rng.choice(BASES).format(word=_host(words)),
        suffix=rng.choice(("", "", ".html", ".md")),
        is_lower=rng.random() < 0.3,
    )
    drafts: list[_Draft] = []
    for number, title in enumerate(titles):
        taken = [row.name for draft in drafts for row in draft.listing.rows]
        sections = titles.count(title) > 1 or rng.random() >= UNSECTIONED_SHARE
        section = _section(rng, words) if sections else ""
        names = _names(rng, words, taken)
        drafts.append(_draft(rng, words, f"invented-{world}-{number}", site, title, section, names))
    named = Counter(row.name for draft in drafts for row in draft.listing.rows)
    return [_written(rng, words, draft, named, split) for draft in drafts]


def _host(words: Lexicon) -> str:
    return "".join(one for one in words.word().lower() if one.isascii() and one.isalnum()) or "site"


def _title(rng: random.Random, words: Lexicon) -> str:
    return rng.choice(
        (
            words.place(),
            f"{rng.randint(1900, 2024)} {words.word()} {words.title()}",
            f"{words.word()} {words.word()}",
            f"{words.title()} {words.noun()[1]} in {words.word()}",
            f"{words.word()} at the {rng.randint(1900, 2024)} {words.title()}",
            f"{words.title()} {words.noun()[1]}",
        )
    )


def _section(rng: random.Random, words: Lexicon) -> str:
    parts = [words.facet() for _ in range(rng.choice((1, 1, 1, 2, 3)))]
    return "/".join(parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Site:
    """How the addresses of a world are written."""

    base: str
    suffix: str
    is_lower: bool

    def address(self, section: str, *parts: str) -> str:
        """That of a page, with the section behind it."""
        end = f"#{self._path(section)}" if section else ""
        return f"{'/'.join([self.base, *map(self._path, parts)])}{self.suffix}{end}"

    def _path(self, text: str) -> str:
        text = text.lower().replace(" ", "-") if self.is_lower else text.replace(" ", "_")
        return quote(text, safe="/()-_.")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Draft:
    listing: Listing
    """Without its pages."""
    labels: list[str]
    """All columns that its pages tell."""


def _draft(
    rng: random.Random,
    words: Lexicon,
    id: str,
    site: _Site,
    title: str,
    section: str,
    names: Sequence[str],
) -> _Draft:
    key = words.column()
    labels = [words.column() for _ in range(rng.choice((1, 2, 2, 3, 3, 4, 5)))]
    columns = _Columns(labels=labels, styles=[rng.choice(_STYLES) for _ in labels])
    gaps = rng.random() < MISSING_SHARE
    rows: list[ListedRow] = []
    for name in names:
        values = columns.values(words)
        if gaps:
            values = {label: value for label, value in values.items() if rng.random() > 0.25}
        rows.append(ListedRow(name=name, url=site.address(section, title, name), values=values))
    asked = rng.sample(labels, rng.randint(max(1, len(labels) - 2), len(labels)))
    ordered = asked if rng.random() < 0.3 else [one for one in labels if one in asked]
    asked = _with_unstated(id, ordered, [key, *labels])
    phrasing = rng.choice(PHRASINGS if section else UNSECTIONED_PHRASINGS)
    listing = Listing(
        id=id,
        title=title,
        section=section,
        key=key,
        columns=tuple(asked),
        rows=tuple(rows),
        url=site.address(section, title),
        pages=(),
        source="invented",
        question=phrasing.format(
            title=title, section=section, key=key, columns=", ".join((key, *asked))
        ),
    )
    return _Draft(listing=listing, labels=labels)


def _with_unstated(id: str, columns: Sequence[str], taken: Sequence[str]) -> list[str]:
    """The columns, sometimes with one more that no page tells."""
    rng, found = random.Random(f"unstated {id}"), list(columns)
    unstated = Lexicon(rng).column()
    if rng.random() < UNSTATED_SHARE and unstated not in taken:
        found.insert(rng.randint(0, len(found)), unstated)
    return found


def _names(rng: random.Random, words: Lexicon, taken: Sequence[str]) -> list[str]:
    style = rng.randrange(STYLES)
    names = [words.thing(style) for _ in range(rng.choice(SIZES))]
    if taken and rng.random() < 0.25:
        names[rng.randrange(len(names))] = rng.choice(taken)  # the same name in two listings
    return list({name.lower(): name for name in map(str.strip, names)}.values())


def _written(
    rng: random.Random, words: Lexicon, draft: _Draft, named: Counter[str], split: Split
) -> Listing:
    """The listing with its pages, in the layouts of its own."""
    listing, labels, rows = draft.listing, draft.labels, draft.listing.rows
    subject = Subject(
        title=listing.title, section=listing.section, key=listing.key, url=listing.url
    )
    # A page that says nothing but a common word, or a name of two listings, could not be found.
    plain = all(named[row.name] == 1 and " " in row.name for row in rows)
    writer = PageWriter.drawn(rng, words, subject, placed=not plain)
    if split != "test" and rng.random() < WHOLE_SHARE:
        layout = rng.choice(list(WHOLE))
        page = writer.whole_page(layout, rows, labels)
        alike = tuple(row.model_copy(update={"url": listing.url}) for row in rows)
        changes = {"names_layout": layout, "values_layout": layout}
        return listing.model_copy(update={**changes, "rows": alike, "pages": (page,)})
    naming = [one for one in NAMED if one != "run" or can_run([row.name for row in rows])]
    naming = _layout(rng, naming, HELD_OUT_NAMED, split)
    telling = _layout(rng, list(STATED), HELD_OUT_STATED, split)
    extra = [(words.column(), words.value("word"))] if rng.random() < 0.3 else []
    order = shuffled(rng, labels)
    pages = [writer.names_page(naming, rows)]
    kept: list[ListedRow] = []
    for row in rows:
        if rng.random() < 0.01:  # named, but described nowhere
            kept.append(row.model_copy(update={"values": {}}))
            continue
        kept.append(row)
        pages.append(writer.row_page(telling, row, order, extra))
    changes = {"names_layout": naming, "values_layout": telling}
    return listing.model_copy(update={**changes, "rows": tuple(kept), "pages": tuple(pages)})


def _layout(
    rng: random.Random, layouts: Sequence[str], held_out: Sequence[str], split: Split
) -> str:
    if split == "test":
        return rng.choice(held_out)
    if rng.random() < SENTENCE_SHARE:
        return "sentence"
    return rng.choice([one for one in layouts if one not in (*held_out, "sentence")])
