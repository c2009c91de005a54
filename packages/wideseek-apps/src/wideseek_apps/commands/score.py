"""`wideseek score`, which is `wideseek-eval score`."""

from collections.abc import Sequence

from wideseek_core.commands import Command


def run(arguments: Sequence[str]) -> None:
    """Passes the arguments on."""
    from wideseek_apps.launch import pass_on
    from wideseek_eval.cli import PROGRAM

    pass_on(PROGRAM, ["score", *arguments])


COMMAND = Command(
    summary="Score response files of the official format.",
    run=run,
    group="Runs and responses",
)
