"""The command `wideseek-eval`: reports and comparisons of runs, official response files."""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from importlib.metadata import version
from pathlib import Path
from typing import Any, NoReturn

from pydantic import JsonValue

from wideseek_core import ConfigError, Judge
from wideseek_core.config import HelpRequested, apply, exit_on_error, merge, read_yaml
from wideseek_core.files import sha256, write_atomically
from wideseek_core.json_text import to_json
from wideseek_core.progress import show
from wideseek_eval.judges import open_judge
from wideseek_eval.reports.pages import sweep_page
from wideseek_eval.reports.text import (
    comparison_text,
    report_text,
    summary_text,
    sweep_text,
    write_report,
)
from wideseek_eval.runs.find import NamedRun, find_pair, find_run, find_runs
from wideseek_eval.runs.regrade import regrade
from wideseek_eval.runs.responses import export_responses
from wideseek_eval.runs.scoring import ResponseFiles, import_responses, score_responses
from wideseek_eval.statistics.compare import HEADLINE, Comparison, check_same_tasks, compare
from wideseek_eval.statistics.summary import summarize
from wideseek_eval.statistics.sweep import Sweep, SweepPoint
from wideseek_eval.statistics.titles import TITLES
from wideseek_eval.viewer.page import write_viewer

MAX_NAME = 12
"""Characters of a run's name that fit the heading of a column."""
_RUN = "a run's folder, FOLDER:GRADING for a regrading, or a training run's folder"


class _Parser(argparse.ArgumentParser):
    """Reports a bad command line as one line."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message} (see {self.prog} --help)")


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
    top = _Parser("wideseek-eval", description=__doc__)
    top.add_argument("--version", action="version", version=version("wideseek-eval"))
    commands = top.add_subparsers(dest="command")

    command = commands.add_parser(
        "report", help="tables; JSON and an HTML page in the run's folder"
    )
    command.add_argument("run", help=_RUN)

    command = commands.add_parser("compare", help="is run B better than run A?")
    command.add_argument("run_a", help=_RUN)
    command.add_argument("run_b", nargs="?", help="left out: RUN_A is a training run's folder")
    command.add_argument("--metrics", default=",".join(HEADLINE))
    command.add_argument("--draws", type=int, default=10_000, help="samples of the bootstrap")
    command.add_argument("--seed", type=int, default=0, help="seed of the bootstrap")
    command.add_argument("--json", type=Path)

    command = commands.add_parser("score", help="score response files of the official format")
    _add_responses(command)
    command.add_argument(
        "--json", type=Path, help="every score with its explanation, and the summary"
    )

    command = commands.add_parser(
        "import", help="make a run of response files of the official format"
    )
    command.add_argument("run", type=Path)
    _add_responses(command)

    command = commands.add_parser("export", help="write a run's responses in the official format")
    command.add_argument("run", help=_RUN)
    command.add_argument("target", type=Path, help="a .jsonl file, or a folder of one file each")
    command.add_argument("--model", default="wideseek", help="the name that file names begin with")

    command = commands.add_parser("regrade", help="judge a run's stored answers again")
    command.add_argument("run", help=_RUN)
    command.add_argument("--name", required=True, help="name of the new grading")
    _add_judge(command)

    command = commands.add_parser("view", help="all rollouts of a run as one page to look at")
    command.add_argument("run", help=_RUN)
    command.add_argument("--html", type=Path, help="where to; traces.html in the run's folder")

    command = commands.add_parser("sweep", help="a scaling curve out of finished runs")
    command.add_argument("parameter")
    command.add_argument("points", nargs="+", metavar="VALUE=RUN")
    command.add_argument("--json", type=Path)
    command.add_argument("--html", type=Path)
    return top


def _add_responses(command: argparse.ArgumentParser) -> None:
    command.add_argument("--tasks", type=Path, required=True, help="questions, as JSON lines")
    command.add_argument("--gold", type=Path, help="folder of gold CSV tables, if tasks need them")
    command.add_argument("--responses", type=Path, required=True, help="a .jsonl file or a folder")
    command.add_argument("--expect", type=int, help="how many tasks there must be")
    _add_judge(command)


def _add_judge(command: argparse.ArgumentParser) -> None:
    command.add_argument("--mode", default="official", help="how tables are scored")
    command.add_argument("--judge", default="normalized", help="who decides on cells")
    command.add_argument(
        "--set",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="settings of the judge, such as endpoint.base_url=URL endpoint.model=NAME, "
        "or YAML files",
    )
    command.add_argument("--max-concurrent", type=int, default=8, help="answers judged at a time")


def _report(options: argparse.Namespace) -> None:
    found = find_runs(options.run)
    for named in found:
        show(report_text(write_report(named.path, named.grading)))
        stem = f"report.{named.grading}" if named.grading else "report"
        show(f"written: {named.path / stem}.html, {named.path / stem}.json")


def _compare(options: argparse.Namespace) -> None:
    names = (name.strip() for name in options.metrics.split(","))
    metrics = list(dict.fromkeys(name for name in names if name))
    unknown = next((name for name in metrics if name not in TITLES), None)
    if unknown is not None or not metrics:
        raise ConfigError(f"unknown metric {unknown or ''!r}; known: {', '.join(TITLES)}")
    pair = (
        find_pair(options.run_a)
        if options.run_b is None
        else (find_run(options.run_a), find_run(options.run_b))
    )
    a, b = (named.load() for named in pair)
    check_same_tasks(a.tasks, b.tasks)
    found = compare(a.results, b.results, metrics=metrics, draws=options.draws, seed=options.seed)
    show(_comparison(found, *pair))
    if options.json is not None:
        write_atomically(options.json, to_json(found, indent=2) + "\n")


def _comparison(found: Comparison, a: NamedRun, b: NamedRun) -> str:
    """Long names are given below the table, where they don't squeeze its columns."""
    if max(len(str(a)), len(str(b))) <= MAX_NAME:
        return comparison_text(found, str(a), str(b))
    return f"{comparison_text(found, 'A', 'B')}\nA is {a}, B is {b}."


