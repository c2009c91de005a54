"""Which values of an answer count as read."""

import pytest

from wideseek_apps.evidence import Evidence, Support
from wideseek_core.search import Document, Page
from wideseek_tools import MemoryPages, MemorySearch

PAGE = """Mercury (Hg) melts at −38.83 °C. It was named after the planet. Population: 1 353 000.
Founded on 5 January 2003 by José Ñandú; area 1,260 km2; income 1.1 million; 水银 is its name."""


@pytest.fixture
def evidence() -> Evidence:
    found = Evidence()
    found.add_page(Page(url="x:Mercury", text=PAGE, title="Mercury (element)"))
    found.add_extract(Document(url="x:Zinc", title="Zinc", text="Zinc (Zn) has number 30."))
    return found


@pytest.mark.parametrize(
    ("value", "support"),
    [
        ("Hg", Support.PAGE),
        ("**hg**", Support.PAGE),
        ("Hg Rhi", Support.NONE),
        ("H", Support.NONE),
        ("7439-97-6", Support.NONE),
        ("-38.83", Support.PAGE),
        ("8.83", Support.NONE),
        ("1,353,000", Support.PAGE),
        ("1353000", Support.PAGE),
        ("353", Support.NONE),
        ("1260", Support.PAGE),
        ("1260 km2", Support.PAGE),
        ("1100000", Support.PAGE),
        ("2003-01-05", Support.PAGE),
        ("Jan 5, 2003", Support.PAGE),
        ("2003-01-06", Support.NONE),
        ("Jose Nandu", Support.PAGE),
        ("element Mercury", Support.PAGE),
        ("水银", Support.PAGE),
        ("Zn", Support.WEAK),
        ("South America", Support.NONE),
        ("", Support.PAGE),
        ("N/A", Support.PAGE),
        ("-", Support.PAGE),
    ],
)
def test_a_value_counts_as_read_where_its_text_number_or_date_is(
    value: str, support: Support, evidence: Evidence
) -> None:
    assert evidence.support(value) is support


def test_a_value_on_a_page_about_something_else_is_weakly_supported(evidence: Evidence) -> None:
    evidence.add_page(Page(url="x:Accra", text="Population 1963264.", title=""))
    assert evidence.support("1,963,264", "Accra") is Support.PAGE
    assert evidence.support("-38.83", "Mercury") is Support.PAGE
    assert evidence.support("-38.83", "Accra") is Support.WEAK
    assert evidence.support("-38.84", "Mercury") is Support.NONE


def test_nothing_read_supports_nothing() -> None:
    assert Evidence().support("Hg") is Support.NONE


async def test_what_passes_the_tools_is_remembered() -> None:
    evidence = Evidence()
    page = Page(url="x:Mercury", text=PAGE)
    search = MemorySearch([Document(url="x:Zinc", title="Zinc", text="Zinc (Zn).")])
    await evidence.watch_search(search).search("zinc", 3)
    read = await evidence.watch_pages(MemoryPages([page])).read("x:Mercury")
    assert read.text == page.text
    assert list(evidence.pages) == ["x:Mercury"]
    assert evidence.support("Zn") is Support.WEAK
