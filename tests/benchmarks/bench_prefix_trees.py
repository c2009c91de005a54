"""Tokens and gradients of a run's own rollouts: a row for each turn, and prefix trees.

`python tests/benchmarks/bench_prefix_trees.py FOLDER` reads the `episodes.jsonl` of an evaluation
that kept its tokens, as one by `wideseek widesearch run.keep_episodes=full run.trials=4
run.folder=FOLDER` does. The trials of a question are a group. One update is made of all turns as
rows of their own, and one of the same turns as prefix trees. It prints the tokens that run through
the model, their share, and how far the two gradients are apart: |a - b| / |a| of all parameters and
of the worst tensor.
"""

import argparse
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import torch

from wideseek_core import DataError, Episode
from wideseek_core.episode_records import read_episodes
from wideseek_core.progress import show
from wideseek_rl import (
    ModelConfig,
    OptimizerConfig,
    PolicyModel,
    TorchTrainerConfig,
    TrainedTurn,
    TrainingSample,
    build_samples,
)
from wideseek_rl.testing import known
from wideseek_rl.trainers.torch import TorchTrainer

Gradient = dict[str, torch.Tensor]


def groups_of(folder: Path, questions: int | None) -> list[list[Episode]]:
    """The rollouts of each question. Raises `DataError` if they have no tokens."""
    by_task: dict[str, list[Episode]] = defaultdict(list)
    for record in read_episodes(folder / "episodes.jsonl"):
        by_task[record.episode.task_id].append(record.episode)
    groups = list(by_task.values())[:questions]
    agents = [agent for group in groups for one in group for agent in one.trajectories]
    if not any(turn.response_ids for agent in agents for turn in agent.turns):
        raise DataError(f"{folder}: no tokens were kept; evaluate with run.keep_episodes=full")
    return groups


def agents_of(groups: Sequence[Sequence[Episode]]) -> list[tuple[int, list[TrainedTurn]]]:
    """Group and turns of each agent; rollouts count for and against what they did in turns."""
    return [
        (number, [TrainedTurn(turn=turn, weight=1e-4, advantage=advantage) for turn in turns])
        for number, group in enumerate(groups)
        for place, episode in enumerate(group)
        for advantage in (1.0 if place % 2 == 0 else -0.5,)
        for agent in episode.trajectories
        if (turns := [turn for turn in agent.turns if turn.response_ids])
    ]


def updated(
    samples: Sequence[TrainingSample], config: ModelConfig, *, share: bool
) -> tuple[int, Gradient]:
    """The tokens that one update ran through the model, and its gradient."""
    model = PolicyModel(config).module.float()
    settings = TorchTrainerConfig(
        optimizer=OptimizerConfig(grad_clip=1e9), share_prefixes=share, attention="rows"
    )
    metrics = TorchTrainer(model, settings).update(samples)
    made = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    return int(known(metrics.tokens_run)), made


def distance(one: torch.Tensor, other: torch.Tensor) -> float:
    """|a - b| / |a|."""
    return float(((one - other).square().sum() / one.square().sum()).sqrt())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="of an evaluation with run.keep_episodes=full")
    parser.add_argument("--questions", type=int, help="the first so many; all by default")
    parser.add_argument(
        "--model", default=None, help="of the rollouts; by default the start policy"
    )
    given = parser.parse_args()
    try:
        agents = agents_of(groups_of(given.folder, given.questions))
    except DataError as error:
        parser.error(str(error))
    config = ModelConfig(device="cpu", **({"model": given.model} if given.model else {}))
    turns = [s for group, made in agents for t in made for s in build_samples([t], group=group)]
    merged = [s for group, made in agents for s in build_samples(made, group=group)]
    _, rows = updated(turns, config, share=False)
    tokens, trees = updated(merged, config, share=True)
    per_turn = sum(map(len, turns))
    worst = max(distance(rows[name], trees[name]) for name in rows)
    whole = distance(*(torch.cat([g[n].flatten() for n in rows]) for g in (rows, trees)))
    show(f"{len(agents)} agents, {len(turns)} turns")
    show(f"tokens: {per_turn} as rows of turns, {tokens} as prefix trees ({tokens / per_turn:.3f})")
    show(f"gradients apart: {whole:.1e} of all parameters, {worst:.1e} of the worst tensor")


if __name__ == "__main__":
    main()
