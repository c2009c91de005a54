"""`wideseek train`: multi-agent RL, measured on held-out questions before and after."""

import asyncio
from collections.abc import Sequence

from wideseek_core.commands import Command
from wideseek_core.config import load_arguments
from wideseek_core.progress import show

USAGE = "wideseek train [CONFIG.yaml ...] [KEY=VALUE ...]"


def run(arguments: Sequence[str]) -> None:
    """Trains, or resumes a run, and shows what changed."""
    from wideseek_apps.launch import show_settings, working
    from wideseek_apps.placement import resolved
    from wideseek_apps.training_config import TrainConfig, check_train

    loaded = load_arguments(TrainConfig, arguments, usage=USAGE)
    if loaded.dry_run and loaded.config.placement is not None:
        from wideseek_apps.placement_plan import placement_text

        text = placement_text(loaded.config)
        show_settings(loaded.config)
        show(text)
        return
    check_train(loaded.config)
    if loaded.dry_run:
        show_settings(loaded.config)
        return
    resolved(loaded.config)  # raises for a placement that can't be
    from wideseek_apps.training import outcome_text, train

    with working():
        outcome = asyncio.run(train(loaded.config))
    show(outcome_text(loaded.config, outcome))


COMMAND = Command(summary="Train a policy by multi-agent RL.", run=run, group="Train")
