"""`wideseek sweep`, which is `wideseek-eval sweep`."""

from collections.abc import Sequence

from wideseek_core.commands import Command


def run(arguments: Sequence[str]) -> None:
    """Passes the arguments on."""
    from wideseek_apps.launch import pass_on
    from wideseek_eval.cli import PROGRAM

    pass_on(PROGRAM, ["sweep", *arguments])


COMMAND = Command(
    summary="Show a scaling curve out of finished runs.",
    run=run,
    group="Runs and responses",
)
