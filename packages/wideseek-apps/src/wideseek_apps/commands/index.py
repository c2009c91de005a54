"""`wideseek index`, which is `wideseek-index`: build and describe search indexes."""

from collections.abc import Sequence

from wideseek_core.commands import Command


def run(arguments: Sequence[str]) -> None:
    """Passes the arguments on."""
    from wideseek_apps.launch import working
    from wideseek_tools.index.cli import main

    with working():
        main(arguments)


COMMAND = Command(
    summary="Build, describe and serve a search index.", run=run, group="Search and pages"
)
