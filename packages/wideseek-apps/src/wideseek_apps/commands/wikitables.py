"""`wideseek wikitables`: the files of a training run on real tables."""

from collections.abc import Sequence

from wideseek_core.commands import Command
from wideseek_core.config import load_arguments
from wideseek_core.counting import counted
from wideseek_core.progress import show

USAGE = "wideseek wikitables source=WIKITABLES folder=FOLDER"


def run(arguments: Sequence[str]) -> None:
    """Writes the world, the tasks and the listings, and shows how many there are."""
    from wideseek_apps.launch import show_settings, working
    from wideseek_apps.learning_data import (
        LearningDataConfig,
        check_learning_data,
        write_learning_data,
    )

    loaded = load_arguments(LearningDataConfig, arguments, usage=USAGE)
    check_learning_data(loaded.config)
    if loaded.dry_run:
        show_settings(loaded.config)
        return
    with working():
        counts = write_learning_data(loaded.config)
    for name, count in counts.items():
        show(f"{counted(count, 'line', form='7,')} in {loaded.config.folder / name}")


COMMAND = Command(summary="Prepare real tables (wikitables) for training.", run=run, group="Train")
