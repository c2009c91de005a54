"""`wideseek env`: versions, devices and caches, for bug reports."""

from collections.abc import Sequence

from wideseek_core.commands import Command
from wideseek_core.config import Config, load_config
from wideseek_core.progress import show


class EnvConfig(Config):
    """Shows versions, devices, caches and the names of the environment variables that matter."""


def run(arguments: Sequence[str]) -> None:
    """Shows the environment."""
    from wideseek_apps.environment_report import environment_report

    load_config(EnvConfig, arguments, usage="wideseek env")
    show(environment_report())


COMMAND = Command(summary="Show versions, devices and caches.", run=run, group="Machine")
