"""Pages of a listing: one that names the entries and one for each of them, or one with all."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from wideseek_core.tables import MarkdownTable
from wideseek_data.atlas.lexicon import MONTHS, Lexicon
from wideseek_data.stored_pages import StoredPage
from wideseek_data.teaching.listing import ListedRow
from wideseek_data.teaching.names_layouts import NAMED, Entry, Named
from wideseek_data.teaching.values_layouts import STATED, Values

OPENINGS = ("{place}.", "{place}:", "# {place}", "All of {place}:", "{place}")
SECTION_OPENINGS = (
    *OPENINGS[:2],
    "# {title}\n\n## {section}",
    "# {title}\n\n## {section}",
    "{title}\n\n{section}",
    "{title}\n\n{section}:",
)
LIST_OPENINGS = ("A list of {place}.", "{place}: list of entries", "This page lists {place}:")
LONG = 6
"""Entries above which a page says that it is a list: it could not be found among as many others."""
TITLES = ("{heading}", "{heading}", "{title}", "")
ROW_TITLES = ("{name} ({title})", "{name} ({title})", "{name}", "{name} – {title}", "")
ROW_OPENINGS = (
    "{name} is an entry of {place} ({key}).",
    "{name} ({key}) belongs to {place}.",
    "# {name}\n{place}",
    "{name}, {title}.",
    "{name}",
)
PLACED = 3
"""Row openings up to here say which listing the entry is of."""
ASIDE_SHARE = 0.2
"""Share of the pages that begin, or end, with words that nobody asks for."""
OTHER_SHARE = 0.3
"""Share of the pages of names of a section that have another section with other names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What the pages of a listing are about."""

    title: str
    section: str
    """Empty for a listing that is all of its title."""
    key: str
    url: str

    @property
    def place(self) -> str:
        """Title and section in a sentence."""
        return f"{self.title}, section {self.section}" if self.section else self.title

    @property
    def heading(self) -> str:
        """Title and section above a page."""
        return f"{self.title}: {self.section}" if self.section else self.title


@dataclass(frozen=True, slots=True, kw_only=True)
class PageWriter:
    """Writes the pages of one listing, of which those of the rows are alike."""

    rng: random.Random
    words: Lexicon
    subject: Subject
    row_title: str
    row_opening: str

    @classmethod
    def drawn(
        cls, rng: random.Random, words: Lexicon, subject: Subject, *, placed: bool
    ) -> "PageWriter":
        """With titles and openings at random; `placed`: row pages say which listing they are of."""
        openings = ROW_OPENINGS[:PLACED] if placed else ROW_OPENINGS
        title, opening = rng.choice(ROW_TITLES), rng.choice(openings)
        return cls(rng=rng, words=words, subject=subject, row_title=title, row_opening=opening)

    def names_page(self, layout: str, rows: Sequence[ListedRow]) -> StoredPage:
        """The page that names the entries."""
        entries = [Entry(name=row.name, url=row.url, remark=self._remark()) for row in rows]
        key = self.subject.key
        opening = self._opening(len(rows))
        if layout == "sentence":
            opening = f"{self.subject.place}."
        elif self.rng.random() < 0.4:
            opening += f"\n{key}:"
        text = NAMED[layout](Named(opening=opening, key=key, entries=entries))
        if self.subject.section and len(rows) <= LONG and self.rng.random() < OTHER_SHARE:
            text = f"{text}\n\n{self._other_section()}"
        return self._page(len(rows), text)

    def row_page(
        self, layout: str, row: ListedRow, order: Sequence[str], extra: Values = ()
    ) -> StoredPage:
        """The page of one entry; `extra` are values that nobody asks for."""
        names = {
            "name": row.name,
            "title": self.subject.title,
            "place": self.subject.place,
            "key": self.subject.key,
        }
        opening = self.row_opening.format(**names)
        text = STATED[layout](opening, row.name, [*_values(row, order), *extra])
        title = self.row_title.format(**names)
        return StoredPage(url=row.url, title=title, contents=self._with_asides(text))

    def whole_page(
        self, layout: str, rows: Sequence[ListedRow], columns: Sequence[str]
    ) -> StoredPage:
        """One page with all entries and their values."""
        stated = WHOLE[layout](self.subject.key, rows, columns)
        return self._page(len(rows), f"{self._opening(len(rows))}\n{stated}")

    def _page(self, count: int, text: str) -> StoredPage:
        form = self.rng.choice(TITLES[:1] if count > LONG else TITLES)
        title = form.format(heading=self.subject.heading, title=self.subject.title)
        return StoredPage(url=self.subject.url, title=title, contents=self._with_asides(text))

    def _opening(self, count: int) -> str:
        subject = self.subject
        short = SECTION_OPENINGS if subject.section else OPENINGS
        form = self.rng.choice(LIST_OPENINGS if count > LONG else (*short, *LIST_OPENINGS))
        return form.format(place=subject.place, title=subject.title, section=subject.section)

    def _with_asides(self, text: str) -> str:
        before = [self._aside()] if self.rng.random() < ASIDE_SHARE else []
        after = [self._aside()] if self.rng.random() < ASIDE_SHARE else []
        return "\n\n".join([*before, text, *after])

    def _other_section(self) -> str:
        """A section that nobody asks about."""
        heading = self.rng.choice(("## {}", "{}:", "{}")).format(self.words.facet())
        names = [self.words.value("words") for _ in range(self.rng.randint(2, 4))]
        entries = [Entry(name=name, url="", remark="") for name in names]
        layout = self.rng.choice(("dashes", "stars", "lines", "numbered", "run"))
        return NAMED[layout](Named(opening=heading, key="", entries=entries))

    def _remark(self) -> str:
        forms = ("{} {}", "{} and {}", "the {} {}", "{}, not {}")
        return self.rng.choice(forms).format(self.words.term(), self.words.term())

    def _aside(self) -> str:
        rng, words = self.rng, self.words
        return rng.choice(
            (
                f"Last changed in {rng.choice(MONTHS)} {rng.randint(1990, 2025)}.",
                f"Compiled by {words.value('person')}.",
                f"See also: {words.term()}, {words.term()}.",
                f"{words.title()} and {words.term()} are described elsewhere.",
                f"Notes of a {words.term()}, not complete yet.",
            )
        )


def _values(row: ListedRow, columns: Sequence[str]) -> list[tuple[str, str]]:
    return [(column, row.values[column]) for column in columns if column in row.values]


def _table(key: str, rows: Sequence[ListedRow], columns: Sequence[str]) -> str:
    cells = ((row.name, *(row.values.get(column, "") for column in columns)) for row in rows)
    return MarkdownTable(columns=(key, *columns), rows=tuple(cells)).markdown()


def _headings(layout: str) -> Callable[[str, Sequence[ListedRow], Sequence[str]], str]:
    def write(key: str, rows: Sequence[ListedRow], columns: Sequence[str]) -> str:
        stated = (
            STATED[layout](f"\n## {row.name}", row.name, _values(row, columns)) for row in rows
        )
        return "\n".join(stated)

    return write


def _items(key: str, rows: Sequence[ListedRow], columns: Sequence[str]) -> str:
    stated = (", ".join(f"{label}: {value}" for label, value in _values(r, columns)) for r in rows)
    return "\n".join(f"- {row.name}: {text}" for row, text in zip(rows, stated, strict=True))


WHOLE: Mapping[str, Callable[[str, Sequence[ListedRow], Sequence[str]], str]] = {
    "whole table": _table,
    "whole headings": _headings("lines"),
    "whole headings, bullets": _headings("bullets"),
    "whole items": _items,
}
"""Layouts of one page with all entries and their values."""


def shuffled(rng: random.Random, items: Sequence[str]) -> list[str]:
    """The items in another order, or as they are."""
    return rng.sample(items, len(items)) if rng.random() < 0.3 else list(items)
