"""Ways in which a page states the values of one entry of a listing."""

from collections.abc import Callable, Mapping, Sequence

from wideseek_core.tables import MarkdownTable

Values = Sequence[tuple[str, str]]


def _stated(opening: str, sentences: Sequence[str]) -> str:
    """Sentences behind an opening, on a line of their own if it is none."""
    return (" " if opening.endswith(".") else "\n").join([opening, " ".join(sentences)]).strip()


def _lines(form: str) -> Callable[[str, str, Values], str]:
    """The opening, then a line for each value."""

    def write(opening: str, name: str, values: Values) -> str:
        lines = [form.format(label=label, value=value) for label, value in values]
        return "\n".join([opening, *lines])

    return write


def _sentence(opening: str, name: str, values: Values) -> str:
    return _stated(opening, [f"{label}: {value}." for label, value in values])


def _prose(opening: str, name: str, values: Values) -> str:
    return _stated(opening, [f"The {label} of {name} is {value}." for label, value in values])


def _story(opening: str, name: str, values: Values) -> str:
    forms = (
        "Its {label} is {value}, as far as is known.",
        "{value} is the {label}.",
        "The {label}, {value}, has not changed since.",
    )
    stated = [
        forms[at % len(forms)].format(label=label, value=value)
        for at, (label, value) in enumerate(values)
    ]
    return _stated(opening, stated)


def _box(opening: str, name: str, values: Values) -> str:
    width = max((len(label) for label, _ in values), default=0)
    lines = [f"{label.ljust(width)}  {value}" for label, value in values]
    return "\n".join([name, *lines, opening])


def _infobox(opening: str, name: str, values: Values) -> str:
    lines = [f"| {label} = {value}" for label, value in values]
    return "\n".join(["{{Infobox", f"| name = {name}", *lines, "}}", opening])


def _row(opening: str, name: str, values: Values) -> str:
    labels, cells = tuple(label for label, _ in values), tuple(value for _, value in values)
    table = MarkdownTable(columns=("", *labels), rows=((name, *cells),))
    return f"{opening}\n{table.markdown()}" if values else opening


def _cells(opening: str, name: str, values: Values) -> str:
    table = MarkdownTable(columns=("", name), rows=tuple(values))
    return f"{opening}\n{table.markdown()}" if values else opening


def _clause(opening: str, name: str, values: Values) -> str:
    stated = "; ".join(f"{label} {value}" for label, value in values)
    return f"{opening}\n{name} has {stated}." if values else opening


STATED: Mapping[str, Callable[[str, str, Values], str]] = {
    "sentence": _sentence,
    "prose": _prose,
    "story": _story,
    "box": _box,
    "infobox": _infobox,
    "bullets": _lines("- {label}: {value}"),
    "bold": _lines("**{label}:** {value}"),
    "lines": _lines("{label}: {value}"),
    "equals": _lines("{label} = {value}"),
    "definitions": _lines("{label}\n: {value}"),
    "row": _row,
    "cells": _cells,
    "arrows": _lines("{label} -> {value}"),
    "clause": _clause,
}
"""By name: what an opening, the name of the entry and its values look like together."""
HELD_OUT_STATED = ("arrows", "clause")
"""Layouts that are measured on, and neither demonstrated nor trained on."""
