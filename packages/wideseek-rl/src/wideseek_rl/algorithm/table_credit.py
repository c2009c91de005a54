"""Credit by table rows: a subagent answers for the rows of its subtask, the others for the rest.

One reward for a whole rollout says little about one of its many agents: whether a cell is right is
lost in the variance of all the other rows. Where a subtask names rows of the reference, the judge's
verdict on just these rows is compared with the verdicts on what the subagents for the same rows in
the group's other rollouts found. Every other agent (the answering one, those that list or explore)
gets the advantage of its rollout as in multi-agent GRPO, but of a reward without the delegated
effect: each delegated cell counts with its mean over the group. What remains is which rows were
listed, and the form of the answer.

Where no subtask names a row, so for single agents and short answers, this is `rollout` credit.
"""

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from wideseek_core import KEY_JOINT
from wideseek_rl.algorithm.advantage import AdvantageConfig, advantages, agent_advantages
from wideseek_rl.algorithm.protocol import CreditInputs
from wideseek_rl.rollout.scored import ScoredEpisode

RowKeys = frozenset[str]
"""Keys of the rows that a subtask names."""


def table_credit(inputs: CreditInputs) -> list[list[float]]:
    """The advantage of each agent of each rollout; a `CreditRule`.

    A subagent whose rows no other rollout has delegated to one subagent has nothing to be compared
    with and gets what the lead gets. Several of one rollout with the same rows count as one.
    """
    group, config = inputs.group, inputs.advantage
    verdicts = [row_scores(scored) for scored in group]
    assigned = [
        _assigned_rows(scored, verdict) for scored, verdict in zip(group, verdicts, strict=True)
    ]
    by_rows = {
        rows: _compared(rows, assigned, verdicts, config)
        for rows in {rows for agents in assigned for rows in agents if rows}
    }
    effects = _delegated_effect(group, [frozenset[str]().union(*rows) for rows in assigned])
    # Rounded, so that rollouts that differ in delegated cells alone are exactly alike.
    remaining = [
        round(reward - inputs.score_weight * effect, 9)
        for reward, effect in zip(inputs.rewards, effects, strict=True)
    ]
    others = agent_advantages(group, remaining, config)
    return [
        [
            by_rows.get(rows, {}).get(number, other)
            for rows, other in zip(agents, values, strict=True)
        ]
        for number, (agents, values) in enumerate(zip(assigned, others, strict=True))
    ]


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
    means = {key: math.fsum(v) / len(v) if v else 1.0 for key, v in cells.items()}
    return means | dict.fromkeys(scored.score.missing_rows, 0.0)


def named_rows(prompt: str, keys: Iterable[str]) -> RowKeys:
    """The rows all of whose key cells occur in a subtask as whole words, whatever their case.

    What is part of a longer key cell there does not count: `York` in `New York: population`.
    """
    parts_of = {key: _parts(key) for key in keys}
    occurring = _occurring(prompt.casefold(), {p for parts in parts_of.values() for p in parts})
    return frozenset(key for key, parts in parts_of.items() if occurring.issuperset(parts))


def _assigned_rows(scored: ScoredEpisode, verdict: Mapping[str, float]) -> list[RowKeys]:
    """The rows that each agent's subtask names; none for the answering agent."""
    agents = scored.episode.trajectories
    return [
        named_rows(agent.prompt, verdict) if number else frozenset()
        for number, agent in enumerate(agents)
    ]


def _compared(
    rows: RowKeys,
    assigned: Sequence[Sequence[RowKeys]],
    verdicts: Sequence[Mapping[str, float]],
    config: AdvantageConfig,
) -> dict[int, float]:
    """The advantage at these rows of each rollout that delegated them; empty if only one did."""
    rollouts = [number for number, agents in enumerate(assigned) if rows in agents]
    if len(rollouts) < 2:
        return {}
    scores = [math.fsum(verdicts[number][key] for key in rows) / len(rows) for number in rollouts]
    return dict(zip(rollouts, advantages(scores, config), strict=True))


def _delegated_effect(group: Sequence[ScoredEpisode], delegated: Sequence[RowKeys]) -> list[float]:
    """What the cells of delegated rows added to each rollout's item F1, beyond their average.

    Item F1 is 2S / (A + G), with S the summed scores of all cells, keys included, and A and G the
    cells of answer and reference; so a cell adds 2 (s − mean s) / (A + G). Used as a control
    variate. A rollout without a valid answer has no score in its reward, so nothing was added.
    """
    cells = [
        _delegated_cells(scored, rows) if scored.answered else {}
        for scored, rows in zip(group, delegated, strict=True)
    ]
    scores: dict[tuple[str, str], list[float]] = defaultdict(list)
    for rollout in cells:
        for place, score in rollout.items():
            scores[place].append(score)
    means = {place: math.fsum(values) / len(values) for place, values in scores.items()}
    return [
        2
        * math.fsum(score - means[place] for place, score in rollout.items())
        / max(_cell_count(scored), 1)
        for scored, rollout in zip(group, cells, strict=True)
    ]


def _delegated_cells(scored: ScoredEpisode, rows: RowKeys) -> dict[tuple[str, str], float]:
    """The scores of the cells beside the keys of these rows; of several metrics, their sum."""
    scores: dict[tuple[str, str], float] = defaultdict(float)
    for cell in scored.score.cells:
        if cell.by != "key" and cell.key in rows:
            scores[cell.key, cell.column] += cell.score
    return scores


def _cell_count(scored: ScoredEpisode) -> int:
    """The cells of answer and reference together."""
    score = scored.score
    rows = len({cell.key for cell in score.cells})
    columns = len({cell.column for cell in score.cells})
    return columns * (2 * rows + len(score.missing_rows) + len(score.extra_rows))


def _parts(key: str) -> list[str]:
    return [part.casefold() for part in key.split(KEY_JOINT) if part]


def _occurring(text: str, parts: Iterable[str]) -> set[str]:
    """The parts that occur in a text as whole words, at least once outside of any longer one."""
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
