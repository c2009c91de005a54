"""Credit by key steps: the turns that found what the answer has right.

Most turns of a long search find nothing. With `rollout` credit they are praised and blamed as much
as those that did. Here a positive advantage goes to key steps alone, and a negative one to all
other turns, since finding a right value is no fault of a poor answer. The last turn of the
answering agent, which writes the answer, gets either. The idea of training on key steps is that of
agents such as AREX (arXiv 2607.21461); which turns these are is a rule of our own.
"""

import re
from collections.abc import Iterator, Sequence

from wideseek_core import Trajectory, Turn
from wideseek_rl.algorithm.advantage import agent_advantages
from wideseek_rl.algorithm.protocol import CreditInputs
from wideseek_rl.rollout.scored import ScoredEpisode

MIN_VALUE_CHARS = 2
"""Shorter values occur everywhere."""


def key_steps_credit(inputs: CreditInputs) -> list[list[list[float]]]:
    """The advantage of each turn of each agent of each rollout; a `CreditRule`.

    A rollout in which no key step can be seen keeps its advantage at all turns.
    """
    values = agent_advantages(inputs.group, inputs.rewards, inputs.advantage)
    return [_rollout(*pair) for pair in zip(inputs.group, values, strict=True)]


def key_steps(scored: ScoredEpisode) -> list[list[bool]]:
    """Which turns of each agent are key steps.

    A turn is one if its results hold a value that the answer has right and that no earlier turn of
    its agent had; and so is the last turn of an agent that has one, which reports the value.
    """
    found = [_words(value) for value in right_values(scored)]
    values = [words for words in found if len(words.strip()) >= MIN_VALUE_CHARS]
    return [list(_key_turns(agent, values)) for agent in scored.episode.trajectories]


def right_values(scored: ScoredEpisode) -> list[str]:
    """What the judge found right: cells of a table, or a short answer."""
    if scored.score.cells:
        return [cell.answer for cell in scored.score.cells if cell.score > 0]
    return [scored.episode.answer] if scored.score.value > 0 else []


def _rollout(scored: ScoredEpisode, values: Sequence[float]) -> list[list[float]]:
    steps = key_steps(scored)
    agents = scored.episode.trajectories
    if not any(map(any, steps)):
        return [[value] * len(agent.turns) for agent, value in zip(agents, values, strict=True)]
    credit = [
        [value if key == (value > 0) else 0.0 for key in keys]
        for keys, value in zip(steps, values, strict=True)
    ]
    if credit[0]:
        credit[0][-1] = values[0]
    return credit


def _key_turns(agent: Trajectory, values: Sequence[str]) -> Iterator[bool]:
    missing, found = set(values), False
    for number, turn in enumerate(agent.turns):
        shown = _shown(turn)
        new = {value for value in missing if _occurs(value, shown)}
        missing -= new
        found = found or bool(new)
        yield bool(new) or (found and number == len(agent.turns) - 1)


def _shown(turn: Turn) -> str:
    return _words("\n".join(result.text for result in turn.results if result.ok))


def _occurs(value: str, text: str) -> bool:
    """Whether a value stands in a text, as whole words where its script has spaces."""
    return value in text or (not value.isascii() and value.strip() in text)


def _words(text: str) -> str:
    """The words of a text in lower case, each between two spaces."""
    return " ".join(["", *re.findall(r"\w+", text.casefold()), ""])
