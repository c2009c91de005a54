"""Chemical elements and their long-lived isotopes."""

import sqlite3
from functools import cache
from typing import Any

from wideseek_data.atlas.sources.text import decimal, folder, known, plain, ranked
from wideseek_data.atlas.world import Attribute, Domain, Entity, Facet, Kind

FAMILY = "chemistry"
"""Elements and isotopes are divided into splits by the group of the periodic table."""
SOURCE = "mendeleev 1.3.0 (MIT)"

FACETS = (
    Facet(
        title="{entity}",
        lead="{entity} (symbol {Symbol}) is a chemical element of {Group}. "
        "This page gives its atomic number, period, electronegativity and CAS number.",
    ),
    Facet(
        title="Discovery of {entity}",
        lead="How {entity} was found: discoverer, discovery year and discovery country.",
    ),
    Facet(
        title="Physical properties of {entity}",
        lead="{entity} in figures: "
        "density, melting point, boiling point, atomic weight and crystal lattice.",
    ),
)

ATTRIBUTES = (
    Attribute(
        column="Group",
        facet=-1,
        ask="the group of {entity}",
        group="of {value}",
        list_title="Chemical elements of {value}",
    ),
    Attribute(column="Symbol", facet=-1, ask="the symbol of {entity}", kind=Kind.CODE),
    Attribute(
        column="Atomic number",
        facet=0,
        sentences=(
            "Its atomic number is {value}.",
            "The nucleus holds {value} protons, which is its atomic number.",
            "{entity} has the atomic number {value}.",
        ),
        ask="the atomic number of {entity}",
        kind=Kind.NUMBER,
        above="with an atomic number above {value}",
        below="with an atomic number below {value}",
        most="highest-numbered",
    ),
    Attribute(
        column="Period",
        facet=0,
        sentences=(
            "It stands in period {value} of the periodic table.",
            "Its period is {value}.",
            "{entity} belongs to period {value}.",
        ),
        ask="the period of {entity}",
        group="in period {value}",
        list_title="Chemical elements in period {value}",
    ),
    Attribute(
        column="Electronegativity",
        facet=0,
        sentences=(
            "Its electronegativity on the Pauling scale is {value}.",
            "{entity} has an electronegativity of {value}.",
        ),
        ask="the electronegativity of {entity}",
        kind=Kind.NUMBER,
        above="with an electronegativity above {value}",
        below="with an electronegativity below {value}",
        most="most electronegative",
    ),
    Attribute(
        column="CAS number",
        facet=0,
        sentences=(
            "Chemical registers file it under the CAS number {value}.",
            "Its CAS number is {value}.",
        ),
        ask="the CAS number of {entity}",
        kind=Kind.CODE,
    ),
    Attribute(
        column="Discoverer",
        facet=1,
        sentences=(
            "{entity} was discovered by {value}.",
            "Its discovery is credited to {value}.",
            "The discoverer is given as {value}.",
        ),
        ask="the discoverer of {entity}",
    ),
    Attribute(
        column="Discovery year",
        facet=1,
        sentences=(
            "The discovery was made in {value}.",
            "It was first identified in {value}.",
            "Its discovery dates from {value}.",
        ),
        ask="the discovery year of {entity}",
        kind=Kind.NUMBER,
        above="discovered after {value}",
        below="discovered before {value}",
        most="most recently discovered",
    ),
    Attribute(
        column="Discovery country",
        facet=1,
        sentences=(
            "The work was done in {value}.",
            "The country of discovery is {value}.",
            "It was found in {value}.",
        ),
        ask="the country in which {entity} was discovered",
        group="discovered in {value}",
    ),
    Attribute(
        column="Density",
        facet=2,
        sentences=(
            "{entity} has a density of {value} grams per cubic centimetre.",
            "Its density is {value} g/cm3.",
        ),
        ask="the density of {entity} in grams per cubic centimetre",
        kind=Kind.NUMBER,
        above="with a density above {value} grams per cubic centimetre",
        below="with a density below {value} grams per cubic centimetre",
        most="densest",
    ),
    Attribute(
        column="Melting point",
        facet=2,
        sentences=(
            "It melts at {value} kelvins.",
            "The melting point is {value} K.",
            "Its melting point is {value} kelvins.",
        ),
        ask="the melting point of {entity} in kelvins",
        kind=Kind.NUMBER,
        above="with a melting point above {value} kelvins",
        below="with a melting point below {value} kelvins",
    ),
    Attribute(
        column="Boiling point",
        facet=2,
        sentences=("It boils at {value} kelvins.", "The boiling point is {value} K."),
        ask="the boiling point of {entity} in kelvins",
        kind=Kind.NUMBER,
        above="with a boiling point above {value} kelvins",
        below="with a boiling point below {value} kelvins",
    ),
    Attribute(
        column="Atomic weight",
        facet=2,
        sentences=("Its standard atomic weight is {value}.", "The atomic weight is {value}."),
        ask="the atomic weight of {entity}",
        kind=Kind.NUMBER,
    ),
    Attribute(
        column="Crystal lattice",
        facet=2,
        sentences=(
            "Its crystal lattice is of the type {value}.",
            "Crystals of {entity} have the lattice {value}.",
        ),
        ask="the crystal lattice of {entity}",
        group="with the crystal lattice {value}",
    ),
)

