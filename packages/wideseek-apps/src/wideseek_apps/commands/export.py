"""`wideseek export`, which is `wideseek-eval export`."""

from collections.abc import Sequence

from wideseek_core.commands import Command


def run(arguments: Sequence[str]) -> None:
    """Passes the arguments on."""
    from wideseek_apps.launch import pass_on
    from wideseek_eval.cli import PROGRAM

    pass_on(PROGRAM, ["export", *arguments])


COMMAND = Command(
    summary="Write the responses of a run in the official format.",
    run=run,
    group="Runs and responses",
)
