"""`wideseek compare`, which is `wideseek-eval compare`."""

from collections.abc import Sequence

from wideseek_core.commands import Command


def run(arguments: Sequence[str]) -> None:
    """Passes the arguments on."""
    from wideseek_apps.launch import pass_on
    from wideseek_eval.cli import PROGRAM

    pass_on(PROGRAM, ["compare", *arguments])


COMMAND = Command(
    summary="Compare two runs question by question.",
    run=run,
    group="Runs and responses",
)
