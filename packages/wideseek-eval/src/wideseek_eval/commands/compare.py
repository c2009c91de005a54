"""`wideseek-eval compare`: whether one run is better than another."""

from collections.abc import Sequence
from pathlib import Path

from wideseek_core import Config, ConfigError
from wideseek_core.config import load_config
from wideseek_core.files import write_atomically
from wideseek_core.json_text import to_json
from wideseek_core.progress import show
from wideseek_eval.reports.pages import comparison_page
from wideseek_eval.reports.text import comparison_text
from wideseek_eval.runs.find import NamedRun, find_pair, find_run
from wideseek_eval.statistics.compare import HEADLINE, Comparison, check_same_tasks, compare
from wideseek_eval.statistics.titles import TITLES

USAGE = "wideseek-eval compare RUN_A [RUN_B] [KEY=VALUE ...]"
MAX_NAME = 12
"""Characters of a run's name that fit the heading of a column."""


class CompareConfig(Config):
    """Tells whether run B is better than run A, question by question."""

    run_a: str
    """A run's folder, FOLDER:GRADING for a regrading, or a training run's folder."""
    run_b: str | None = None
    """The same; null compares the evaluations before and after the training run RUN_A."""
    metrics: tuple[str, ...] = tuple(HEADLINE)
    """What is compared."""
    draws: int = 10_000
    """Samples of the bootstrap."""
    seed: int = 0
    """Seed of the bootstrap."""
    json_file: Path | None = None
    """Where to write the comparison as JSON."""
    html_file: Path | None = None
    """Where to write a page with all questions of both runs side by side."""


def run(arguments: Sequence[str]) -> None:
    """Runs the command."""
    config = load_config(CompareConfig, arguments, positional=("run_a", "run_b"), usage=USAGE)
    metrics = list(dict.fromkeys(config.metrics))
    unknown = next((name for name in metrics if name not in TITLES), None)
    if unknown is not None:
        raise ConfigError(f"unknown metric {unknown!r}; known: {', '.join(TITLES)}")
    if not metrics:
        raise ConfigError(f"metrics: give at least one of {', '.join(TITLES)}")
    pair = (
        find_pair(config.run_a)
        if config.run_b is None
        else (find_run(config.run_a), find_run(config.run_b))
    )
    a, b = (named.load() for named in pair)
    check_same_tasks(a.tasks, b.tasks)
    found = compare(a.results, b.results, metrics=metrics, draws=config.draws, seed=config.seed)
    show(_text(found, *pair))
    if config.json_file is not None:
        write_atomically(config.json_file, to_json(found, indent=2) + "\n")
    if config.html_file is not None:
        runs = [(str(pair[0]), a), (str(pair[1]), b)]
        write_atomically(config.html_file, comparison_page(found, runs))


def _text(found: Comparison, a: NamedRun, b: NamedRun) -> str:
    """Long names are given below the table, where they don't squeeze its columns."""
    if max(len(str(a)), len(str(b))) <= MAX_NAME:
        return comparison_text(found, str(a), str(b))
    return f"{comparison_text(found, 'A', 'B')}\nA is {a}, B is {b}."
