"""The command `wideseek-eval`: reports and comparisons of runs, official response files."""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from pydantic import JsonValue

from wideseek_core import ConfigError, Judge
from wideseek_core.config import HelpRequested, exit_on_error
from wideseek_core.files import sha256, write_atomically
from wideseek_core.progress import show
from wideseek_eval.judges import open_judge
from wideseek_eval.reports.sweep import Sweep, SweepPoint, sweep_page
from wideseek_eval.reports.text import (
    comparison_text,
    report_text,
    summary_text,
    sweep_text,
    write_report,
)
from wideseek_eval.runs.folder import StoredRun, load_run
from wideseek_eval.runs.regrade import regrade
from wideseek_eval.runs.responses import export_responses
from wideseek_eval.runs.scoring import ResponseFiles, import_responses, score_responses
from wideseek_eval.statistics.compare import HEADLINE, Comparison, check_same_tasks, compare
from wideseek_eval.statistics.summary import summarise
from wideseek_eval.statistics.titles import TITLES

_LONGEST_NAME = 12
"""Of a run as the heading of a column."""


def main() -> None:
    """Entry point of the command."""
    with exit_on_error():
        run(sys.argv[1:])


def run(arguments: Sequence[str]) -> None:
    """Runs one command. Raises `WideSeekError`."""
    options = parser().parse_args(arguments)
    if options.command is None:
        raise HelpRequested(parser().format_help().rstrip())
    _COMMANDS[options.command](options)


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    top = argparse.ArgumentParser("wideseek-eval", description=__doc__)
    commands = top.add_subparsers(dest="command")

    one = commands.add_parser("report", help="tables; JSON and an HTML page in the run's folder")
    one.add_argument("run", help="a run's folder, or FOLDER:GRADING for a regrading")

    one = commands.add_parser("compare", help="is run B better than run A?")
    one.add_argument("run_a")
    one.add_argument("run_b")
    one.add_argument("--metrics", default=",".join(HEADLINE))
    one.add_argument("--draws", type=int, default=10_000)
    one.add_argument("--seed", type=int, default=0)
    one.add_argument("--json", type=Path)

    one = commands.add_parser("score", help="score response files of the official format")
    _add_responses(one)
    one.add_argument("--json", type=Path, help="every score with its explanation, and the summary")

    one = commands.add_parser("import", help="make a run of response files of the official format")
    one.add_argument("run", type=Path)
    _add_responses(one)

    one = commands.add_parser("export", help="write a run's responses in the official format")
    one.add_argument("run", type=Path)
    one.add_argument("target", type=Path, help="a .jsonl file, or a folder of one file each")
    one.add_argument("--model", default="wideseek", help="the name that file names begin with")

    one = commands.add_parser("regrade", help="judge a run's stored answers again")
    one.add_argument("run", type=Path)
    one.add_argument("--name", required=True, help="of the new grading")
    _add_judge(one)

    one = commands.add_parser("sweep", help="a scaling curve out of finished runs")
    one.add_argument("parameter")
    one.add_argument("points", nargs="+", metavar="VALUE=RUN")
    one.add_argument("--json", type=Path)
    one.add_argument("--html", type=Path)
    return top


def _add_responses(one: argparse.ArgumentParser) -> None:
    one.add_argument("--tasks", type=Path, required=True, help="questions, as JSON lines")
    one.add_argument("--gold", type=Path, help="folder of gold CSV tables, if tasks need them")
    one.add_argument("--responses", type=Path, required=True, help="a .jsonl file or a folder")
    one.add_argument("--expect", type=int, help="how many tasks there must be")
    _add_judge(one)


def _add_judge(one: argparse.ArgumentParser) -> None:
    one.add_argument("--mode", default="official", help="how tables are scored")
    one.add_argument("--judge", default="normalized", help="who decides on cells")
    one.add_argument(
        "--set",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="settings of the judge, such as endpoint.base_url=URL endpoint.model=NAME, or YAML",
    )
    one.add_argument("--max-concurrent", type=int, default=8)


def _report(options: argparse.Namespace) -> None:
    folder, grading = _named(options.run)
    show(report_text(write_report(folder, grading)))
    stem = f"report.{grading}" if grading else "report"
    show(f"written: {folder / stem}.html, {folder / stem}.json")


