"""Major cities."""

import math
from collections import defaultdict

from wideseek_data.atlas.sources.gazetteer import FAMILY, GEONAMES, City, cities, countries
from wideseek_data.atlas.sources.text import count, decimal, plain, ranked
from wideseek_data.atlas.world import Attribute, Domain, Entity, Facet, Kind

SMALL, BIG = 20_000, 500_000
MIN_CITIES, MAX_CITIES = 6, 25
"""Cities of a country: the first six above `SMALL`, more only above `BIG`."""

FACETS = (
    Facet(title="{entity}", lead="{entity} is a major city in {Country}."),
    Facet(
        title="Demographics of {entity}",
        lead="The inhabitants of {entity} in {Country}: population.",
    ),
)

ATTRIBUTES = (
    Attribute(
        column="Country",
        facet=-1,
        ask="the country of {entity}",
        group="in {value}",
        list_title="Major cities in {value}",
    ),
    Attribute(
        column="Latitude",
        facet=0,
        sentences=(
            "It lies at latitude {value}.",
            "The latitude of {entity} is {value}.",
            "Maps show it at a latitude of {value}.",
        ),
        ask="the latitude of {entity}",
        kind=Kind.NUMBER,
        above="north of latitude {value}",
        below="south of latitude {value}",
        most="northernmost",
    ),
    Attribute(
        column="Longitude",
        facet=0,
        sentences=(
            "Its longitude is {value}.",
            "The longitude of {entity} is {value}.",
            "It is found at longitude {value}.",
        ),
        ask="the longitude of {entity}",
        kind=Kind.NUMBER,
        above="east of longitude {value}",
        below="west of longitude {value}",
        most="easternmost",
    ),
    Attribute(
        column="Time zone",
        facet=0,
        sentences=(
            "Clocks follow the time zone {value}.",
            "Its time zone is {value}.",
            "{entity} keeps the time of {value}.",
        ),
        ask="the time zone of {entity}",
        group="in the time zone {value}",
    ),
    Attribute(
        column="Population",
        facet=1,
        sentences=(
            "{entity} has a population of {value}.",
            "The city is home to {value} people.",
            "It has {value} inhabitants.",
            "Its population is given as {value}.",
        ),
        ask="the population of {entity}",
        kind=Kind.NUMBER,
        above="with more than {value} inhabitants",
        below="with fewer than {value} inhabitants",
        most="most populous",
    ),
)


def build() -> Domain:
    """A country's largest cities: six of any size above 20,000, more if they are big."""
    domain = Domain(
        name="cities",
        key="City",
        noun="major city",
        nouns="major cities",
        facets=FACETS,
        attributes=ATTRIBUTES,
        entities=tuple(_entity(name, city) for name, city in major().items()),
        partition="Subregion",
        family=FAMILY,
        source=GEONAMES,
    )
    return ranked(domain, "Population", "Country", by="by population", unit=" inhabitants")


def major() -> dict[str, City]:
    """The cities of the atlas by their names in it; of one name the largest keeps it plain."""
    taken = {country.name for country in countries().values()}
    near: dict[str, list[City]] = defaultdict(list)
    named: dict[str, City] = {}
    for city in cities():
        chosen = near[city.country.code]
        wanted = len(chosen) < (MAX_CITIES if city.population >= BIG else MIN_CITIES)
        if city.population < SMALL or not wanted or any(_holds(large, city) for large in chosen):
            continue
        name = plain(city.name)
        full = f"{name} (city)" if name == city.country.name else f"{name} ({city.country.name})"
        for option in (name, full):
            if option not in taken:
                taken.add(option)
                named[option] = city
                chosen.append(city)
                break
    return named


def _holds(large: City, city: City) -> bool:
    """Whether `city` lies so close to a much larger one that it is a suburb or a district of it."""
    apart = math.hypot(
        large.latitude - city.latitude,
        (large.longitude - city.longitude) * math.cos(math.radians(city.latitude)),
    )
    return large.population > 2.5 * city.population and apart < 0.2


def _entity(name: str, city: City) -> Entity:
    others = [
        other
        for other in city.other_names
        if other.isascii() and other.istitle() and ";" not in other and other != city.name
    ][:3]
    return Entity(
        name=name,
        values={
            "Country": city.country.name,
            "Subregion": city.country.subregion,
            "Latitude": decimal(city.latitude, 2),
            "Longitude": decimal(city.longitude, 2),
            "Time zone": city.zone,
            "Population": count(city.population),
        },
        notes={0: (f"Other spellings are {', '.join(others)}.",)} if len(others) > 1 else {},
    )