ISOTOPE_FACETS = (
    Facet(title="{entity}", lead="{entity} is a long-lived isotope of {Element}."),
    Facet(
        title="Nuclear data of {entity}",
        lead="{entity} measured: half-life, abundance, nuclear spin and atomic mass.",
    ),
)

ISOTOPE_ATTRIBUTES = (
    Attribute(
        column="Element",
        facet=-1,
        ask="the element of {entity}",
        group="of {value}",
        list_title="Long-lived isotopes of {value}",
    ),
    Attribute(
        column="Neutrons",
        facet=0,
        sentences=(
            "Its nucleus holds {value} neutrons.",
            "The number of neutrons is {value}.",
            "Each atom has {value} neutrons.",
        ),
        ask="the number of neutrons in {entity}",
        kind=Kind.NUMBER,
        above="with more than {value} neutrons",
        below="with fewer than {value} neutrons",
        most="heaviest",
    ),
    Attribute(
        column="Stability",
        facet=0,
        sentences=("It is {value}.", "Nuclear physicists class it as {value}."),
        ask="the stability of {entity}",
        group="classed as {value}",
    ),
    Attribute(
        column="Discovery year",
        facet=0,
        sentences=(
            "It was discovered in {value}.",
            "Its discovery year is {value}.",
            "Physicists first reported it in {value}.",
        ),
        ask="the discovery year of {entity}",
        kind=Kind.NUMBER,
        above="discovered after {value}",
        below="discovered before {value}",
    ),
    Attribute(
        column="Half-life",
        facet=1,
        sentences=("Its half-life is {value}.", "Half of a sample decays within {value}."),
        ask="the half-life of {entity}",
    ),
    Attribute(
        column="Abundance",
        facet=1,
        sentences=(
            "It makes up {value} per cent of the natural element.",
            "Its natural abundance is {value} per cent.",
        ),
        ask="the natural abundance of {entity} in per cent",
        kind=Kind.NUMBER,
        above="with a natural abundance above {value} per cent",
        below="with a natural abundance below {value} per cent",
        most="most abundant",
    ),
    Attribute(
        column="Nuclear spin",
        facet=1,
        sentences=("The nuclear spin is {value}.", "It has the nuclear spin {value}."),
        ask="the nuclear spin of {entity}",
        group="with the nuclear spin {value}",
    ),
    Attribute(
        column="Atomic mass",
        facet=1,
        sentences=("Its atomic mass is {value} daltons.", "One atom weighs {value} daltons."),
        ask="the atomic mass of {entity} in daltons",
        kind=Kind.NUMBER,
    ),
)

UNITS = {
    "year": "years",
    "kyear": "thousand years",
    "Myear": "million years",
    "Gyear": "billion years",
    "Tyear": "trillion years",
}


def build() -> Domain:
    """All elements, divided by their group of the periodic table."""
    domain = Domain(
        name="elements",
        key="Element",
        noun="chemical element",
        nouns="chemical elements",
        facets=FACETS,
        attributes=ATTRIBUTES,
        entities=tuple(_element(row) for row in rows("elements", "atomic_number")),
        partition="Group",
        family=FAMILY,
        source=SOURCE,
    )
    domain = ranked(domain, "Density", "Group", by="by density", unit=" grams per cubic centimetre")
    return ranked(domain, "Atomic number", "Period", by="by atomic number")


