"""Invented listings in many layouts, to learn copying from: nothing in them can be known."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

from wideseek_data.atlas.lexicon import NUMBER_STYLES, STYLES, TEXT_STYLES, Lexicon
from wideseek_data.teaching.listing import QUESTION, ListedRow, Listing
from wideseek_data.teaching.listing_layouts import (
    NAMED,
    TOLD,
    names_page,
    row_page,
    shuffled,
    table_page,
)

SIZES = (2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 8, 9, 10, 11, 12)
"""Numbers of entries."""
PHRASINGS = (
    *(QUESTION,) * 4,
    'Make a Markdown table of all entries of "{title}", section "{section}", with the columns '
    "{columns}. Write '-' for what no page gives.",
    'What does "{title}" list under "{section}"? Give a Markdown table with {columns}.',
)
MISSING_SHARE = 0.15
"""Share of the listings that have cells without a value, of pages without a layout of their own,
and of rows without a page."""
UNTOLD_SHARE = 0.08
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


def invent_listings(seed: int) -> list[Listing]:
    """The listings of a small world; the first is the one to ask about."""
    rng = random.Random(f"listings {seed}")
    words = Lexicon(rng)
    count = rng.randint(3, 5)
    titles = [_title(rng, words) for _ in range(count)]
    if rng.random() < 0.4:
        titles[1] = titles[0]  # two sections of one page
    made: list[Listing] = []
    for number, title in enumerate(titles):
        taken = [row.name for listing in made for row in listing.rows]
        made.append(_listing(rng, words, f"invented-{seed}-{number}", title, taken))
    return made


def _title(rng: random.Random, words: Lexicon) -> str:
    return rng.choice(
        (
            words.place(),
            f"{rng.randint(1900, 2024)} {words.word()} {words.title()}",
            f"{words.word()} {words.word()}",
            f"List of {words.noun()[1]} in {words.word()}",
            f"{words.word()} at the {rng.randint(1900, 2024)} {words.title()}",
        )
    )


def _section(rng: random.Random, words: Lexicon) -> str:
    parts = [words.facet() for _ in range(rng.choice((1, 1, 1, 2, 3)))]
    return "/".join(parts)


def _listing(
    rng: random.Random, words: Lexicon, id: str, title: str, taken: Sequence[str]
) -> Listing:
    section, key = _section(rng, words), words.column()
    labels = [words.column() for _ in range(rng.choice((1, 2, 2, 3, 3, 4, 5)))]
    columns = _Columns(labels=labels, styles=[rng.choice(_STYLES) for _ in labels])
    names = _names(rng, words, taken)
    base, end = f"https://wiki.example/wiki/{_path(title)}", f"#{_path(section)}"
    gaps = rng.random() < MISSING_SHARE
    rows: list[ListedRow] = []
    for name in names:
        values = columns.values(words)
        if gaps:
            values = {label: value for label, value in values.items() if rng.random() > 0.25}
        rows.append(ListedRow(name=name, url=f"{base}/{_path(name)}{end}", values=values))
    asked = rng.sample(labels, rng.randint(max(1, len(labels) - 1), len(labels)))
    ordered = asked if rng.random() < 0.3 else [one for one in labels if one in asked]
    listing = Listing(
        id=id,
        title=title,
        section=section,
        key=key,
        columns=tuple(_with_untold(id, ordered, [key, *labels])),
        rows=tuple(rows),
        url=base + end,
        pages=(),
        source="invented",
        question="",
    )
    phrasing = rng.choice(PHRASINGS).format(
        title=title, section=section, key=key, columns=", ".join((key, *listing.columns))
    )
    listing = _written(rng, words, listing, labels)
    return listing.model_copy(update={"question": phrasing})


def _with_untold(id: str, columns: Sequence[str], taken: Sequence[str]) -> list[str]:
    """The columns, sometimes with one more that no page tells."""
    rng, found = random.Random(f"untold {id}"), list(columns)
    untold = Lexicon(rng).column()
    if rng.random() < UNTOLD_SHARE and untold not in taken:
        found.insert(rng.randint(0, len(found)), untold)
    return found


def _names(rng: random.Random, words: Lexicon, taken: Sequence[str]) -> list[str]:
    style = rng.randrange(STYLES)
    names = [words.thing(style) for _ in range(rng.choice(SIZES))]
    if taken and rng.random() < 0.25:
        names[rng.randrange(len(names))] = rng.choice(taken)  # the same name in two listings
    return list(dict.fromkeys(name.strip() for name in names))


def _written(
    rng: random.Random, words: Lexicon, listing: Listing, labels: Sequence[str]
) -> Listing:
    """The listing with its pages, in the layouts of its own."""
    title, section, key, rows = listing.title, listing.section, listing.key, listing.rows
    names = [row.name for row in rows]
    if rng.random() < MISSING_SHARE:
        page = table_page(title, section, key, labels, rows, listing.url)
        alike = tuple(row.model_copy(update={"url": listing.url}) for row in rows)
        return listing.model_copy(update={"rows": alike, "pages": (page,)})
    layout = "sentence" if rng.random() < 0.5 else rng.choice(list(TOLD))
    first = names_page(
        "sentence" if rng.random() < 0.5 else rng.choice(NAMED),
        title, section, key, names, listing.url,
    )  # fmt: skip
    extra = [(words.column(), words.value("word"))] if rng.random() < 0.2 else []
    order = shuffled(rng, labels)
    pages = [first]
    kept: list[ListedRow] = []
    for row in rows:
        if rng.random() < 0.01:  # named, but described nowhere
            kept.append(row.model_copy(update={"values": {}}))
            continue
        kept.append(row)
        pages.append(row_page(layout, title, section, key, row, order, extra))
    return listing.model_copy(update={"rows": tuple(kept), "pages": tuple(pages)})


def _path(text: str) -> str:
    """Text in an address, as wikis write it."""
    return quote(text.replace(" ", "_"), safe="/()-_.")
