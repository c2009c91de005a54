"""International airports."""

from collections import defaultdict
from functools import cache
from typing import Any

from wideseek_data.atlas.sources.gazetteer import FAMILY, countries
from wideseek_data.atlas.sources.text import count, decimal, known, package, plain, ranked, unique
from wideseek_data.atlas.world import Attribute, Domain, Entity, Facet, Kind

FACETS = (
    Facet(
        title="{entity}",
        lead="{entity} (IATA: {IATA code}) is an international airport in {Country}.",
    ),
    Facet(
        title="Location of {entity}",
        lead="Where {entity} lies: elevation, latitude, longitude and time zone.",
    ),
)

ATTRIBUTES = (
    Attribute(
        column="Country",
        facet=-1,
        ask="the country of {entity}",
        group="in {value}",
        list_title="International airports in {value}",
    ),
    Attribute(column="IATA code", facet=-1, ask="the IATA code of {entity}", kind=Kind.CODE),
    Attribute(
        column="City",
        facet=0,
        sentences=(
            "It serves the city of {value}.",
            "The city served is {value}.",
            "Passengers use it to reach {value}.",
        ),
        ask="the city served by {entity}",
    ),
    Attribute(
        column="Region",
        facet=0,
        sentences=(
            "It is in the region of {value}.",
            "The region around it is {value}.",
            "It belongs to the region of {value}.",
        ),
        ask="the region of {entity}",
        group="in the region of {value}",
        list_title="International airports in the region of {value}",
    ),
    Attribute(
        column="ICAO code",
        facet=0,
        sentences=(
            "Air traffic control knows it by the ICAO code {value}.",
            "Its ICAO code is {value}.",
            "Pilots file flight plans with {value}, its ICAO code.",
        ),
        ask="the ICAO code of {entity}",
        kind=Kind.CODE,
    ),
    Attribute(
        column="Elevation",
        facet=1,
        sentences=(
            "The airport stands {value} feet above sea level.",
            "Its elevation is {value} feet.",
            "The elevation of the field is {value} feet.",
        ),
        ask="the elevation of {entity} in feet",
        kind=Kind.NUMBER,
        above="more than {value} feet above sea level",
        below="less than {value} feet above sea level",
        most="highest",
    ),
    Attribute(
        column="Latitude",
        facet=1,
        sentences=("Its latitude is {value}.", "It lies at a latitude of {value}."),
        ask="the latitude of {entity}",
        kind=Kind.NUMBER,
        above="north of latitude {value}",
        below="south of latitude {value}",
        most="northernmost",
    ),
    Attribute(
        column="Longitude",
        facet=1,
        sentences=("Its longitude is {value}.", "The longitude is {value}."),
        ask="the longitude of {entity}",
        kind=Kind.NUMBER,
        above="east of longitude {value}",
        below="west of longitude {value}",
        most="easternmost",
    ),
    Attribute(
        column="Time zone",
        facet=1,
        sentences=(
            "The airport keeps the time zone {value}.",
            "Departure times are given in the time zone {value}.",
            "Its time zone is {value}.",
        ),
        ask="the time zone of {entity}",
        group="in the time zone {value}",
    ),
)


def build() -> Domain:
    """Airports that call themselves international and have both codes."""
    domain = Domain(
        name="airports",
        key="Airport",
        noun="international airport",
        nouns="international airports",
        facets=FACETS,
        attributes=ATTRIBUTES,
        entities=unique(_entity(item) for item in international()),
        partition="Subregion",
        family=FAMILY,
        source="airportsdata 20260905 (MIT)",
    )
    return ranked(domain, "Elevation", "Country", by="by elevation", unit=" feet")


@cache
def international() -> tuple[dict[str, Any], ...]:
    """Rows of airportsdata, ordered by IATA code."""
    rows = package("airportsdata").load("IATA")
    return tuple(
        row
        for _, row in sorted(rows.items())
        if any(word in row["name"] for word in ("Intl", "Int'l", "nternational"))
        and row["country"] in countries()
        and row["city"]
        and row["icao"]
    )


@cache
def _regions() -> set[str]:
    """Regions whose name belongs to one country only."""
    found: dict[str, set[str]] = defaultdict(set)
    for row in international():
        found[row["subd"]].add(row["country"])
    return {name for name, owners in found.items() if name and len(owners) == 1}


def _entity(row: dict[str, Any]) -> Entity:
    country = countries()[row["country"]]
    region = plain(row["subd"])
    return Entity(
        name=airport_name(row),
        values=known(
            {
                "Country": country.name,
                "Subregion": country.subregion,
                "IATA code": row["iata"],
                "City": plain(row["city"]),
                "Region": region if row["subd"] in _regions() and region != country.name else "",
                "ICAO code": row["icao"],
                "Elevation": count(row["elevation"]),
                "Latitude": decimal(row["lat"], 2),
                "Longitude": decimal(row["lon"], 2),
                "Time zone": row["tz"],
            }
        ),
    )


def airport_name(row: dict[str, Any]) -> str:
    """With abbreviations written out."""
    return plain(row["name"].replace("Int'l", "International").replace(" Intl", " International"))
