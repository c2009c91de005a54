"""Words, names and values of an invented world, drawn so that none can be learnt by heart."""

import random
import string
from collections.abc import Callable
from functools import cache
from importlib.resources import files

from wideseek_data.atlas.words import (
    ADJECTIVES,
    CODAS,
    ENGLISH,
    FAR_LETTERS,
    LINKS,
    NUCLEI,
    ONSETS,
    QUALIFIERS,
    QUOTES,
    SUFFIXES,
    SYLLABLES,
)


@cache
def common_words() -> tuple[str, ...]:
    """Ten thousand common English words, lower-case; NOTICE tells where they come from."""
    text = files("wideseek_data.atlas").joinpath("data/english.txt").read_text("ascii")
    return tuple(text.split())


class Lexicon:
    """Draws from one random generator; names are unique within a world."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._used: set[str] = set()
        self._labels = {"realm"}
        self._accents = rng.choice((0.0, 0.0, 0.0, 0.05, 0.2))
        self._stems = [self.word() for _ in range(3)]

    def word(self) -> str:
        """A word to use as a name: mostly one that no language has, such as `Tarvello`.

        Some worlds have letters far from ASCII in it, as in `‘Ajlūn` or `Sunch’ŏn`.
        """
        rng = self._rng
        word = "".join(
            self._far(letter) if rng.random() < self._accents else letter for letter in self._word()
        )
        return rng.choice(QUOTES) + word if rng.random() < self._accents else word

    def _far(self, letter: str) -> str:
        far = self._rng.choice(FAR_LETTERS)
        return far.upper() if letter.isupper() else far

    def _word(self) -> str:
        rng = self._rng
        way = rng.random()
        if way < 0.15:
            return rng.choice(string.ascii_uppercase) + "".join(
                rng.choices(string.ascii_lowercase, k=rng.randint(2, 9))
            )
        if way < 0.3:
            return rng.choice(common_words()).capitalize()
        count = rng.choice((1, 2, 2, 2, 3, 3))
        if way < 0.5:
            return "".join(rng.choices(SYLLABLES, k=count)).capitalize()
        return "".join(
            rng.choice(ONSETS) + rng.choice(NUCLEI) + rng.choice(CODAS) for _ in range(count)
        ).capitalize()

    def term(self) -> str:
        """A lower-case word, English or not."""
        way = self._rng.random()
        if way < 0.3:
            return self._rng.choice(ENGLISH)
        return self._rng.choice(common_words()) if way < 0.65 else self.word().lower()

    def title(self) -> str:
        """A capitalised word, English or not."""
        return self.term().capitalize()

    def noun(self) -> tuple[str, str]:
        """What things are called, one and many: `deep-sky object`, `deep-sky objects`."""
        one, many = self._noun()
        while not self._new_label(one):
            one, many = self._noun()
        return one, many

    def initialled(self, noun: tuple[str, str]) -> tuple[str, str]:
        """Now and then the noun behind initials: `U.S. state`, `U.S. states`."""
        if self._rng.random() < 0.92:
            return noun
        initials = self.initials()
        return f"{initials} {noun[0]}", f"{initials} {noun[1]}"

    def initials(self) -> str:
        """Two or three capitals with stops: `U.S.`."""
        return "".join(f"{letter}." for letter in self.code()[:3])

    def column(self) -> str:
        """A column label that is new in this world: `Melting point`, `Date in 2026`."""
        label = self._column()
        while not self._new_label(label):
            label = self._column()
        return label

    def _new_label(self, label: str) -> bool:
        """Keeps a label if no other differs from it by case alone."""
        if label.lower() in self._labels:
            return False
        self._labels.add(label.lower())
        return True

    def code_column(self) -> str:
        """The label of a column of codes."""
        options = ("Code", "Symbol", f"{self.code()} code", f"{self.code()} number")
        label = self._rng.choice(options)
        while not self._new_label(label):
            label = f"{self.code()} code"
        return label

    def _noun(self) -> tuple[str, str]:
        rng = self._rng
        head = self.term()
        many = (
            head[:-1] + "ies" if head.endswith("y") and head[-2:-1] not in "aeiou" else head + "s"
        )
        if head.endswith(("s", "x", "ch", "sh")):
            many = head + "es"
        before = ""
        if rng.random() < 0.55:
            before = rng.choice(
                (
                    f"{self.term()} ",
                    f"{rng.choice(ADJECTIVES)} ",
                    f"{self.term()}-{self.term()} ",
                    f"{rng.choice(ADJECTIVES)} {self.term()} ",
                    f"{self.code()} ",
                )
            )
        if rng.random() < 0.12:
            other = self.term()
            return f"{before}{head} or {other}", f"{before}{many} and {other}s"
        return before + head, before + many

    def _column(self) -> str:
        rng = self._rng
        shape = rng.random()
        if shape < 0.45:
            text = self.term()
        elif shape < 0.75:
            text = f"{self.term()} {self.term()}"
        elif shape < 0.85:
            text = (
                f"{rng.choice(('number', 'share', 'year', 'date', self.term()))} of {self.term()}"
            )
        elif shape < 0.93:
            return f"{self.code()} {self.term()}"
        else:
            text = f"{self.term()} in {rng.randint(1990, 2030)}"
        return text[0].upper() + text[1:]

    def facet(self) -> str:
        """What a further page is called: `Geography`, `Nuclear data`."""
        text = self.term() if self._rng.random() < 0.6 else f"{self.term()} {self.term()}"
        return text[0].upper() + text[1:]

    def link(self) -> str:
        """What stands between things and their group: `in`, `spoken mainly in`."""
        rng = self._rng
        if rng.random() < 0.45:
            return rng.choice(("in", "in", "of"))
        if rng.random() < 0.5:
            return rng.choice(LINKS)
        return f"{self.term()} {rng.choice(('in', 'of', 'by', 'since', 'with', 'at', 'near'))}"

    def code(self) -> str:
        """A few capitals."""
        return "".join(self._rng.choices(string.ascii_uppercase, k=self._rng.randint(2, 4)))

    def place(self) -> str:
        """What groups things: a place, or a class such as `group 12` or `the Tarvel period`."""
        rng = self._rng
        ways: tuple[Callable[[], str], ...] = (
            self.word,
            self.word,
            self.word,
            lambda: f"{rng.choice(QUALIFIERS)} {self.word()}",
            lambda: f"{self.word()} and {self.word()}",
            lambda: f"{rng.choice(ADJECTIVES).capitalize()} {self.word()}",
            lambda: f"{self.title()}-{self.term()} {self.word()}",
            lambda: f"{self.title()} {self.title()}",
            lambda: f"{self.term()} {rng.randint(1, 30)}",
            lambda: f"the {self.term()} {self.term()}s",
        )
        return self.unique(rng.choice(ways))

    def thing(self, style: int) -> str:
        """A thing; all things of a world share one of `STYLES` styles."""
        rng = self._rng
        styles: tuple[Callable[[], str], ...] = (
            self.word,
            lambda: f"{self.word()} {self.word()}",
            lambda: f"{rng.choice(self._stems)} {self.word()}",
            lambda: f"{rng.choice(('NGC', 'IC', self._stems[0]))} {rng.randint(10, 9999)}",
            lambda: f"{self.word()} {rng.choice(SUFFIXES)}",
            lambda: f"{self.word()}{rng.choice('-+#.')}{self.tail()}",
            lambda: f"{rng.choice(QUALIFIERS)} {self.word()}",
            lambda: f"{self.word()} {self.term().capitalize()} ({self.word()})",
            lambda: f"{self.word()} {rng.choice(('of', 'and', 'de'))} {self.word()}",
            lambda: f"{self.title()} {self.title()}",
            lambda: f"{self.title()}{rng.choice((self.title(), ' ' + self.term(), ''))}",
            lambda: f"{rng.choice((self.title(), self._stems[0]))} {rng.randint(1, 9)}.x",
            lambda: rng.choice(
                (
                    self.term(),
                    self.code(),
                    self.code() + self.title(),
                    f"{self.title()} {self.code()}",
                )
            ),
            lambda: f"{self.word()}'s {self.title()}{rng.choice(('', f' ({self._stems[0]})'))}",
            lambda: f"{rng.choice((self.title(), self._stems[1]))} {self.title()} {self.title()}",
        )
        assert len(styles) == STYLES
        return self.unique(styles[style])

    def tail(self) -> str:
        """What follows a hyphen."""
        way = self._rng.random()
        if way < 0.1:
            return self.code()
        return self.word() if way < 0.5 else str(self._rng.randint(1, 250))

    def derived(self, name: str, suffix: str) -> str:
        """A value made of an entity's name: `OpenEdge ABL` with `Lexer` is `OpenedgeAblLexer`.

        Without a suffix `openedgeabl`; with one that begins with a stop, `openedgeabl.org`.
        """
        parts = ["".join(filter(str.isalnum, part)) for part in name.split()]
        if not suffix or suffix.startswith("."):
            return "".join(parts).lower() + suffix
        return "".join(part.capitalize() for part in parts) + suffix

    def tld(self) -> str:
        """The end of a host name."""
        return self._rng.choice(("com", "org", "net", "io", self.word().lower()[:2]))

    def unique(self, make: Callable[[], str]) -> str:
        """A name that was not drawn before."""
        for _ in range(100):
            name = make()
            if name not in self._used:
                self._used.add(name)
                return name
        raise AssertionError("the name space is exhausted")

    def value(self, style: str) -> str:
        """One value of a column; a column keeps its style."""
        return self._styles[style]()

    @property
    def _styles(self) -> dict[str, Callable[[], str]]:
        rng = self._rng
        return {
            "integer": lambda: str(rng.randint(1, 10 ** rng.randint(1, 7))),
            "grouped": lambda: f"{rng.randint(10_000, 10 ** rng.randint(5, 9)):,}",
            "decimal": lambda: f"{rng.uniform(-200, 200):.2f}",
            "tenth": lambda: f"{rng.uniform(0, 30):.1f}",
            "year": lambda: str(rng.randint(1200, 2024)),
            "code": self.code,
            "mixed": lambda: rng.choice(string.ascii_uppercase) + str(rng.randint(1, 999)),
            "date": lambda: f"{rng.randint(1, 28)} {rng.choice(MONTHS)}",
            "angle": lambda: f"{rng.choice('+-')}{rng.randint(0, 89)}°{rng.randint(0, 59):02d}'",
            "hours": lambda: f"{rng.randint(0, 23)}h{rng.randint(0, 59):02d}m",
            "number": lambda: f"{rng.randint(10, 99999)}-{rng.randint(10, 99)}-{rng.randint(0, 9)}",
            "dial": lambda: f"+{rng.randint(1, 999)}",
            "domain": lambda: "." + self.word().lower()[:3],
            "zone": lambda: f"{self.word()}/{self.word()}",
            "camel": lambda: f"{self.title()}{self.title()}",
            "site": lambda: f"https://{self.term()}.{self.word().lower()[:3]}/",
            "host": lambda: (
                f"{rng.choice(('', 'www.', self.term() + '.'))}{self.term()}.{self.tld()}"
            ),
            "spin": lambda: f"{rng.randint(0, 9)}{rng.choice(('', '/2'))}{rng.choice('+-')}",
            "fine": lambda: f"{rng.uniform(0, 300):.{rng.randint(3, 5)}f}",
            "titles": lambda: f"{self.title()} {self.title()}",
            "media": lambda: f"{rng.choice(('text', 'application'))}/x-{self.word().lower()}",
            "extension": lambda: "*." + self.word().lower()[:5],
            "word": self.word,
            "words": lambda: f"{self.word()} {self.word()}",
            "phrase": lambda: f"{self.term()} {self.term()}",
            "lower": self.term,
            "person": lambda: f"{rng.choice(string.ascii_uppercase)}. {self.word()}",
            "people": lambda: f"{self.word()} {self.word()} and {self.word()} {self.word()}",
        }


MONTHS = tuple(
    "January February March April May June July August September October November December".split()
)
STYLES = 15
"""Of the names of things."""

NUMBER_STYLES = ("integer", "integer", "grouped", "decimal", "tenth", "fine", "year")
TEXT_STYLES = (
    "code", "mixed", "date", "angle", "hours", "number", "dial", "domain", "zone", "media",
    "extension", "word", "words", "word", "words", "phrase", "lower", "person", "people", "camel",
    "site", "host", "host", "derived", "derived", "spin", "titles", "titles", "lower",
)  # fmt: skip
