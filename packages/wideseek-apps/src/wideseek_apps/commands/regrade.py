"""`wideseek regrade`, which is `wideseek-eval regrade`."""

from collections.abc import Sequence

from wideseek_core.commands import Command


def run(arguments: Sequence[str]) -> None:
    """Passes the arguments on."""
    from wideseek_apps.launch import pass_on
    from wideseek_eval.cli import PROGRAM

    pass_on(PROGRAM, ["regrade", *arguments])


COMMAND = Command(
    summary="Judge the stored answers of a run again.",
    run=run,
    group="Runs and responses",
)
