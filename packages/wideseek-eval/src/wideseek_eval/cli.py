"""The command `wideseek-eval`: reports and comparisons of runs, official response files."""

from collections.abc import Sequence
from importlib import import_module
from typing import Any

from wideseek_core.commands import Command, Program

_RUNS = "Runs"
_OFFICIAL = "Response files of the official format"


def main() -> None:
    """Entry point of the command."""
    PROGRAM.main()


def run(arguments: Sequence[str]) -> None:
    """Runs one command. Raises `WideSeekError`, and `HelpRequested`."""
    PROGRAM.run(arguments)


def _command(module: str, summary: str, group: str) -> Command:
    """A command whose module is imported when it runs."""

    def run(arguments: Sequence[str]) -> None:
        found: Any = import_module(f"wideseek_eval.commands.{module}")
        found.run(arguments)

    return Command(summary=summary, run=run, group=group)


PROGRAM = Program(
    name="wideseek-eval",
    summary="Reports and comparisons of runs, and response files of the official format.",
    distribution="wideseek-eval",
    commands={
        "report": _command("report", "Show a run's scores, write its page.", _RUNS),
        "view": _command("view", "Write all rollouts as one page to look at.", _RUNS),
        "compare": _command("compare", "Tell whether run B is better than run A.", _RUNS),
        "regrade": _command("regrade", "Judge a run's stored answers again.", _RUNS),
        "plot": _command("plot", "Draw training curves, or scores by width.", _RUNS),
        "sweep": _command("sweep", "Draw a scaling curve of finished runs.", _RUNS),
        "score": _command("score", "Score response files.", _OFFICIAL),
        "import": _command("import_", "Make a run of response files.", _OFFICIAL),
        "export": _command("export", "Write a run's responses.", _OFFICIAL),
    },
)


if __name__ == "__main__":
    main()
