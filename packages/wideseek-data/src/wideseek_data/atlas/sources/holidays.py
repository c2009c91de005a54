"""Public holidays of a sample of countries."""

import warnings
from collections import Counter
from datetime import date

from wideseek_data.atlas.sources.gazetteer import FAMILY, Country, countries
from wideseek_data.atlas.sources.text import package, plain, share
from wideseek_data.atlas.world import Attribute, Domain, Entity, Facet

YEARS = (2025, 2026)

FACETS = (
    Facet(
        title="{entity}",
        lead="{entity} is a public holiday in {Country}. "
        "This page gives its month, date in 2025 and weekday in 2025.",
    ),
    Facet(
        title="{entity} in 2026",
        lead="{entity} in the year 2026: date in 2026 and weekday in 2026.",
    ),
)

ATTRIBUTES = (
    Attribute(
        column="Country",
        facet=-1,
        ask="the country that celebrates {entity}",
        group="in {value}",
        list_title="Public holidays in {value}",
    ),
    Attribute(
        column="Date in 2025",
        facet=0,
        sentences=(
            "In 2025 it began on {value}.",
            "It was celebrated on {value} in 2025.",
            "The date in 2025 was {value}.",
        ),
        ask="the date of {entity} in 2025",
    ),
    Attribute(
        column="Weekday in 2025",
        facet=0,
        sentences=("That was a {value}.", "The weekday was {value}."),
        ask="the weekday of {entity} in 2025",
        group="falling on a {value} in 2025",
    ),
    Attribute(
        column="Month",
        facet=0,
        sentences=("The month was {value}.", "People kept it in {value}."),
        ask="the month of {entity} in 2025",
        group="falling in {value} of 2025",
    ),
    Attribute(
        column="Date in 2026",
        facet=1,
        sentences=(
            "The date in 2026 is {value}.",
            "In 2026 it begins on {value}.",
            "Calendars for 2026 mark {value}.",
        ),
        ask="the date of {entity} in 2026",
    ),
    Attribute(
        column="Weekday in 2026",
        facet=1,
        sentences=("The weekday is {value}.", "It falls on a {value}."),
        ask="the weekday of {entity} in 2026",
        group="falling on a {value} in 2026",
    ),
)


def build() -> Domain:
    """Countries with 4 to 16 holidays named in English; one of several days counts by its first."""
    calendars = {country: _calendar(country) for country in _sample()}
    named = {country: days for country, days in calendars.items() if 4 <= len(days) <= 16}
    uses = Counter(name for days in named.values() for name in days)
    entities = [
        _entity(name if uses[name] == 1 else f"{name} ({country.name})", country, first)
        for country, days in named.items()
        for name, first in days.items()
    ]
    return Domain(
        name="holidays",
        key="Holiday",
        noun="public holiday",
        nouns="public holidays",
        facets=FACETS,
        attributes=ATTRIBUTES,
        entities=tuple(entities),
        partition="Subregion",
        family=FAMILY,
        source="holidays 0.109 (MIT)",
    )


def _sample() -> list[Country]:
    """Half of the larger countries that the package knows."""
    supported = package("holidays").list_supported_countries()
    return [
        country
        for code, country in countries().items()
        if code in supported and country.population >= 200_000 and share(f"holidays/{code}") < 0.55
    ]


def _calendar(country: Country) -> dict[str, tuple[date, date]]:
    """First day in both years by name; empty if the names are not English."""
    found: list[dict[str, date]] = []
    for year in YEARS:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the package warns of years it only estimates
            days = package("holidays").country_holidays(
                country.code, years=year, language="en_US", observed=False
            )
        first: dict[str, date] = {}
        for day, names in sorted(days.items()):
            for name in names.split("; "):
                first.setdefault(plain(name.replace(" (estimated)", "")), day)
        found.append(first)
    if any(not name.isascii() or len(name) > 40 for name in found[0]):
        return {}
    return {name: (day, found[1][name]) for name, day in found[0].items() if name in found[1]}


def _entity(name: str, country: Country, first: tuple[date, date]) -> Entity:
    return Entity(
        name=name,
        values={
            "Country": country.name,
            "Subregion": country.subregion,
            "Date in 2025": f"{first[0].day} {first[0]:%B}",
            "Weekday in 2025": f"{first[0]:%A}",
            "Month": f"{first[0]:%B}",
            "Date in 2026": f"{first[1].day} {first[1]:%B}",
            "Weekday in 2026": f"{first[1]:%A}",
        },
    )
