"""The smallest thing a policy can learn, for trying out algorithms and backends: repeat a token.

Rollouts are sampled from the model in training, with draws that depend on their seed alone, so
that two runs of one configuration agree to the last bit.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import torch

from wideseek_core import (
    Episode,
    Finish,
    Score,
    ScoreState,
    Status,
    Task,
    TextGold,
    TextMetrics,
    Trajectory,
    Turn,
)
from wideseek_rl.config import RLConfig
from wideseek_rl.loop.loggers.open import open_loggers
from wideseek_rl.loop.loggers.protocol import LoggedRun
from wideseek_rl.loop.training import TrainingLoop, TrainSummary
from wideseek_rl.models.decoder import Decoder
from wideseek_rl.rollout.runner import Rollouts
from wideseek_rl.testing import tiny_model
from wideseek_rl.trainers.config import TorchTrainerConfig
from wideseek_rl.trainers.in_thread import InThread
from wideseek_rl.trainers.torch import TorchTrainer

START = 1
"""The id that every prompt begins with."""


def toy_tasks(first: int = 3, last: int = 8) -> list[Task]:
    """One task for each token id to be repeated."""
    return [
        Task(id=str(n), question=f"Repeat {n}.", gold=TextGold(answers=(str(n),)))
        for n in range(first, last + 1)
    ]


class ToyJudge:
    """Scores the share of sampled tokens that are the right one."""

    async def score(self, task: Task, answer: str) -> Score:
        """The verdict on ids written with spaces between them."""
        tokens = answer.split()
        correct = tokens.count(task.id) / len(tokens)
        metrics = TextMetrics(correct=correct)
        return Score(state=ScoreState.SCORED, metrics=metrics, format_valid=True)


def toy_rollouts(model: Decoder, *, group_size: int, tokens: int = 3) -> Rollouts:
    """Rollouts of one agent and one turn each, sampled from `model` on the CPU."""

    async def run_episode(task: Task, trial: int, seed: int) -> Episode:
        turn = _sample(model, [START, int(task.id)], tokens, seed)
        agent = Trajectory(agent=0, role="single", status=Status.FINISHED, turns=(turn,))
        return Episode(task_id=task.id, trial=trial, trajectories=(agent,), answer=turn.text)

    return Rollouts(run_episode, ToyJudge(), group_size=group_size)


def train_toy(
    folder: Path, config: RLConfig, trainer_config: TorchTrainerConfig | None = None
) -> TrainSummary:
    """A whole run on `toy_tasks`, of a model that is made here; for processes of their own."""
    model = tiny_model()
    trainer_config = trainer_config or TorchTrainerConfig()
    loop = TrainingLoop(
        config,
        InThread(TorchTrainer(model, trainer_config, config.loss)),
        toy_rollouts(model, group_size=config.group_size),
        folder=folder,
        loggers=open_loggers(
            config.loggers, LoggedRun(folder=folder), episodes=config.log_episodes
        ),
        trainer_config=trainer_config,
    )
    return asyncio.run(loop.fit(toy_tasks()))


@torch.no_grad()
def _sample(model: Decoder, prompt: Sequence[int], count: int, seed: int) -> Turn:
    generator = torch.Generator().manual_seed(seed)
    ids, logprobs = list(prompt), list[float]()
    for _ in range(count):
        states = model.hidden(torch.tensor([ids]), torch.tensor([len(ids)]))
        chances = model.logits(states[0, -1]).log_softmax(-1)
        ids.append(int(torch.multinomial(chances.exp(), 1, generator=generator)))
        logprobs.append(float(chances[ids[-1]]))
    response = tuple(ids[len(prompt) :])
    return Turn(
        text=" ".join(map(str, response)),
        finish=Finish.LENGTH,
        prompt_ids=tuple(prompt),
        response_ids=response,
        logprobs=tuple(logprobs),
        prompt_tokens=len(prompt),
        response_tokens=count,
    )
