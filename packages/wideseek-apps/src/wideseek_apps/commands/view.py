"""`wideseek view`, which is `wideseek-eval view`."""

from collections.abc import Sequence

from wideseek_core.commands import Command


def run(arguments: Sequence[str]) -> None:
    """Passes the arguments on."""
    from wideseek_apps.launch import pass_on
    from wideseek_eval.cli import PROGRAM

    pass_on(PROGRAM, ["view", *arguments])


COMMAND = Command(
    summary="Write all rollouts of a run as one page to look at.",
    run=run,
    group="Runs and responses",
)
