"""Texts with `{{name}}` places that are filled in once: what is put in is never read again."""

import re
from dataclasses import dataclass
from functools import lru_cache

from wideseek_core.errors import ConfigError

_PLACE = re.compile(r"\{\{\s*(\w+)\s*\}\}")


@lru_cache(maxsize=1024)
def _pieces(text: str) -> tuple[str, ...]:
    """The text between the places and their names, in turn."""
    return tuple(_PLACE.split(text))


@dataclass(frozen=True, slots=True, kw_only=True)
class Placeholders:
    """The places that a text must have, and those that it may have besides."""

    required: frozenset[str] = frozenset()
    allowed: frozenset[str] = frozenset()


def placeholders(required: str = "", allowed: str = "") -> Placeholders:
    """Placeholders from names that blanks part."""
    return Placeholders(required=frozenset(required.split()), allowed=frozenset(allowed.split()))


@dataclass(frozen=True, slots=True)
class Template:
    """A text with named places.

    Example: `Template("Turn {{turn}} of {{turns}}.").fill(turn=1, turns=4)`
    """

    text: str

    @property
    def places(self) -> frozenset[str]:
        """The names that the text has places for."""
        return frozenset(_PLACE.findall(self.text))

    def fill(self, **values: str | int) -> str:
        """The text with its places filled; values without a place are left out."""
        pieces = list(_pieces(self.text))
        pieces[1::2] = [str(values[name]) for name in pieces[1::2]]
        return "".join(pieces)

    def check(self, where: str, expected: Placeholders) -> None:
        """Raises `ConfigError` naming `where` and the first wrong or missing place."""
        known = sorted(expected.required | expected.allowed)
        for name in sorted(self.places.difference(known)):
            listed = ", ".join(known) or "none"
            raise ConfigError(f"{where}: unknown placeholder {{{{{name}}}}} (known: {listed})")
        for name in sorted(expected.required - self.places):
            raise ConfigError(f"{where}: the placeholder {{{{{name}}}}} is missing")
