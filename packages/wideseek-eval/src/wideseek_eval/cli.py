"""The command `wideseek-eval`: reports and comparisons of runs, official response files."""

import argparse
import asyncio
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, NoReturn

from pydantic import JsonValue

from wideseek_core import ConfigError, Judge
from wideseek_core.commands import Command, Program
from wideseek_core.config import apply, merge, read_yaml
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
_OFFICIAL = "Response files of the official format"
_RUN = "a run's folder, FOLDER:GRADING for a regrading, or a training run's folder"


class _Parser(argparse.ArgumentParser):
    """Reports a bad command line as one line."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message} (see {self.prog} --help)")


def main() -> None:
    """Entry point of the command."""
    PROGRAM.main()


def run(arguments: Sequence[str]) -> None:
    """Runs one command. Raises `WideSeekError`, and `HelpRequested`."""
    PROGRAM.run(arguments)


def _add_responses(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--tasks", type=Path, required=True, help="questions, as JSON lines")
    parser.add_argument("--gold", type=Path, help="folder of gold CSV tables, if tasks need them")
    parser.add_argument("--responses", type=Path, required=True, help="a .jsonl file or a folder")
    parser.add_argument("--expect", type=int, help="how many tasks there must be")
    _add_judge(parser)


def _add_judge(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--mode", default="official", help="how tables are scored")
    parser.add_argument("--judge", default="normalized", help="who decides on cells")
    parser.add_argument(
        "--set",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="settings of the judge, such as endpoint.base_url=URL endpoint.model=NAME, "
        "or YAML files",
    )
    parser.add_argument("--max-concurrent", type=int, default=8, help="answers judged at a time")


def _report(arguments: Sequence[str]) -> None:
    parser = _Parser("wideseek-eval report")
    parser.add_argument("run", help=_RUN)
    options = parser.parse_args(arguments)
    found = find_runs(options.run)
    for named in found:
        show(report_text(write_report(named.path, named.grading)))
        stem = f"report.{named.grading}" if named.grading else "report"
        show(f"written: {named.path / stem}.html, {named.path / stem}.json")


def _compare(arguments: Sequence[str]) -> None:
    parser = _Parser("wideseek-eval compare")
    parser.add_argument("run_a", help=_RUN)
    parser.add_argument("run_b", nargs="?", help="left out: RUN_A is a training run's folder")
    parser.add_argument(
        "--metrics", default=",".join(HEADLINE), help="metrics to compare, separated by commas"
    )
    parser.add_argument("--draws", type=int, default=10_000, help="samples of the bootstrap")
    parser.add_argument("--seed", type=int, default=0, help="seed of the bootstrap")
    parser.add_argument("--json", type=Path, help="where to write the comparison")
    options = parser.parse_args(arguments)
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


def _score(arguments: Sequence[str]) -> None:
    parser = _Parser("wideseek-eval score")
    _add_responses(parser)
    parser.add_argument("--json", type=Path, help="where to write every score and the summary")
    options = parser.parse_args(arguments)

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


def _import(arguments: Sequence[str]) -> None:
    parser = _Parser("wideseek-eval import")
    parser.add_argument("run", type=Path)
    _add_responses(parser)
    options = parser.parse_args(arguments)
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


def _export(arguments: Sequence[str]) -> None:
    parser = _Parser("wideseek-eval export")
    parser.add_argument("run", help=_RUN)
    parser.add_argument("target", type=Path, help="a .jsonl file, or a folder of one file each")
    parser.add_argument("--model", default="wideseek", help="the name that file names begin with")
    options = parser.parse_args(arguments)
    count = export_responses(find_run(options.run).path, options.target, model=options.model)
    show(f"{count} responses: {options.target}")


def _regrade(arguments: Sequence[str]) -> None:
    parser = _Parser("wideseek-eval regrade")
    parser.add_argument("run", help=_RUN)
    parser.add_argument("--name", required=True, help="name of the new grading")
    _add_judge(parser)
    options = parser.parse_args(arguments)
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


def _view(arguments: Sequence[str]) -> None:
    parser = _Parser("wideseek-eval view")
    parser.add_argument("run", help=_RUN)
    parser.add_argument("--html", type=Path, help="where to; traces.html in the run's folder")
    options = parser.parse_args(arguments)
    path = options.html or Path(options.run.partition(":")[0]) / "traces.html"
    count = write_viewer(options.run, path)
    show(f"{count} rollouts: {path}")


def _sweep(arguments: Sequence[str]) -> None:
    parser = _Parser("wideseek-eval sweep")
    parser.add_argument("parameter")
    parser.add_argument("points", nargs="+", metavar="VALUE=RUN")
    parser.add_argument("--json", type=Path, help="where to write the summaries")
    parser.add_argument("--html", type=Path, help="where to write the page")
    options = parser.parse_args(arguments)
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


PROGRAM = Program(
    name="wideseek-eval",
    summary="Reports and comparisons of runs, and response files of the official format.",
    distribution="wideseek-eval",
    commands={
        "report": Command(summary="Show a run's scores, write its page.", run=_report),
        "view": Command(summary="Write all rollouts as one page to look at.", run=_view),
        "compare": Command(summary="Tell whether run B is better than run A.", run=_compare),
        "regrade": Command(summary="Judge a run's stored answers again.", run=_regrade),
        "sweep": Command(summary="Draw a scaling curve of finished runs.", run=_sweep),
        "score": Command(summary="Score response files.", run=_score, group=_OFFICIAL),
        "import": Command(summary="Make a run of response files.", run=_import, group=_OFFICIAL),
        "export": Command(summary="Write a run's responses.", run=_export, group=_OFFICIAL),
    },
)


if __name__ == "__main__":
    main()
