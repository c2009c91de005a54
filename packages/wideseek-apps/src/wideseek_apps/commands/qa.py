"""`wideseek qa`: an evaluation of a policy, resumable, with a report."""

from collections.abc import Sequence

from wideseek_core.commands import Command


def run(arguments: Sequence[str]) -> None:
    """Runs or resumes the evaluation and shows its scores."""
    from wideseek_apps.evaluation import QaConfig, run_command

    run_command(QaConfig, arguments, "wideseek qa")


COMMAND = Command(
    summary="Evaluate on questions with short answers.",
    run=run,
    group="Evaluate and ask",
)
