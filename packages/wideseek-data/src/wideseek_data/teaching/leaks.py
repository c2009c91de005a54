"""Tables that are to be trained on and measured on, under whatever name."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from wideseek_core import DataError
from wideseek_core.counting import counted
from wideseek_data.tables.values import is_missing, normalized
from wideseek_data.teaching.listing import Listing

SHARED_ROWS = 0.5
"""Tables that share more than this part of the rows of the smaller one are the same table."""


def check_no_leak(train: Sequence[Listing], held_out: Sequence[Listing]) -> None:
    """Raises `DataError` if a listing of one side is, or is part of, one of the other.

    That is one with the same id, title and section, question, or page, or with the same rows,
    whatever their order and that of the columns, of which some may have been left out.
    """
    for marks in (_names, _pages):
        known = {mark: listing.id for listing in held_out for mark in marks(listing)}
        for listing in train:
            for mark in marks(listing):
                if mark in known:
                    raise _leak(listing.id, known[mark], " ".join(mark))
    for trained, measured, count in _same_rows(train, held_out):
        raise _leak(trained, measured, counted(count, "row"))


def _leak(trained: str, measured: str, shared: str) -> DataError:
    return DataError(
        f"{trained}, which is to be trained on, and {measured}, which is to be measured on, are "
        f"of the same table: both have {shared}"
    )


Mark = tuple[str, str]
"""What is compared, and its value."""


def _names(listing: Listing) -> Iterator[Mark]:
    yield "the id", listing.id
    yield "the title", f"{normalized(listing.title)!r}, section {normalized(listing.section)!r}"
    yield "the question", normalized(listing.task.question)


def _pages(listing: Listing) -> Iterator[Mark]:
    for page in listing.pages:
        yield "the page", page.url


def _same_rows(
    train: Iterable[Listing], held_out: Iterable[Listing]
) -> Iterator[tuple[str, str, int]]:
    """Pairs of listings with mostly the same rows, and how many they share."""
    measured = {listing.id: list(_rows(listing)) for listing in held_out}
    named: dict[str, list[tuple[str, frozenset[str]]]] = defaultdict(list)
    for of, rows in measured.items():
        for row in rows:
            named[row.name].append((of, row.cells))
    for listing in train:
        rows = list(_rows(listing))
        shared = Counter(
            of for row in rows for of in {of for of, cells in named[row.name] if row.fits(cells)}
        )
        for of, count in shared.items():
            if count > SHARED_ROWS * min(len(rows), len(measured[of])):
                yield listing.id, of, count


@dataclass(frozen=True, slots=True)
class _Row:
    name: str
    cells: frozenset[str]

    def fits(self, cells: frozenset[str]) -> bool:
        """Whether one row has all cells of the other; some columns may have been left out."""
        return self.cells <= cells or cells <= self.cells


def _rows(listing: Listing) -> Iterator[_Row]:
    """The rows that have more than a name."""
    for row in listing.rows:
        cells = frozenset(normalized(cell) for cell in row.values.values() if not is_missing(cell))
        if cells:
            yield _Row(normalized(row.name), cells)