def build_isotopes() -> Domain:
    """Isotopes that occur in nature and those with half-lives counted in years."""
    names = {row["atomic_number"]: row for row in rows("elements", "atomic_number")}
    isotopes = [
        _isotope(row, names[row["atomic_number"]])
        for row in rows("isotopes", "atomic_number, mass_number")
        if row["abundance"] or (row["half_life"] and row["half_life_unit"] in UNITS)
    ]
    domain = Domain(
        name="isotopes",
        key="Isotope",
        noun="long-lived isotope",
        nouns="long-lived isotopes",
        facets=ISOTOPE_FACETS,
        attributes=ISOTOPE_ATTRIBUTES,
        entities=tuple(isotopes),
        partition="Group",
        family=FAMILY,
        source=SOURCE,
    )
    return ranked(domain, "Abundance", "Element", by="by abundance", unit=" per cent")


@cache
def rows(table: str, order: str) -> tuple[dict[str, Any], ...]:
    """A table of mendeleev's database, read directly: the package itself imports pandas."""
    with sqlite3.connect(folder("mendeleev") / "elements.db") as database:
        database.row_factory = sqlite3.Row
        found = [dict(row) for row in database.execute(f"select * from {table} order by {order}")]
    database.close()
    return tuple(found)


def group_of(row: dict[str, Any]) -> str:
    """`group 8`, or the name of the series that has no group number."""
    if row["group_id"]:
        return f"group {row['group_id']}"
    return "the lanthanides" if row["period"] == 6 else "the actinides"


def _element(row: dict[str, Any]) -> Entity:
    phases = [
        item
        for item in rows("phasetransitions", "id")
        if item["atomic_number"] == row["atomic_number"] and not item["allotrope"]
    ]
    melting, boiling = (
        phases[0][key] if phases else None for key in ("melting_point", "boiling_point")
    )
    discoverers = plain(row["discoverers"] or "").rstrip(".")
    country = plain(row["discovery_location"] or "")
    notes = {
        0: tuple(_sentence(row["uses"])),
        1: tuple(f"On the origin of its name: {text}" for text in _sentence(row["name_origin"])),
    }
    return Entity(
        name=row["name"],
        values=known(
            {
                "Group": group_of(row),
                "Symbol": row["symbol"],
                "Atomic number": str(row["atomic_number"]),
                "Period": str(row["period"]),
                "Electronegativity": _decimal(row["en_pauling"], 2),
                "CAS number": row["cas"],
                "Discoverer": discoverers
                if row["discovery_year"] and len(discoverers) < 60
                else "",
                "Discovery year": str(row["discovery_year"] or ""),
                "Discovery country": country if len(country) < 30 else "",
                "Density": _decimal(row["density"], 3),
                "Melting point": _decimal(melting, 1),
                "Boiling point": _decimal(boiling, 1),
                "Atomic weight": _decimal(row["atomic_weight"], 3),
                "Crystal lattice": row["lattice_structure"],
            }
        ),
        notes={facet: texts for facet, texts in notes.items() if texts},
    )


def _isotope(row: dict[str, Any], element: dict[str, Any]) -> Entity:
    lives = row["half_life"] and UNITS.get(row["half_life_unit"])
    half_life = f"{decimal(row['half_life'], 2)} {lives}" if lives else ""
    return Entity(
        name=f"{element['name']}-{row['mass_number']}",
        values=known(
            {
                "Element": element["name"],
                "Group": group_of(element),
                "Neutrons": str(row["mass_number"] - row["atomic_number"]),
                "Stability": "radioactive" if half_life else "" if row["half_life"] else "stable",
                "Discovery year": str(row["discovery_year"] or ""),
                "Half-life": half_life,
                "Abundance": _decimal(row["abundance"], 4),
                "Nuclear spin": (row["spin"] or "") + (row["parity"] or "") if row["spin"] else "",
                "Atomic mass": _decimal(row["mass"], 4),
            }
        ),
    )


def _decimal(value: float | None, places: int) -> str:
    text = "" if value is None else decimal(value, places)
    return "" if text in ("0", "-0") else text


def _sentence(text: str | None) -> list[str]:
    """The first sentence of a longer text, if it is a short one."""
    first = plain(text or "").split(". ")[0].rstrip(".")
    return [first + "."] if 10 < len(first) < 140 else []
