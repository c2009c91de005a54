"""`wideseek import`, which is `wideseek-eval import`."""

from collections.abc import Sequence

from wideseek_core.commands import Command


def run(arguments: Sequence[str]) -> None:
    """Passes the arguments on."""
    from wideseek_apps.launch import pass_on
    from wideseek_eval.cli import PROGRAM

    pass_on(PROGRAM, ["import", *arguments])


COMMAND = Command(
    summary="Make a run of response files of the official format.",
    run=run,
    group="Runs and responses",
)
