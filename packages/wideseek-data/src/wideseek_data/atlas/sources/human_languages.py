"""Human languages."""

from collections import defaultdict
from typing import Any

from wideseek_data.atlas.sources.gazetteer import CLDR, FAMILY, countries
from wideseek_data.atlas.sources.text import decimal, known, package, plain, ranked, unique
from wideseek_data.atlas.world import Attribute, Domain, Entity, Facet, Kind

FACETS = (
    Facet(
        title="{entity} language",
        lead="{entity} (ISO code {ISO code}) is a human language. "
        "This page names its subregion and script.",
    ),
    Facet(
        title="Speakers of {entity}",
        lead="Who speaks {entity}: "
        "main country, share of speakers, status and number of countries.",
    ),
)

ATTRIBUTES = (
    Attribute(column="ISO code", facet=-1, ask="the ISO code of {entity}", kind=Kind.CODE),
    Attribute(
        column="Subregion",
        facet=0,
        sentences=(
            "It is a language of {value}.",
            "Its home is {value}.",
            "The language is at home in {value}.",
        ),
        ask="the subregion where {entity} is at home",
        group="of {value}",
        list_title="Languages of {value}",
    ),
    Attribute(
        column="Script",
        facet=0,
        sentences=(
            "It is usually written in the {value} script.",
            "Its script is {value}.",
            "Texts in {entity} mostly use the {value} script.",
        ),
        ask="the script of {entity}",
        group="written in the {value} script",
    ),
    Attribute(
        column="Main country",
        facet=1,
        sentences=(
            "More of its speakers live in {value} than anywhere else.",
            "{value} is the country with the most speakers.",
            "Its main country is {value}.",
        ),
        ask="the main country of {entity}",
        group="spoken mainly in {value}",
        list_title="Languages spoken mainly in {value}",
    ),
    Attribute(
        column="Share of speakers",
        facet=1,
        sentences=(
            "There {value} per cent of the inhabitants speak it.",
            "Its speakers there are {value} per cent of the population.",
            "The share of speakers there is {value} per cent.",
        ),
        ask="the share of inhabitants of its main country who speak {entity}, in per cent",
        kind=Kind.NUMBER,
        above="with a share of speakers above {value} per cent",
        below="with a share of speakers below {value} per cent",
    ),
    Attribute(
        column="Status",
        facet=1,
        sentences=("Its status there is {value}.", "By law its status is {value}."),
        ask="the legal status of {entity} in its main country",
        group="with the status {value}",
    ),
    Attribute(
        column="Number of countries",
        facet=1,
        sentences=(
            "The number of countries with speakers is {value}.",
            "Speakers are counted in this number of countries: {value}.",
        ),
        ask="the number of countries where {entity} is spoken",
        kind=Kind.NUMBER,
        above="with speakers in more than {value} countries",
        below="with speakers in fewer than {value} countries",
        most="most widespread",
    ),
)

STATUSES = {
    "official": "official",
    "de_facto_official": "official in practice",
    "official_regional": "official in a region",
    "official_minority": "official for a minority",
}


def build() -> Domain:
    """The languages whose speakers CLDR counts, divided by the subregion of their main country."""
    english = package("babel").Locale("en")
    spoken = _speakers()
    made = [_entity(code, english, uses) for code, uses in sorted(spoken.items())]
    domain = Domain(
        name="human_languages",
        key="Language",
        noun="language",
        nouns="languages",
        facets=FACETS,
        attributes=ATTRIBUTES,
        entities=unique(entity for entity in made if entity is not None),
        partition="Subregion",
        family=FAMILY,
        source=f"{CLDR}; ISO 639-3 codes by way of pycountry 26.2.16 (LGPL-2.1)",
    )
    return ranked(domain, "Share of speakers", "Main country", by="by share", unit=" per cent")


def _speakers() -> dict[str, dict[str, dict[str, Any]]]:
    """Per language and territory: percentage of the population and status."""
    found: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
    territories = package("babel.core").get_global("territory_languages")
    for territory, languages in sorted(territories.items()):
        for code, facts in languages.items():
            if territory in countries() and "_" not in code and facts["population_percent"] > 0:
                found[code][territory] = facts
    return found


def _entity(code: str, english: Any, uses: dict[str, dict[str, Any]]) -> Entity | None:
    name = english.languages.get(code)
    language = package("pycountry").languages
    record = language.get(alpha_2=code) or language.get(alpha_3=code)
    if not name or record is None:
        return None
    main = max(
        uses, key=lambda key: (uses[key]["population_percent"] * countries()[key].population, key)
    )
    tag = package("babel.core").get_global("likely_subtags").get(code, "").split("_")
    script = english.scripts.get(tag[1], "") if len(tag) > 1 else ""
    country = countries()[main]
    share = decimal(float(uses[main]["population_percent"]), 2)
    return Entity(
        name=plain(name),
        values=known(
            {
                "ISO code": record.alpha_3,
                "Subregion": country.subregion,
                "Script": script,
                "Main country": country.name,
                "Share of speakers": share if share != "0" else "",
                "Status": STATUSES.get(uses[main]["official_status"] or "", "not official"),
                "Number of countries": str(len(uses)),
            }
        ),
    )
