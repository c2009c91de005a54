"""`wideseek cluster`: the nodes of a Ray cluster, and what runs where."""

from collections.abc import Sequence

from wideseek_apps.launch import show_settings
from wideseek_core.commands import Command
from wideseek_core.config import Config, load_arguments
from wideseek_core.progress import show

USAGE = "wideseek cluster [address=ADDRESS]"


class ClusterCommand(Config):
    """Which cluster is looked at."""

    address: str = "auto"
    """Of the Ray cluster; `auto` finds the one that this host is part of."""


def run(arguments: Sequence[str]) -> None:
    """Shows a cluster. Raises `ConfigError` if there is none."""
    from wideseek_core.extras import require_modules

    loaded = load_arguments(ClusterCommand, arguments, usage=USAGE)
    if loaded.dry_run:
        show_settings(loaded.config)
        return
    require_modules("ray", feature="wideseek cluster", install="wideseek-rl[ray]")
    from wideseek_rl.cluster.ray.overview import cluster_text

    show(cluster_text(loaded.config.address))


COMMAND = Command(summary="Show what runs where in a Ray cluster.", run=run, group="Machine")
