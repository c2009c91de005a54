"""`wideseek serve`, which is `wideseek-index serve`: a retrieval server."""

from collections.abc import Sequence

from wideseek_core.commands import Command


def run(arguments: Sequence[str]) -> None:
    """Passes the arguments on."""
    from wideseek_apps.launch import pass_on
    from wideseek_tools.index.cli import PROGRAM

    pass_on(PROGRAM, ["serve", *arguments])


COMMAND = Command(summary="Serve a search index over HTTP.", run=run, group="Search and pages")
