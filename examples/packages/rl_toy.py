"""wideseek-rl alone: a run that learns, in some seconds on a CPU."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

from wideseek_rl import OptimizerConfig, RLConfig, TorchTrainerConfig
from wideseek_rl.toy import train_toy

if __name__ == "__main__":
    trainer = TorchTrainerConfig(optimizer=OptimizerConfig(lr=2e-2, eps=1e-8), threads=1)
    config = RLConfig(prompts_per_step=6, group_size=8, steps=14, loggers=(), log_episodes=False)
    with TemporaryDirectory() as name:
        train_toy(Path(name), config, trainer)
        lines = (Path(name) / "metrics.jsonl").read_text().splitlines()
    rewards = [json.loads(line)["reward/mean"] for line in lines]
    print(f"mean reward {rewards[0]:.2f} -> {rewards[-1]:.2f}")
