"""Trains a policy by multi-agent RL: `uv run apps/train [CONFIG.yaml ...] [a.b=c ...]`."""

import asyncio
import sys

from wideseek_apps.start_policy import make_start_policy
from wideseek_apps.training import Outcome, TrainConfig, train
from wideseek_core.config import exit_on_error, load_config
from wideseek_core.progress import logging_to_console, show
from wideseek_eval.reports.text import comparison_text


def main() -> None:
    """Trains, and says what changed, where it is written, and how to go on."""
    with exit_on_error(), logging_to_console():
        config = load_config(TrainConfig, sys.argv[1:])
        if config.start is not None:
            made = make_start_policy(config.start, config.team)
            show(f"loss {made.loss:.4f} after {made.seconds:.0f} s: {config.start.folder}")
        else:
            show(report(config, asyncio.run(train(config))))


def report(config: TrainConfig, outcome: Outcome) -> str:
    """The result for a person."""
    training = outcome.training
    return "\n".join(
        [
            comparison_text(outcome.comparison, "before", "after"),
            f"{training.steps} steps in {training.seconds:.0f} s, {outcome.seconds:.0f} s in all.",
            f"Written to {config.folder}: metrics.jsonl, episodes/, tensorboard/, before/, after/.",
            f"The policy: {training.checkpoint}",
            f"Next: uv run apps/widesearch policy.model={training.checkpoint}",
        ]
    )


if __name__ == "__main__":
    main()
