"""Ways in which a page names the entries of a listing."""

import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from wideseek_core.tables import MarkdownTable


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What a page that names an entry may say of it."""

    name: str
    url: str
    remark: str
    """Words that nobody asks for."""

    @property
    def address(self) -> str:
        """That of its page as seen from the one that names it."""
        return self.url.partition("#")[0].rpartition("/")[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """The entries of a page, and what stands before them."""

    opening: str
    key: str
    """Label of the column of names."""
    entries: Sequence[Entry]

    @property
    def names(self) -> list[str]:
        """The names in their order."""
        return [entry.name for entry in self.entries]

    def lines(self, write: Callable[[int, Entry], str]) -> str:
        """The opening, then a line for each entry, counted from 0."""
        return "\n".join([self.opening, *(write(at, one) for at, one in enumerate(self.entries))])


def _sentence(page: Named) -> str:
    listed = f"It lists {len(page.entries)} entries by {page.key}: {'; '.join(page.names)}."
    return f"{page.opening} {listed}"


def _run(page: Named) -> str:
    *most, last = page.names
    return f"{page.opening}\n{', '.join(most)} and {last}." if most else f"{page.opening}\n{last}."


def _column(page: Named) -> str:
    table = MarkdownTable(columns=(page.key,), rows=tuple((name,) for name in page.names))
    return f"{page.opening}\n{table.markdown()}"


def _table(page: Named) -> str:
    rows = tuple((entry.name, entry.remark) for entry in page.entries)
    return f"{page.opening}\n{MarkdownTable(columns=(page.key, 'Remark'), rows=rows).markdown()}"


def _marked(mark: str) -> Callable[[Named], str]:
    return lambda page: page.lines(lambda _, entry: f"{mark}{entry.name}")


def can_run(names: Sequence[str]) -> bool:
    """Whether names can be separated in a run with commas and `and`."""
    return not any("," in name or " and " in name for name in names)


NAMED: Mapping[str, Callable[[Named], str]] = {
    "sentence": _sentence,
    "dashes": _marked("- "),
    "stars": _marked("* "),
    "dots": _marked("• "),
    "lines": _marked(""),
    "numbered": lambda page: page.lines(lambda at, entry: f"{at + 1}. {entry.name}"),
    "parentheses": lambda page: page.lines(lambda at, entry: f"{at + 1}) {entry.name}"),
    "run": _run,
    "column": _column,
    "table": _table,
    "headings": lambda page: page.lines(lambda _, one: f"\n### {one.name}\n{one.remark}"),
    "remarks": lambda page: page.lines(lambda _, one: f"- {one.name} — {one.remark}"),
    "linked": lambda page: page.lines(lambda _, one: f"* [{one.name}]({one.address})"),
    "lettered": lambda page: page.lines(
        lambda at, one: f"{string.ascii_lowercase[at % 26]}) {one.name}"
    ),
}
HELD_OUT_NAMED = ("linked", "lettered")
"""Layouts that are measured on, and neither demonstrated nor trained on."""
