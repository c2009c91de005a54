"""`wideseek schedule-sim`: schedules of training, simulated with measured lengths."""

from collections.abc import Sequence

from wideseek_core.commands import Command
from wideseek_core.config import load_arguments
from wideseek_core.progress import show

USAGE = "wideseek schedule-sim [CONFIG.yaml ...] [KEY=VALUE ...]"


def run(arguments: Sequence[str]) -> None:
    """Simulates each schedule and shows step times, idle shares, staleness and throughput."""
    from wideseek_apps.launch import show_settings
    from wideseek_rl.simulation.config import ScheduleSimConfig

    loaded = load_arguments(ScheduleSimConfig, arguments, usage=USAGE)
    if loaded.dry_run:
        show_settings(loaded.config)
        return
    from wideseek_rl.simulation.report import schedule_report

    show(schedule_report(loaded.config))


COMMAND = Command(summary="Simulate schedules of training.", run=run, group="Train")
