"""`wideseek average`: the mean of several LoRA adapters as one."""

from collections.abc import Sequence

from wideseek_core.commands import Command
from wideseek_core.config import load_arguments
from wideseek_core.progress import show

USAGE = "wideseek average adapters=[FOLDER,FOLDER] folder=FOLDER [weights=[NUMBER,NUMBER]]"


def run(arguments: Sequence[str]) -> None:
    """Averages the adapters, and says how much of it their rank keeps."""
    from wideseek_apps.average_config import AverageConfig
    from wideseek_apps.launch import show_settings, working

    loaded = load_arguments(AverageConfig, arguments, usage=USAGE)
    if loaded.dry_run:
        show_settings(loaded.config)
        return
    from wideseek_apps.averaging import average

    with working():
        found = average(loaded.config)
    show(
        f"rank {found.rank} keeps {100 * found.kept:.1f} % of the average's squared norm: "
        f"{loaded.config.folder}"
    )


COMMAND = Command(summary="Average LoRA adapters for one model.", run=run, group="Train")
