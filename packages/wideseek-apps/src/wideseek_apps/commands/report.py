"""`wideseek report`, which is `wideseek-eval report`."""

from collections.abc import Sequence

from wideseek_core.commands import Command


def run(arguments: Sequence[str]) -> None:
    """Passes the arguments on."""
    from wideseek_apps.launch import pass_on
    from wideseek_eval.cli import PROGRAM

    pass_on(PROGRAM, ["report", *arguments])


COMMAND = Command(
    summary="Show the scores of a run and write its page.",
    run=run,
    group="Runs and responses",
)
