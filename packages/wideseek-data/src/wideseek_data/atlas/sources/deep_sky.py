"""Galaxies, clusters and nebulae."""

import json
import re
from typing import Any

from wideseek_data.atlas.sources.text import decimal, known, package, plain, ranked, unique
from wideseek_data.atlas.world import Attribute, Domain, Entity, Facet, Kind

SOURCE = "OpenNGC (CC BY-SA 4.0), by way of pyongc 1.2.2 (MIT)"
FAINTEST = 11.0

FACETS = (
    Facet(title="{entity}", lead="{entity} is a deep-sky object in {Constellation}."),
    Facet(
        title="Observation of {entity}",
        lead="Observing {entity}: magnitude, apparent size, right ascension and declination.",
    ),
)

ATTRIBUTES = (
    Attribute(
        column="Constellation",
        facet=-1,
        ask="the constellation of {entity}",
        group="in {value}",
        list_title="Deep-sky objects in {value}",
    ),
    Attribute(
        column="Type",
        facet=0,
        sentences=(
            "It is classified as {value}.",
            "Catalogues describe {entity} as {value}.",
            "By its type it is {value}.",
        ),
        ask="the type of {entity}",
        group="classified as {value}",
    ),
    Attribute(
        column="Common name",
        facet=0,
        sentences=(
            "Amateurs call it the {value}.",
            "Its common name is {value}.",
            "It is also called {value}.",
        ),
        ask="the common name of {entity}",
    ),
    Attribute(
        column="Messier number",
        facet=0,
        sentences=(
            "Charles Messier listed it as {value}.",
            "In the catalogue of Messier it is {value}.",
        ),
        ask="the Messier number of {entity}",
        kind=Kind.CODE,
    ),
    Attribute(
        column="Radial velocity",
        facet=0,
        sentences=(
            "Its radial velocity is {value} km/s.",
            "It moves along the line of sight at {value} kilometres per second.",
        ),
        ask="the radial velocity of {entity} in kilometres per second",
        kind=Kind.NUMBER,
        above="with a radial velocity above {value} kilometres per second",
        below="with a radial velocity below {value} kilometres per second",
    ),
    Attribute(
        column="Magnitude",
        facet=1,
        sentences=(
            "Its visual magnitude is {value}.",
            "{entity} shines at magnitude {value}.",
            "The object has a magnitude of {value}.",
        ),
        ask="the visual magnitude of {entity}",
        kind=Kind.NUMBER,
        above="fainter than magnitude {value}",
        below="brighter than magnitude {value}",
        most="faintest",
    ),
    Attribute(
        column="Apparent size",
        facet=1,
        sentences=(
            "Its longer axis spans {value} arcminutes.",
            "The apparent size is {value} arcminutes.",
            "It extends over {value} arcminutes of the sky.",
        ),
        ask="the apparent size of {entity} in arcminutes",
        kind=Kind.NUMBER,
        above="more than {value} arcminutes across",
        below="less than {value} arcminutes across",
        most="visually largest",
    ),
    Attribute(
        column="Right ascension",
        facet=1,
        sentences=("Its right ascension is {value}.", "The right ascension is {value}."),
        ask="the right ascension of {entity}",
        kind=Kind.CODE,
    ),
    Attribute(
        column="Declination",
        facet=1,
        sentences=("Its declination is {value}.", "The declination is {value}."),
        ask="the declination of {entity}",
        kind=Kind.CODE,
    ),
)

TYPES = {
    "Galaxy": "a galaxy",
    "Open Cluster": "an open cluster",
    "Globular Cluster": "a globular cluster",
    "Planetary Nebula": "a planetary nebula",
    "Star cluster + Nebula": "a cluster with nebula",
    "Star": "a star",
    "Nebula": "a nebula",
    "Association of stars": "a stellar association",
    "Double star": "a double star",
    "HII Ionized region": "an HII region",
    "Supernova remnant": "a supernova remnant",
    "Reflection Nebula": "a reflection nebula",
    "Emission Nebula": "an emission nebula",
}

