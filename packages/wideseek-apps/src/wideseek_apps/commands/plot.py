"""`wideseek plot`, which is `wideseek-eval plot`."""

from collections.abc import Sequence

from wideseek_core.commands import Command


def run(arguments: Sequence[str]) -> None:
    """Passes the arguments on."""
    from wideseek_apps.launch import pass_on
    from wideseek_eval.cli import PROGRAM

    pass_on(PROGRAM, ["plot", *arguments])


COMMAND = Command(
    summary="Draw training curves of runs, or their scores by width.",
    run=run,
    group="Runs and responses",
)
