"""`wideseek widesearch`: an evaluation of a policy, resumable, with a report."""

from collections.abc import Sequence

from wideseek_core.commands import Command


def run(arguments: Sequence[str]) -> None:
    """Runs or resumes the evaluation and shows its scores."""
    from wideseek_apps.evaluation import WideSearchConfig, run_command

    run_command(
        WideSearchConfig, arguments, "wideseek widesearch [CONFIG.yaml ...] [KEY=VALUE ...]"
    )


COMMAND = Command(
    summary="Evaluate on questions whose answers are tables.",
    run=run,
    group="Evaluate and ask",
)
