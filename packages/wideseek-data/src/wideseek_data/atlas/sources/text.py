"""What all sources share: data packages, numbers as pages write them, ranking notes."""

import hashlib
import importlib
import importlib.util
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from wideseek_core import DataError
from wideseek_data.atlas.wide import number
from wideseek_data.atlas.world import Attribute, Domain, Entity, with_article


def package(name: str) -> Any:
    """A data package. Raises `DataError` if it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError:
        raise DataError(f"{name} is missing: install wideseek-data[atlas-build]") from None


def folder(name: str) -> Path:
    """Where a data package lies, found without importing it (some import half of PyPI)."""
    found = importlib.util.find_spec(name)
    if found is None or found.origin is None:
        raise DataError(f"{name} is missing: install wideseek-data[atlas-build]")
    return Path(found.origin).parent


def count(value: float) -> str:
    """A whole number; thousands are separated from 10,000 on, as in running text."""
    rounded = round(value)
    return f"{rounded:,}" if abs(rounded) >= 10_000 else str(rounded)


def decimal(value: float, places: int) -> str:
    """At most so many decimal places, without trailing zeros."""
    text = f"{value:.{places}f}"
    return (text.rstrip("0").rstrip(".") if "." in text else text).replace("-0", "-0") or "0"


def plain(text: str) -> str:
    """One line without the signs that tables and lists need for themselves."""
    return " ".join(text.replace("|", "/").replace(";", ",").split())


def known(values: dict[str, str | None]) -> dict[str, str]:
    """The facts that are there."""
    return {column: value for column, value in values.items() if value}


def share(name: str) -> float:
    """A number in [0, 1) that only `name` decides."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=4).digest()) / 2**32


def ranked(domain: Domain, column: str, within: str, *, by: str, unit: str = "") -> Domain:
    """The domain with notes that compare an entity with others of its group.

    Some notes tell the number of the next larger entity, so a page may hold a number that is not
    its own.
    """
    attribute = domain.attribute(column)
    groups: dict[str, list[Entity]] = defaultdict(list)
    for entity in domain.entities:
        if column in entity.values and within in entity.values:
            groups[entity.values[within]].append(entity)
    notes: dict[str, str] = {}
    for value, members in groups.items():
        phrase = domain.attribute(within).group.format(value=with_article(value))
        ordered = sorted(members, key=lambda item: -(number(item.values[column]) or 0.0))
        for place, entity in enumerate(ordered[:60]):
            note = _note(domain, attribute, ordered, place, phrase, by, unit)
            if note:
                notes[entity.name] = note
    entities = [_noted(item, attribute.facet, notes.get(item.name, "")) for item in domain.entities]
    return replace(domain, entities=tuple(entities))


def _note(
    domain: Domain,
    attribute: Attribute,
    ordered: Sequence[Entity],
    place: int,
    phrase: str,
    by: str,
    unit: str,
) -> str:
    entity, chance = ordered[place], share(f"{ordered[place].name}/{attribute.column}")
    if len(ordered) < 3 or chance < 0.4:
        return ""
    if place and chance < 0.7:
        other = ordered[place - 1]
        value = other.values[attribute.column]
        if value != entity.values[attribute.column]:
            return f"Next above it {by} comes {other.name} with {value}{unit}."
    return f"Among the {len(ordered)} {domain.nouns} {phrase} it is number {place + 1} {by}."


def _noted(entity: Entity, facet: int, note: str) -> Entity:
    if not note:
        return entity
    notes = dict(entity.notes)
    notes[facet] = (*notes.get(facet, ()), note)
    return replace(entity, notes=notes)


def unique(entities: Iterable[Entity]) -> tuple[Entity, ...]:
    """The entities, the first of each name."""
    return tuple({entity.name: entity for entity in reversed(list(entities))}.values())[::-1]
