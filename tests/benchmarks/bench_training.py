"""What the trainer saves: merged turns, shared beginnings, rows without gradient, less precision.

`python tests/benchmarks/bench_training.py [--quick]` trains on the same rollouts each way, in one
process, and prints seconds and ratios. Times are CPU seconds, so that a busy machine matters less.
"""

import argparse
import random
import time
from collections.abc import Sequence

import torch

from wideseek_core import Finish, Turn
from wideseek_core.progress import show
from wideseek_rl import (
    LossConfig,
    TorchTrainerConfig,
    TrainedTurn,
    TrainingSample,
    UpdateMetrics,
    build_samples,
)
from wideseek_rl.models.config import DecoderConfig
from wideseek_rl.models.decoder import Decoder, new_model
from wideseek_rl.testing import known
from wideseek_rl.trainers.torch import TorchTrainer

VOCABULARY = 2048


def conversation(rng: random.Random, told: Sequence[int], turns: int, alike: int) -> list[Turn]:
    """An agent that asks, reads about 150 tokens, and asks again.

    For its first `alike` turns it says and reads what others do who were told the same.
    """
    context, own = list(told), rng
    made: list[Turn] = []
    for number in range(turns):
        rng = random.Random(told[0] + number) if number < alike else own
        response = [rng.randrange(VOCABULARY) for _ in range(rng.randint(25, 60))]
        made.append(
            Turn(
                text="",
                finish=Finish.STOP,
                prompt_ids=tuple(context),
                response_ids=tuple(response),
                logprobs=(-7.6,) * len(response),
            )
        )
        context += response + [rng.randrange(VOCABULARY) for _ in range(rng.randint(100, 200))]
    return made


def agents(rng: random.Random, questions: int) -> list[tuple[int, list[TrainedTurn]]]:
    """Question and turns of each agent: 4 rollouts a question, each of a lead and 3 subagents.

    One question in four has rollouts of equal reward, so its advantages are 0. Agents in the same
    place are told the same, and half of them differ in their last turn alone.
    """
    found: list[tuple[int, list[TrainedTurn]]] = []
    for question in range(questions):
        told = [[rng.randrange(VOCABULARY) for _ in range(250)] for _ in range(4)]
        for _ in range(4):
            advantage = 0.0 if question % 4 == 3 else rng.gauss(0, 1)
            for start, turns in zip(told, (3, 4, 4, 4), strict=True):
                alike = turns - 1 if rng.random() < 0.5 else 0
                trained = [
                    TrainedTurn(turn=turn, weight=1e-4, advantage=advantage)
                    for turn in conversation(rng, start, turns, alike)
                ]
                found.append((question, trained))
    return found


def measured(
    model: Decoder,
    rows: Sequence[TrainingSample],
    config: TorchTrainerConfig,
    loss: LossConfig | None = None,
) -> tuple[float, UpdateMetrics]:
    trainer = TorchTrainer(model, config, loss)
    started = time.process_time()
    metrics = trainer.update(rows)
    return time.process_time() - started, metrics


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rollouts")
    quick = parser.parse_args().quick
    model = new_model(
        DecoderConfig(
            vocab_size=VOCABULARY,
            hidden_size=256,
            layers=6,
            heads=8,
            kv_heads=4,
            head_dim=32,
            ffn_size=768,
        ),
        0,
    )
    made = agents(random.Random(0), 4 if quick else 8)
    merged = [row for group, turns in made for row in build_samples(turns, group=group)]
    apart = [row for group, turns in made for t in turns for row in build_samples([t], group=group)]
    plain = TorchTrainerConfig(max_batch_tokens=8192, share_prefixes=False)
    shared = plain.model_copy(update={"share_prefixes": True})
    bfloat16 = shared.model_copy(update={"autocast": "bfloat16"})
    all_tokens = LossConfig(entropy=1e-12)
    cases = {
        "one sample per turn, all samples": (apart, plain, all_tokens),
        "merged turns, all samples": (merged, plain, all_tokens),
        "merged, with gradient only": (merged, plain, None),
        "  and prefixes shared": (merged, shared, None),
        "  and autocast: bfloat16": (merged, bfloat16, None),
    }
    measured(model, merged[:8], plain)
    show(f"{torch.get_num_threads()} threads, {len(made)} agents")
    show(f"{'':34}{'tokens':>9}{'trained':>9}{'cpu s':>8}{'tok/s':>8}{'ratio':>7}")
    first = 0.0
    for name, (rows, config, loss) in cases.items():
        seconds, metrics = measured(model, rows, config, loss)
        first = first or seconds
        speed = known(metrics.tokens_run) / seconds
        show(
            f"{name:34}{metrics.tokens_run:>9}{metrics.tokens_trained:>9}{seconds:>8.1f}"
            f"{speed:>8.0f}{first / seconds:>7.1f}"
        )


if __name__ == "__main__":
    main()
