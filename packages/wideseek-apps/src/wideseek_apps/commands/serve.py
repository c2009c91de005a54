"""`wideseek serve`, which is `wideseek-index serve`: a retrieval server."""

from collections.abc import Sequence

from wideseek_core.commands import Command


def run(arguments: Sequence[str]) -> None:
    """Passes the arguments on."""
    from wideseek_apps.launch import working
    from wideseek_tools.index.cli import main

    with working():
        main(["serve", *arguments])


COMMAND = Command(summary="Serve a search index over HTTP.", run=run, group="Search and pages")