def _score(options: argparse.Namespace) -> None:
    async def work() -> None:
        files, settings = _files(options), _settings(options)
        async with _judge(options) as judge:
            scored = await score_responses(files, judge, settings, options.max_concurrent)
        show(summary_text(scored.summary))
        if scored.missing:
            show(f"{len(scored.missing)} tasks have no response; {_missing_rule(files)}.")
        if options.json is not None:
            write_atomically(options.json, to_json(scored, indent=2) + "\n")

    asyncio.run(work())


def _missing_rule(files: ResponseFiles) -> str:
    if files.missing_as_empty:
        return "they count as 0, as in the official script"
    return "they have no score"


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
    given: dict[str, Any] = {}
    for argument in options.set:
        if "=" in argument and not Path(argument).is_file():
            apply(given, argument)
        else:
            merge(given, read_yaml(Path(argument)))
    if given:
        settings["set"] = given
    return settings


def _digest(path: Path) -> str:
    files = sorted(path.glob("*.jsonl")) if path.is_dir() else [path]
    return " ".join(sha256(file) for file in files if file.is_file())


def _files(options: argparse.Namespace) -> ResponseFiles:
    return ResponseFiles(
        tasks=options.tasks,
        gold=options.gold,
        responses=options.responses,
        expect=options.expect,
        missing_as_empty=options.mode == "official",
    )


def _export(options: argparse.Namespace) -> None:
    count = export_responses(find_run(options.run).path, options.target, model=options.model)
    show(f"{count} responses: {options.target}")


def _regrade(options: argparse.Namespace) -> None:
    path = find_run(options.run).path

    async def work() -> None:
        async with _judge(options) as judge:
            summary = await regrade(
                path,
                judge,
                name=options.name,
                max_concurrent=options.max_concurrent,
                settings=_settings(options),
            )
        show(summary_text(summary))
        show(f"report: wideseek-eval report {path}:{options.name}")

    asyncio.run(work())


def _view(options: argparse.Namespace) -> None:
    path = options.html or Path(options.run.partition(":")[0]) / "traces.html"
    count = write_viewer(options.run, path)
    show(f"{count} rollouts: {path}")


def _sweep(options: argparse.Namespace) -> None:
    points: list[SweepPoint] = []
    for text in options.points:
        value, equals, name = text.partition("=")
        if not equals:
            raise ConfigError(f"{text!r}: expected VALUE=RUN")
        points.append(SweepPoint(value=value, summary=summarize(find_run(name).load().results)))
    sweep = Sweep(parameter=options.parameter, points=tuple(points))
    show(sweep_text(sweep))
    if options.json is not None:
        write_atomically(options.json, to_json(sweep, indent=2) + "\n")
    if options.html is not None:
        write_atomically(options.html, sweep_page(sweep))


_COMMANDS = {
    "report": _report,
    "compare": _compare,
    "score": _score,
    "import": _import,
    "export": _export,
    "regrade": _regrade,
    "sweep": _sweep,
    "view": _view,
}


if __name__ == "__main__":
    main()