CONSTELLATIONS = {
    "And": "Andromeda", "Ant": "Antlia", "Aps": "Apus", "Aqr": "Aquarius", "Aql": "Aquila",
    "Ara": "Ara", "Ari": "Aries", "Aur": "Auriga", "Boo": "Boötes", "Cae": "Caelum",
    "Cam": "Camelopardalis", "Cnc": "Cancer", "CVn": "Canes Venatici", "CMa": "Canis Major",
    "CMi": "Canis Minor", "Cap": "Capricornus", "Car": "Carina", "Cas": "Cassiopeia",
    "Cen": "Centaurus", "Cep": "Cepheus", "Cet": "Cetus", "Cha": "Chamaeleon", "Cir": "Circinus",
    "Col": "Columba", "Com": "Coma Berenices", "CrA": "Corona Australis", "CrB": "Corona Borealis",
    "Crv": "Corvus", "Crt": "Crater", "Cru": "Crux", "Cyg": "Cygnus", "Del": "Delphinus",
    "Dor": "Dorado", "Dra": "Draco", "Equ": "Equuleus", "Eri": "Eridanus", "For": "Fornax",
    "Gem": "Gemini", "Gru": "Grus", "Her": "Hercules", "Hor": "Horologium", "Hya": "Hydra",
    "Hyi": "Hydrus", "Ind": "Indus", "Lac": "Lacerta", "Leo": "Leo", "LMi": "Leo Minor",
    "Lep": "Lepus", "Lib": "Libra", "Lup": "Lupus", "Lyn": "Lynx", "Lyr": "Lyra", "Men": "Mensa",
    "Mic": "Microscopium", "Mon": "Monoceros", "Mus": "Musca", "Nor": "Norma", "Oct": "Octans",
    "Oph": "Ophiuchus", "Ori": "Orion", "Pav": "Pavo", "Peg": "Pegasus", "Per": "Perseus",
    "Phe": "Phoenix", "Pic": "Pictor", "Psc": "Pisces", "PsA": "Piscis Austrinus", "Pup": "Puppis",
    "Pyx": "Pyxis", "Ret": "Reticulum", "Sge": "Sagitta", "Sgr": "Sagittarius", "Sco": "Scorpius",
    "Scl": "Sculptor", "Sct": "Scutum", "Se1": "Serpens Caput", "Se2": "Serpens Cauda",
    "Sex": "Sextans", "Tau": "Taurus", "Tel": "Telescopium", "Tri": "Triangulum",
    "TrA": "Triangulum Australe", "Tuc": "Tucana", "UMa": "Ursa Major", "UMi": "Ursa Minor",
    "Vel": "Vela", "Vir": "Virgo", "Vol": "Volans", "Vul": "Vulpecula",
}  # fmt: skip

CATALOGUES = {"Cl": "Collinder", "H": "Harvard", "Mel": "Melotte", "M": "Messier"}


def build() -> Domain:
    """Objects brighter than visual magnitude 11, divided by constellation."""
    ongc = package("pyongc.ongc")
    raw = [item.to_json() for item in ongc.listObjects(uptovmag=FAINTEST)]
    objects: list[dict[str, Any]] = [
        json.loads(item) if isinstance(item, str) else item for item in raw
    ]
    domain = Domain(
        name="deep_sky",
        key="Object",
        noun="deep-sky object",
        nouns="deep-sky objects",
        facets=FACETS,
        attributes=ATTRIBUTES,
        entities=unique(
            _entity(item)
            for item in sorted(objects, key=lambda item: item["name"])
            if item["constellation"] in CONSTELLATIONS
        ),
        partition="Constellation",
        family="openngc",
        source=SOURCE,
    )
    return ranked(
        domain, "Apparent size", "Constellation", by="by apparent size", unit=" arcminutes"
    )


def _entity(item: dict[str, Any]) -> Entity:
    sky: dict[str, str] = item["coordinates"]
    ids, size = item["other identifiers"], item["dimensions"]["major axis"]
    common = [plain(name) for name in ids["common names"] or () if name[0].isupper()]
    messier, velocity = ids["messier"], item["radial velocity"]
    others = [plain(name) for name in ids["other catalogs"] or ()][:2]
    return Entity(
        name=catalogue_name(item["name"]),
        values=known(
            {
                "Constellation": CONSTELLATIONS[item["constellation"]],
                "Type": TYPES.get(item["type"], ""),
                "Common name": common[0] if common else "",
                "Messier number": f"M{messier.lstrip('M').lstrip('0')}" if messier else "",
                "Radial velocity": str(velocity) if velocity else "",
                "Magnitude": decimal(item["magnitudes"]["V-band"], 2),
                "Apparent size": decimal(size, 2) if size else "",
                "Right ascension": sky["right ascension"][:5].replace(":", "h") + "m",
                "Declination": sky["declination"][:6].replace(":", "°") + "'",
            }
        ),
        notes={0: (f"Other catalogues list it as {' and '.join(others)}.",)} if others else {},
    )


def catalogue_name(name: str) -> str:
    """`NGC0224` as people write it: `NGC 224`."""
    match = re.fullmatch(r"([A-Za-z]+)0*(\d[\d-]*.*)", name)
    if match is None:
        return name
    catalogue, rest = match.groups()
    return f"{CATALOGUES.get(catalogue, catalogue)} {rest}"