def _compare(options: argparse.Namespace) -> None:
    a, b = _run(options.run_a), _run(options.run_b)
    check_same_tasks(a.tasks, b.tasks)
    metrics = [name.strip() for name in options.metrics.split(",") if name.strip()]
    unknown = next((name for name in metrics if name not in TITLES), None)
    if unknown is not None:
        raise ConfigError(f"unknown metric {unknown!r}; known: {', '.join(TITLES)}")
    found = compare(a.results, b.results, metrics=metrics, draws=options.draws, seed=options.seed)
    show(_comparison(found, options.run_a, options.run_b))
    if options.json is not None:
        write_atomically(options.json, found.model_dump_json(indent=2) + "\n")


def _comparison(found: Comparison, a: str, b: str) -> str:
    """Long names stand below the table, where they don't squeeze its columns."""
    if max(len(a), len(b)) <= _LONGEST_NAME:
        return comparison_text(found, a, b)
    return f"{comparison_text(found, 'A', 'B')}\nA is {a}, B is {b}."


def _score(options: argparse.Namespace) -> None:
    async def work() -> None:
        async with _judge(options) as judge:
            files, settings = _files(options), _settings(options)
            scored = await score_responses(files, judge, settings, options.max_concurrent)
        show(summary_text(scored.summary))
        if options.json is not None:
            write_atomically(options.json, scored.model_dump_json(indent=2) + "\n")

    asyncio.run(work())


def _import(options: argparse.Namespace) -> None:
    settings = _settings(options) | {"responses": _digest(options.responses)}

    async def work() -> None:
        async with _judge(options) as judge:
            summary = await import_responses(
                _files(options), judge, options.run, settings, options.max_concurrent
            )
        show(summary_text(summary))

    asyncio.run(work())


def _judge(options: argparse.Namespace) -> AbstractAsyncContextManager[Judge]:
    return open_judge(options.mode, options.judge, options.set)


def _settings(options: argparse.Namespace) -> dict[str, JsonValue]:
    """What shapes scores, as it was asked for."""
    settings: dict[str, JsonValue] = {"mode": options.mode, "judge": options.judge}
    if options.set:
        settings["set"] = list(options.set)
    return settings


def _digest(path: Path) -> str:
    files = sorted(path.glob("*.jsonl")) if path.is_dir() else [path]
    return " ".join(sha256(file) for file in files if file.is_file())


def _files(options: argparse.Namespace) -> ResponseFiles:
    return ResponseFiles(
        tasks=options.tasks, gold=options.gold, responses=options.responses, expect=options.expect
    )


def _export(options: argparse.Namespace) -> None:
    count = export_responses(options.run, options.target, model=options.model)
    show(f"{count} responses: {options.target}")


def _regrade(options: argparse.Namespace) -> None:
    async def work() -> None:
        async with _judge(options) as judge:
            summary = await regrade(
                options.run,
                judge,
                name=options.name,
                max_concurrent=options.max_concurrent,
                settings=_settings(options),
            )
        show(summary_text(summary))
        show(f"report: wideseek-eval report {options.run}:{options.name}")

    asyncio.run(work())


def _sweep(options: argparse.Namespace) -> None:
    points: list[SweepPoint] = []
    for text in options.points:
        value, equals, name = text.partition("=")
        if not equals:
            raise ConfigError(f"{text!r}: expected VALUE=RUN")
        points.append(SweepPoint(value=value, summary=summarise(_run(name).results)))
    sweep = Sweep(parameter=options.parameter, points=tuple(points))
    show(sweep_text(sweep))
    if options.json is not None:
        write_atomically(options.json, sweep.model_dump_json(indent=2) + "\n")
    if options.html is not None:
        write_atomically(options.html, sweep_page(sweep))


def _run(name: str) -> StoredRun:
    return load_run(*_named(name))


def _named(name: str) -> tuple[Path, str]:
    """Folder and grading of `FOLDER` or `FOLDER:GRADING`."""
    if Path(name).is_dir() or ":" not in name:
        return Path(name), ""
    folder, _, grading = name.rpartition(":")
    return Path(folder), grading


_COMMANDS = {
    "report": _report,
    "compare": _compare,
    "score": _score,
    "import": _import,
    "export": _export,
    "regrade": _regrade,
    "sweep": _sweep,
}
