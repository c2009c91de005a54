"""Texts with `{{name}}` places that are filled in once: what is put in is never read again."""

import re
from dataclasses import dataclass

from wideseek_core import ConfigError

_PLACE = re.compile(r"\{\{\s*(\w+)\s*\}\}")


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
        return _PLACE.sub(lambda place: str(values[place[1]]), self.text)

    def check(self, where: str, required: frozenset[str], allowed: frozenset[str]) -> None:
        """Raises `ConfigError` naming `where` and the first wrong or missing place."""
        for name in sorted(self.places - required - allowed):
            known = ", ".join(sorted(required | allowed)) or "none"
            raise ConfigError(f"{where}: unknown placeholder {{{{{name}}}}} (known: {known})")
        for name in sorted(required - self.places):
            raise ConfigError(f"{where}: the placeholder {{{{{name}}}}} is missing")
