"""Pages that no question asks about: near-duplicates, namesakes and irrelevant lists.

They are true as well, and mislead a search that is not careful.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence

from wideseek_data.atlas.sources.cities import major
from wideseek_data.atlas.sources.gazetteer import CLDR, GEONAMES, countries
from wideseek_data.atlas.sources.text import package, plain, share
from wideseek_data.atlas.sources.us_states import CENSUS, county_names, states
from wideseek_data.atlas.world import Domain, WorldPage, entity_pages


def extra_pages(domains: Sequence[Domain]) -> Iterator[WorldPage]:
    """All of them, in a fixed order."""
    yield from glances(domains)
    yield from namesakes(domains)
    yield from city_names()
    yield from county_lists()
    yield from currencies()
    yield from weekdays()


def glances(domains: Sequence[Domain]) -> Iterator[WorldPage]:
    """Second pages that repeat a lead and tell none of the facts."""
    for domain in domains:
        for entity in domain.entities:
            if share(f"glance/{domain.name}/{entity.name}") < 0.05:
                page = next(entity_pages(domain, entity))
                listed = [facet.title.format(entity=entity.name) for facet in domain.facets[1:]]
                yield WorldPage(
                    title=f"{entity.name} at a glance",
                    lead=page.lead,
                    body=f"For figures see {' and '.join(listed or [page.title])}.",
                    source=domain.source,
                )


def namesakes(domains: Sequence[Domain]) -> Iterator[WorldPage]:
    """Pages that tell things of one name apart."""
    found: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for domain in domains:
        for entity in domain.entities:
            bare = re.sub(r" \([^)]*\)$", "", entity.name)
            found[bare].append((domain.title(entity, 0), domain.noun))
    for bare, meanings in sorted(found.items()):
        if len(meanings) > 1:
            listed = "; ".join(f"{title}, {_article(noun)} {noun}" for title, noun in meanings)
            yield WorldPage(
                title=f"{bare} (disambiguation)",
                lead=f"{bare} may mean one of several things.",
                body=f"It may mean: {listed}.",
                source="compiled from the other pages",
            )


def city_names() -> Iterator[WorldPage]:
    """What some cities are called elsewhere."""
    for name, city in major().items():
        others = [plain(other) for other in city.other_names if other != city.name][:12]
        if len(others) > 3 and share(f"names/{name}") < 0.12:
            yield WorldPage(
                title=f"Names of {name}",
                lead=f"What {name} in {city.country.name} is called in other languages.",
                body=f"Recorded names are {', '.join(others)}.",
                source=GEONAMES,
            )


def county_lists() -> Iterator[WorldPage]:
    """The counties of each U.S. state."""
    for state in states():
        names = county_names(state)
        yield WorldPage(
            title=f"Counties of {state.name}",
            lead=f"List of counties and equivalents in {state.name}.",
            body=f"{len(names)} entries: {'; '.join(names)}.",
            source=CENSUS,
        )


def currencies() -> Iterator[WorldPage]:
    """Currencies by themselves."""
    english = package("babel").Locale("en")
    users: dict[str, list[str]] = defaultdict(list)
    for country in countries().values():
        if country.currency:
            users[country.currency_code].append(country.name)
    for code, names in sorted(users.items()):
        name = english.currencies[code]
        yield WorldPage(
            title=f"{name} (currency)",
            lead=f"The {name} is a currency.",
            body=f"Prices are marked with {english.currency_symbols.get(code, code)}. "
            f"Users among the countries and territories of the atlas: {len(names)}.",
            source=f"{GEONAMES}; {CLDR}",
        )


def weekdays() -> Iterator[WorldPage]:
    """The days of the week in the languages for which CLDR has them."""
    babel = package("babel")
    english = babel.Locale("en")
    for code in sorted(babel.localedata.locale_identifiers()):
        name = english.languages.get(code)
        if not name or "_" in code:
            continue
        days = babel.Locale(code).days["format"]["wide"]
        if days[0] not in ("Monday", "Mon"):
            listed = ", ".join(str(days[number]) for number in range(7))
            yield WorldPage(
                title=f"Days of the week in {name}",
                lead=f"How the days of the week are called in {name}.",
                body=f"From Monday to Sunday they are {plain(listed)}.",
                source=CLDR,
            )


def _article(noun: str) -> str:
    return "an" if noun[0] in "aeio" else "a"
