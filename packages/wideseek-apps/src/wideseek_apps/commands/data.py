"""`wideseek data`: training tasks from tables and pages, and demonstrations of them."""

import asyncio
from collections.abc import Sequence

from wideseek_core.commands import Command, Program
from wideseek_core.config import load_arguments
from wideseek_core.progress import show

BUILD_USAGE = "wideseek data build CONFIG.yaml [KEY=VALUE ...]"
DEMONSTRATE_USAGE = "wideseek data demonstrate [CONFIG.yaml ...] [KEY=VALUE ...]"


def build(arguments: Sequence[str]) -> None:
    """Builds a data set."""
    from wideseek_apps.data_config import DataBuildConfig, check_build
    from wideseek_apps.launch import show_settings, working

    loaded = load_arguments(DataBuildConfig, arguments, usage=BUILD_USAGE)
    check_build(loaded.config)
    if loaded.dry_run:
        show_settings(loaded.config)
        return
    from wideseek_apps import data_building

    with working():
        report = asyncio.run(data_building.build(loaded.config))
    show(data_building.report_text(report, loaded.config.folder))


def demonstrate(arguments: Sequence[str]) -> None:
    """Writes demonstrations."""
    from wideseek_apps.data_config import DemonstrateConfig, check_demonstrate
    from wideseek_apps.launch import show_settings, working

    loaded = load_arguments(DemonstrateConfig, arguments, usage=DEMONSTRATE_USAGE)
    check_demonstrate(loaded.config)
    if loaded.dry_run:
        show_settings(loaded.config)
        return
    from wideseek_apps import data_building

    with working():
        counts = asyncio.run(data_building.demonstrate(loaded.config))
    show("\n".join(f"{name}: {count}" for name, count in sorted(counts.items())))
    show(str(loaded.config.file))


PROGRAM = Program(
    name="wideseek data",
    summary="Training tasks from tables and pages.",
    distribution="wideseek-apps",
    commands={
        "build": Command(summary="Build tasks, a world of pages and a card.", run=build),
        "demonstrate": Command(
            summary="Write demonstrations of a scripted teacher.", run=demonstrate
        ),
    },
)


COMMAND = Command(
    summary="Build training tasks from tables and pages, and demonstrate them.",
    run=PROGRAM.run,
    group="Train",
)
"""The sub-command."""
