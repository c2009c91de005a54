"""The states of the United States."""

from typing import Any

from wideseek_data.atlas.sources.gazetteer import GEONAMES, cities
from wideseek_data.atlas.sources.text import known, package, plain
from wideseek_data.atlas.world import Attribute, Domain, Entity, Facet, Kind

FACETS = (
    Facet(
        title="{entity} (U.S. state)",
        lead="{entity} (abbreviation {Abbreviation}) is a U.S. state in {Division}. "
        "This page names its capital.",
    ),
    Facet(
        title="Statehood of {entity}",
        lead="How {entity} joined the Union: statehood year.",
    ),
    Facet(
        title="Administration of {entity}",
        lead="Towns and offices of {entity}: largest city, time zone, counties and FIPS code.",
    ),
)

ATTRIBUTES = (
    Attribute(
        column="Division",
        facet=-1,
        ask="the census division of {entity}",
        group="in {value}",
        list_title="U.S. states in {value}",
    ),
    Attribute(column="Abbreviation", facet=-1, ask="the abbreviation of {entity}", kind=Kind.CODE),
    Attribute(
        column="Capital",
        facet=0,
        sentences=(
            "Its capital is {value}.",
            "{value} is the capital of {entity}.",
            "The legislature meets in the capital, {value}.",
        ),
        ask="the capital of {entity}",
    ),
    Attribute(
        column="Statehood year",
        facet=1,
        sentences=(
            "{entity} became a state in {value}.",
            "It was admitted to the Union in {value}.",
            "Its statehood dates from {value}.",
        ),
        ask="the year of statehood of {entity}",
        kind=Kind.NUMBER,
        above="admitted to the Union after {value}",
        below="admitted to the Union before {value}",
        most="youngest",
    ),
    Attribute(
        column="Largest city",
        facet=2,
        sentences=(
            "The largest city is {value}.",
            "Its largest city is {value}.",
            "More people live in {value} than in any other city of {entity}.",
        ),
        ask="the largest city of {entity}",
    ),
    Attribute(
        column="Time zone",
        facet=2,
        sentences=("The capital keeps the time zone {value}.", "Its time zone is {value}."),
        ask="the time zone of {entity}",
        group="in the time zone {value}",
    ),
    Attribute(
        column="Counties",
        facet=2,
        sentences=(
            "{entity} is divided into {value} counties or equivalents.",
            "The number of counties is {value}.",
            "It has {value} counties or equivalents.",
        ),
        ask="the number of counties in {entity}",
        kind=Kind.NUMBER,
        above="with more than {value} counties",
        below="with fewer than {value} counties",
    ),
    Attribute(
        column="FIPS code",
        facet=2,
        sentences=("Federal offices use the FIPS code {value}.", "Its FIPS code is {value}."),
        ask="the FIPS code of {entity}",
        kind=Kind.CODE,
    ),
)

CENSUS = "us 4.0.0 (BSD-3-Clause; facts of the U.S. Census Bureau, public domain)"

DIVISIONS = {
    "New England": "CT ME MA NH RI VT",
    "the Middle Atlantic": "NJ NY PA",
    "the East North Central division": "IL IN MI OH WI",
    "the West North Central division": "IA KS MN MO NE ND SD",
    "the South Atlantic": "DE FL GA MD NC SC VA WV",
    "the East South Central division": "AL KY MS TN",
    "the West South Central division": "AR LA OK TX",
    "the Mountain division": "AZ CO ID MT NV NM UT WY",
    "the Pacific division": "AK CA HI OR WA",
}
"""Divisions of the U.S. Census Bureau."""


def states() -> list[Any]:
    """The records of `us`, by name."""
    return sorted(package("us").states.STATES, key=lambda state: state.name)


def county_names(state: Any) -> list[str]:
    """The names of a state's counties, by name."""
    return sorted({plain(county.name) for county in state.counties})


def build() -> Domain:
    """The fifty states, divided by census division."""
    return Domain(
        name="us_states",
        key="State",
        noun="U.S. state",
        nouns="U.S. states",
        facets=FACETS,
        attributes=ATTRIBUTES,
        entities=tuple(_entity(state) for state in states()),
        partition="Division",
        source=f"{CENSUS}; {GEONAMES} for the largest cities",
    )


def _entity(state: Any) -> Entity:
    division = next(name for name, codes in DIVISIONS.items() if state.abbr in codes.split())
    counties = county_names(state)
    largest = [
        city.name for city in cities() if city.country.code == "US" and city.admin == state.abbr
    ]
    notes = {
        0: (f"Newspapers shorten its name to {state.ap_abbr}",) if state.ap_abbr else (),
        1: (f"It is{'' if state.is_contiguous else ' not'} one of the contiguous states.",),
        2: (f"Among its counties are {', '.join(counties[:2])} and {counties[-1]}.",),
    }
    return Entity(
        name=state.name,
        values=known(
            {
                "Division": division,
                "Abbreviation": state.abbr,
                "Capital": state.capital,
                "Statehood year": str(state.statehood_year),
                "Largest city": plain(largest[0]) if largest else "",
                "Time zone": state.capital_tz,
                "Counties": str(len(counties)),
                "FIPS code": state.fips,
            }
        ),
        notes={facet: texts for facet, texts in notes.items() if texts},
    )
