"""The words of questions, offline: a grammar of phrases for each language."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from wideseek_core import ConfigError
from wideseek_core.tasks import Language
from wideseek_data.phrases import chinese, english
from wideseek_data.tables.table import Table
from wideseek_data.tasks.recipes import ShortRecipe, WideRecipe


@dataclass(frozen=True, slots=True, kw_only=True)
class Grammar:
    """How one language words recipes."""

    wide_question: Callable[[WideRecipe, Mapping[str, Table], random.Random], str]
    short_question: Callable[[ShortRecipe, Mapping[str, Table], random.Random], str]
    computed_label: Callable[[WideRecipe, Mapping[str, Table]], str]
    """The name of the column that a grouping computes."""


GRAMMARS = {
    "en": Grammar(
        wide_question=english.wide_question,
        short_question=english.short_question,
        computed_label=english.computed_label,
    ),
    "zh": Grammar(
        wide_question=chinese.wide_question,
        short_question=chinese.short_question,
        computed_label=chinese.computed_label,
    ),
}


def language(name: Language) -> Grammar:
    """The grammar of a language. Raises `ConfigError` for one that there is none for."""
    found = GRAMMARS.get(name)
    if found is None:
        raise ConfigError(f"no phrases for language {name!r}; known: {', '.join(GRAMMARS)}")
    return found
