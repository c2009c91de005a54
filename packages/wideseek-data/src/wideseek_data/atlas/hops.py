"""Short-answer questions about the atlas whose answer lies two or three pages away."""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from wideseek_core import Task, TextGold
from wideseek_data.atlas.chains import Chain, Hop
from wideseek_data.atlas.world import Domain, Entity, with_article

OF_COUNTRY = (
    "Capital", "Currency", "Currency code", "Calling code", "Internet domain", "Population",
    "Area", "Demonym", "Main language",
)  # fmt: skip
OF_CITY = ("Population", "Latitude", "Longitude", "Time zone")
OF_ELEMENT = ("Atomic number", "Density", "Melting point", "Discovery year", "CAS number")


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A way from one entity to another, and how a question words it."""

    path: tuple[tuple[str, str], ...]
    """Domain and column of each hop but the last."""
    end: str
    """Domain of the last hop."""
    asked: tuple[str, ...]
    """Columns that may be asked for there."""
    phrases: tuple[str, ...]
    """With `{name}`: the entity at the end, described from the start."""
    code: str = ""
    """Column given instead of the start's name; `phrases` then have `{code}` instead."""


ROUTES = (
    Route(
        path=(("airports", "Country"),),
        end="countries",
        asked=OF_COUNTRY,
        phrases=("the country where {name} lies", "the country that {name} belongs to"),
    ),
    Route(
        path=(("airports", "Country"),),
        end="countries",
        asked=OF_COUNTRY,
        phrases=("the country of the airport with the IATA code {code}",),
        code="IATA code",
    ),
    Route(
        path=(("cities", "Country"),),
        end="countries",
        asked=tuple(column for column in OF_COUNTRY if column != "Capital"),
        phrases=("the country in which the city of {name} lies", "the country of the city {name}"),
    ),
    Route(
        path=(("holidays", "Country"),),
        end="countries",
        asked=OF_COUNTRY,
        phrases=("the country that celebrates {name}",),
    ),
    Route(
        path=(("human_languages", "Main country"),),
        end="countries",
        asked=OF_COUNTRY,
        phrases=(
            "the country with the most speakers of {name}",
            "the country that has the most speakers of the {name} language",
        ),
    ),
    Route(
        path=(("human_languages", "Main country"),),
        end="countries",
        asked=OF_COUNTRY,
        phrases=("the country with the most speakers of the language with the ISO code {code}",),
        code="ISO code",
    ),
    Route(
        path=(("countries", "Capital"),),
        end="cities",
        asked=OF_CITY,
        phrases=("the capital of {name}", "the city that is the capital of {name}"),
    ),
    Route(
        path=(("us_states", "Largest city"),),
        end="cities",
        asked=OF_CITY,
        phrases=("the largest city of the U.S. state of {name}",),
    ),
    Route(
        path=(("airports", "City"),),
        end="cities",
        asked=("Population",),
        phrases=("the city served by {name}",),
    ),
    Route(
        path=(("isotopes", "Element"),),
        end="elements",
        asked=OF_ELEMENT,
        phrases=("the element that has the isotope {name}",),
    ),
    Route(
        path=(("airports", "Country"), ("countries", "Capital")),
        end="cities",
        asked=OF_CITY,
        phrases=("the capital of the country where {name} lies",),
    ),
    Route(
        path=(("airports", "Country"), ("countries", "Capital")),
        end="cities",
        asked=OF_CITY,
        phrases=("the capital of the country of the airport with the IATA code {code}",),
        code="IATA code",
    ),
    Route(
        path=(("human_languages", "Main country"), ("countries", "Capital")),
        end="cities",
        asked=OF_CITY,
        phrases=("the capital of the country with the most speakers of {name}",),
    ),
    Route(
        path=(("holidays", "Country"), ("countries", "Capital")),
        end="cities",
        asked=OF_CITY,
        phrases=("the capital of the country that celebrates {name}",),
    ),
)


def routes(domains: Sequence[Domain], rng: random.Random) -> Iterator[Chain]:
    """One question per start and route, where every page on the way exists and is of one split."""
    world = {domain.name: domain for domain in domains}
    names = {domain.name: {entity.name: entity for entity in domain.entities} for domain in domains}
    for route in ROUTES:
        for start in world[route.path[0][0]].entities:
            hops = _walk(route, start, world, names, rng)
            if hops and len({hop.domain.split_of(hop.entity) for hop in hops}) == 1:
                yield _chain(route, hops, rng)


def _walk(
    route: Route,
    start: Entity,
    world: Mapping[str, Domain],
    names: Mapping[str, Mapping[str, Entity]],
    rng: random.Random,
) -> tuple[Hop, ...]:
    """The hops, or none if a page on the way is missing."""
    hops: list[Hop] = []
    here: Entity | None = start
    nexts = [name for name, _ in route.path[1:]] + [route.end]
    for (domain, column), following in zip(route.path, nexts, strict=True):
        if here is None or column not in here.values:
            return ()
        if f"({here.values[column]})" in here.name:
            return ()  # the name gives the hop away: New Year's Day (Kyrgyzstan)
        code = here.values.get(route.code, "") if not hops else ""
        hops.append(Hop(domain=world[domain], entity=here, column=column, by_code=code))
        here = _same_land(here, names[following].get(here.values[column]), domain)
    known = [column for column in route.asked if here is not None and column in here.values]
    if here is None or not known:
        return ()
    return (*hops, Hop(domain=world[route.end], entity=here, column=rng.choice(known)))


def _same_land(here: Entity, there: Entity | None, domain: str) -> Entity | None:
    """`there`, unless it is a city of the same name in another country."""
    if there is None or "Country" not in there.values:
        return there
    land = {"countries": here.name, "us_states": "United States"}.get(
        domain, here.values.get("Country", "")
    )
    return there if there.values["Country"] == land else None


def _chain(route: Route, hops: tuple[Hop, ...], rng: random.Random) -> Chain:
    start, last = hops[0], hops[-1]
    subject = rng.choice(route.phrases).format(
        name=with_article(start.entity.name), code=start.by_code
    )
    asked = last.domain.attribute(last.column).ask.format(entity=subject)
    task = Task(
        id=f"qa-{rng.getrandbits(40):010x}",
        question=f"What is {asked}?",
        gold=TextGold(answers=(last.answer,)),
        source=f"{start.domain.name}/{len(hops)} hops",
    )
    return Chain(task=task, hops=hops)
