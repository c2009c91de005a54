"""Countries and territories."""

from collections.abc import Sequence

from wideseek_data.atlas.sources.gazetteer import (
    CLDR,
    COUNTRYINFO,
    FAMILY,
    GEONAMES,
    Country,
    cities,
    countries,
)
from wideseek_data.atlas.sources.text import count, known, plain, ranked
from wideseek_data.atlas.world import Attribute, Domain, Entity, Facet, Kind

FACETS = (
    Facet(
        title="{entity}",
        lead="{entity} (ISO code {ISO code}) is a country or territory in {Subregion}. "
        "This page names its capital.",
    ),
    Facet(
        title="Geography of {entity}",
        lead="The geography of {entity}: area and land neighbours.",
    ),
    Facet(
        title="Economy of {entity}",
        lead="Money and communication in {entity}: "
        "currency, currency code, calling code and internet domain.",
    ),
    Facet(
        title="Demographics of {entity}",
        lead="The people of {entity}: population, demonym and main language.",
    ),
)

ATTRIBUTES = (
    Attribute(
        column="Subregion",
        facet=-1,
        ask="the subregion of {entity}",
        group="in {value}",
        list_title="Countries and territories in {value}",
    ),
    Attribute(column="ISO code", facet=-1, ask="the ISO code of {entity}", kind=Kind.CODE),
    Attribute(
        column="Capital",
        facet=0,
        sentences=(
            "Its capital is {value}.",
            "The capital is {value}.",
            "{value} is the capital of {entity}.",
            "{entity} has its capital in {value}.",
        ),
        ask="the capital of {entity}",
    ),
    Attribute(
        column="Area",
        facet=1,
        sentences=(
            "{entity} covers an area of {value} square kilometres.",
            "Its area is {value} square kilometres.",
            "The land and inland waters together measure {value} square kilometres.",
        ),
        ask="the area of {entity} in square kilometres",
        kind=Kind.NUMBER,
        above="with an area of more than {value} square kilometres",
        below="with an area of less than {value} square kilometres",
        most="largest",
    ),
    Attribute(
        column="Land neighbours",
        facet=1,
        sentences=(
            "The number of its land neighbours is {value}.",
            "Countries that it shares a land border with: {value}.",
            "Its land neighbours number {value}.",
        ),
        ask="the number of land neighbours of {entity}",
        kind=Kind.NUMBER,
        above="with more than {value} land neighbours",
        below="with fewer than {value} land neighbours",
    ),
    Attribute(
        column="Currency",
        facet=2,
        sentences=(
            "The official currency is the {value}.",
            "People pay with the {value}.",
            "Its currency is the {value}.",
        ),
        ask="the currency of {entity}",
        group="with the {value} as currency",
        list_title="Countries and territories using the {value}",
    ),
    Attribute(
        column="Currency code",
        facet=2,
        sentences=(
            "Banks write the currency as {value}.",
            "Its currency code is {value}.",
            "In the foreign exchange market the code {value} stands for it.",
        ),
        ask="the currency code of {entity}",
        kind=Kind.CODE,
    ),
    Attribute(
        column="Calling code",
        facet=2,
        sentences=(
            "Telephone calls from abroad start with {value}.",
            "The international calling code is {value}.",
            "Its calling code is {value}.",
        ),
        ask="the calling code of {entity}",
        kind=Kind.CODE,
    ),
    Attribute(
        column="Internet domain",
        facet=2,
        sentences=(
            "Its internet domain is {value}.",
            "Websites of {entity} often end in {value}.",
            "The country code top-level domain is {value}.",
        ),
        ask="the internet domain of {entity}",
        kind=Kind.CODE,
    ),
    Attribute(
        column="Population",
        facet=3,
        sentences=(
            "{entity} has a population of {value}.",
            "About {value} people live in {entity}.",
            "The number of inhabitants is {value}.",
            "Its population is {value}.",
        ),
        ask="the population of {entity}",
        kind=Kind.NUMBER,
        above="with more than {value} inhabitants",
        below="with fewer than {value} inhabitants",
        most="most populous",
    ),
    Attribute(
        column="Demonym",
        facet=3,
        sentences=(
            "An inhabitant is called {value}.",
            "The demonym is {value}.",
            "Its people are known by the demonym {value}.",
        ),
        ask="the demonym of {entity}",
    ),
    Attribute(
        column="Main language",
        facet=3,
        sentences=(
            "The main language is {value}.",
            "Its main language is {value}.",
            "{value} is named first among its languages.",
        ),
        ask="the main language of {entity}",
        group="with {value} as main language",
    ),
)


def build() -> Domain:
    """Some 245 countries and territories, divided by subregion."""
    domain = Domain(
        name="countries",
        key="Country",
        noun="country or territory",
        nouns="countries and territories",
        facets=FACETS,
        attributes=ATTRIBUTES,
        entities=tuple(_entity(country) for country in countries().values()),
        partition="Subregion",
        family=FAMILY,
        source=f"{GEONAMES}; {COUNTRYINFO} for subregions and demonyms; "
        f"{CLDR} for names of currencies and languages",
    )
    domain = ranked(domain, "Area", "Subregion", by="by area", unit=" square kilometres")
    return ranked(domain, "Population", "Subregion", by="by population", unit=" inhabitants")


def _entity(country: Country) -> Entity:
    largest = [city.name for city in cities() if city.country is country][:4]
    notes: dict[int, tuple[str, ...]] = {}
    if len(largest) > 2:
        notes[0] = (f"The largest places in the gazetteer are {_listed(largest)}.",)
    if country.neighbours:
        notes[1] = (f"It borders {_listed(country.neighbours)}.",)
    return Entity(
        name=country.name,
        values=known(
            {
                "Subregion": country.subregion,
                "ISO code": country.iso3,
                "Capital": plain(country.capital),
                "Area": count(country.area) if country.area >= 1 else "",
                "Land neighbours": str(len(country.neighbours)),
                "Currency": country.currency,
                "Currency code": country.currency_code,
                "Calling code": f"+{country.phone}"
                if country.phone and "and" not in country.phone
                else "",
                "Internet domain": country.domain,
                "Population": count(country.population),
                "Demonym": plain(country.demonym),
                "Main language": country.language,
            }
        ),
        notes=notes,
    )


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
