"""Counts of things in texts for people: "1 node", "2 nodes"."""

import re

_SIBILANT = re.compile(r"(?:s|x|z|(?<!epo)ch|sh)$")
_CONSONANT_Y = re.compile(r"(?<=[^aeiou])y$")


def counted(number: int, thing: str, plural: str = "", form: str = "") -> str:
    """A number and what it counts: `counted(2, "rank")` is "2 ranks".

    Args:
        number: how many there are.
        thing: the name of one, such as "process" or "unreadable reply".
        plural: the name of several, where it does not end as in most words.
        form: how the number is written, such as "," for commas between thousands.
    """
    return f"{number:{form}} {name_of(number, thing, plural)}"


def name_of(number: int, thing: str, plural: str = "") -> str:
    """The name alone, for numbers that are written otherwise."""
    return thing if number == 1 else plural or _plural(thing)


def _plural(thing: str) -> str:
    if _CONSONANT_Y.search(thing):
        return f"{thing[:-1]}ies"
    return f"{thing}es" if _SIBILANT.search(thing) else f"{thing}s"
