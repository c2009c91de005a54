"""`wideseek index`, which is `wideseek-index`: build and describe search indexes."""

from collections.abc import Sequence

from wideseek_core.commands import Command


def run(arguments: Sequence[str]) -> None:
    """Passes the arguments on."""
    from wideseek_apps.launch import pass_on
    from wideseek_tools.index.cli import PROGRAM

    pass_on(PROGRAM, arguments, shown="wideseek index")


COMMAND = Command(
    summary="Build, describe and serve a search index.", run=run, group="Search and pages"
)
