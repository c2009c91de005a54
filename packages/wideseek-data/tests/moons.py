"""A small page store in the layout of overview and entry pages, made up for the tests."""

from wideseek_core.search import Page
from wideseek_data.sources.entry_pages import read_entry_pages
from wideseek_data.tables.build import build_table
from wideseek_data.tables.table import Table

BASE = "https://moons.example/wiki/Moons_of_Uranus"
ROWS = (
    ("Ariel", "1", "1851", "1,158 km", "Lassell", "classical"),
    ("Umbriel", "2", "1851", "1,169 km", "Lassell", "classical"),
    ("Titania", "3", "1787", "1,577 km", "Herschel", "classical"),
    ("Oberon", "4", "1787", "1,523 km", "Herschel", "classical"),
    ("Miranda", "5", "1948", "472 km", "Kuiper", "classical"),
    ("Puck", "6", "1985", "162 km", "Voyager 2", "inner"),
    ("Portia", "7", "1986", "135 km", "Voyager 2", "inner"),
    ("Juliet", "8", "1986", "94 km", "Voyager 2", "inner"),
)


def moon_pages(rows: tuple[tuple[str, ...], ...] = ROWS) -> list[Page]:
    """The pages of the table."""
    keys = "; ".join(row[0] for row in rows)
    place = "Moons of Uranus, section Large moons"
    pages = [
        Page(
            url=f"{BASE}#Large_moons",
            text=f"{place}. It lists {len(rows)} entries by Moon: {keys}.",
        )
    ]
    for name, number, year, diameter, finder, group in rows:
        text = (
            f"{name} is an entry of {place} (Moon). No. in order: {number}. Year: {year}. "
            f"Diameter: {diameter}. Found by: {finder}. Group: {group}."
        )
        pages.append(Page(url=f"{BASE}/{name}#Large_moons", text=text))
    return pages


def moons() -> Table:
    """The table."""
    return build_table(next(read_entry_pages(moon_pages(), "moons")), "moons")
