"""Credit by rows: a subagent is held to the rows it was sent for, the lead to the table's shape.

A rollout's one reward says little about one of its many agents: whether a cell is right is lost
among the other rows' luck. Where a subtask names rows of the reference, the judge's verdict on just
these rows is compared with what the siblings' subagents for the same rows made of them. Every other
agent (the answering one, those that list or explore) gets the rollout's advantage as in multi-agent
GRPO, but from a reward without the subagents' luck: each cell that a subagent was sent for scores
what it scores on average over the siblings. What is left is which rows were listed, and the form.

Where no subtask names a row, so for single agents and short answers, nothing changes.
"""

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from wideseek_core import KEY_JOINT
from wideseek_rl.algorithm.advantage import AdvantageConfig, advantages
from wideseek_rl.rollout.scored import ScoredEpisode

Rows = frozenset[str]
"""Keys of the rows that a subtask names."""


def row_scores(scored: ScoredEpisode) -> dict[str, float]:
    """The mean score of each reference row's cells beside its key, in [0, 1]; missing rows get 0.

    A row that is nothing but its key scores 1 where the answer has it. Empty without a verdict on
    cells: short answers, failed rollouts.
    """
    cells: dict[str, list[float]] = defaultdict(list)
    for cell in scored.score.cells:
        values = cells[cell.key]
        if cell.by != "key":
            values.append(cell.score)
    found = {key: math.fsum(v) / len(v) if v else 1.0 for key, v in cells.items()}
    return found | dict.fromkeys(scored.score.missing_rows, 0.0)


def named_rows(prompt: str, keys: Iterable[str]) -> Rows:
    """The rows whose key cells all stand in a subtask as whole words, whatever their case.

    What is part of a longer key cell there does not count: `York` in `New York: population`.
    """
    told = {key: _parts(key) for key in keys}
    standing = _standing(prompt.casefold(), {part for parts in told.values() for part in parts})
    return frozenset(key for key, parts in told.items() if standing.issuperset(parts))


def table_advantages(
    group: Sequence[ScoredEpisode], rewards: Sequence[float], config: AdvantageConfig
) -> list[list[float]]:
    """The advantage of each agent of each rollout of one question.

    Args:
        group: The rollouts.
        rewards: The reward of each as a whole.
        config: How rewards, and the scores of subagents with the same rows, become advantages.

    A subagent with rows that no other rollout has sent one for has nothing to be compared with and
    gets what the lead gets. Several of one rollout with the same rows count as one.
    """
    verdicts = [row_scores(scored) for scored in group]
    sent = [_sent(scored, verdict) for scored, verdict in zip(group, verdicts, strict=True)]
    of_rows = {
        rows: _compared(rows, sent, verdicts, config)
        for rows in {rows for one in sent for rows in one if rows}
    }
    luck = _delegated_effect(group, [frozenset[str]().union(*one) for one in sent])
    # Rounded, so that rollouts that differ by luck alone are exactly alike and don't train.
    cleared = [round(reward - lucky, 9) for reward, lucky in zip(rewards, luck, strict=True)]
    return [
        [of_rows.get(rows, {}).get(number, whole) for rows in one]
        for number, (one, whole) in enumerate(zip(sent, advantages(cleared, config), strict=True))
    ]


def _delegated_effect(group: Sequence[ScoredEpisode], delegated: Sequence[Rows]) -> list[float]:
    """What the cells of delegated rows added to each rollout's item F1, beyond their average.

    Item F1 is 2S / (A + G), with S the summed scores of all cells, keys included, and A and G the
    cells of answer and reference; so a cell adds 2 (s − mean s) / (A + G).
    """
    told = [_delegated_cells(scored, rows) for scored, rows in zip(group, delegated, strict=True)]
    scores: dict[tuple[str, str], list[float]] = defaultdict(list)
    for one in told:
        for place, score in one.items():
            scores[place].append(score)
    means = {place: math.fsum(found) / len(found) for place, found in scores.items()}
    return [
        2 * math.fsum(score - means[place] for place, score in one.items()) / max(_cells(scored), 1)
        for scored, one in zip(group, told, strict=True)
    ]


def _delegated_cells(scored: ScoredEpisode, rows: Rows) -> dict[tuple[str, str], float]:
    """The scores of the cells beside the keys of these rows; of several metrics, their sum."""
    scores: dict[tuple[str, str], float] = defaultdict(float)
    for cell in scored.score.cells:
        if cell.by != "key" and cell.key in rows:
            scores[cell.key, cell.column] += cell.score
    return scores


def _cells(scored: ScoredEpisode) -> int:
    """The cells of answer and reference together."""
    score = scored.score
    rows = len({cell.key for cell in score.cells})
    columns = len({cell.column for cell in score.cells})
    return columns * (2 * rows + len(score.missing_rows) + len(score.extra_rows))


def _sent(scored: ScoredEpisode, verdict: Mapping[str, float]) -> list[Rows]:
    """What rows each agent was sent for; none for the answering agent."""
    agents = scored.episode.trajectories
    return [
        named_rows(agent.prompt, verdict) if at else frozenset() for at, agent in enumerate(agents)
    ]


def _compared(
    rows: Rows,
    sent: Sequence[Sequence[Rows]],
    verdicts: Sequence[Mapping[str, float]],
    config: AdvantageConfig,
) -> dict[int, float]:
    """The advantage at these rows of each rollout that sent for them; empty if it is but one."""
    rollouts = [number for number, one in enumerate(sent) if rows in one]
    if len(rollouts) < 2:
        return {}
    scores = [math.fsum(verdicts[number][key] for key in rows) / len(rows) for number in rollouts]
    return dict(zip(rollouts, advantages(scores, config), strict=True))


def _parts(key: str) -> list[str]:
    return [part.casefold() for part in key.split(KEY_JOINT) if part]


def _standing(text: str, parts: Iterable[str]) -> set[str]:
    """The parts that stand in a text as whole words, at least once outside of any longer one."""
    spans = [
        (match.span(), part)
        for part in parts
        for match in re.finditer(rf"(?<!\w){re.escape(part)}(?!\w)", text)
    ]

    def inside(span: tuple[int, int]) -> bool:
        return any(
            other != span and other[0] <= span[0] and span[1] <= other[1] for other, _ in spans
        )

    return {part for span, part in spans if not inside(span)}
