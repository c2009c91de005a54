"""Reports on disk, and summaries, comparisons and sweeps as tables for a terminal."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from wideseek_core.counting import counted
from wideseek_core.files import write_atomically
from wideseek_core.json_text import to_json
from wideseek_eval.reports.pages import comparison_page, report_page
from wideseek_eval.runs.find import AFTER, BEFORE, find_pair
from wideseek_eval.runs.folder import load_run
from wideseek_eval.statistics.breakdown import Group, Report, make_report
from wideseek_eval.statistics.compare import Comparison, check_same_tasks, compare
from wideseek_eval.statistics.means import Mean
from wideseek_eval.statistics.summary import EFFORT, Counts, Slice, Summary
from wideseek_eval.statistics.sweep import Sweep
from wideseek_eval.statistics.titles import TITLES

WIDTH = 110
MAX_REASONS = 4


def summary_text(summary: Summary, title: str = "") -> str:
    """The summary of a run: one table per language, with counts beside the means."""
    blocks = [_slice(title or "overall", summary.overall), *_usage(summary.overall)]
    if len(summary.languages) > 1:
        blocks += [_slice(name, part) for name, part in summary.languages.items()]
    if summary.sources:
        blocks.append(_sources(summary.sources))
    return "\n".join(blocks)


def _usage(part: Slice) -> list[str]:
    """What was spent by role and model; nothing if no model was asked."""
    if not part.usage:
        return []
    priced = any(usage.cost for usage in part.usage)
    heads = ["role", "model", "requests", "prompt tokens", "response tokens"]
    table = _table([*heads, *(["cost"] if priced else [])])
    for usage in part.usage:
        counts = (usage.requests, usage.prompt_tokens, usage.response_tokens)
        cost = [f"{usage.cost:.4f}"] if priced else []
        table.add_row(usage.role, usage.model or "local", *(f"{n:,}" for n in counts), *cost)
    return [_draw(table)]


def _sources(parts: Mapping[str, Slice]) -> str:
    table = _table(["source", "score", "95% interval", "questions", "without a score"])
    for name, part in parts.items():
        mean = part.metrics["score"].avg
        lost = part.counts.unscored + part.counts.error
        table.add_row(name, f"{mean.mean:.3f}", _interval(mean), str(part.questions), str(lost))
    return _draw(table)


def report_text(report: Report) -> str:
    """The summary, and where its scores come from."""
    parts = [summary_text(report.summary, report.name)]
    breakdown = (
        ("subagents", report.by_width),
        ("rows of the table", report.by_size),
        ("ending", report.by_ending),
    )
    parts += [_groups(title, groups) for title, groups in breakdown if groups]
    return "\n".join(parts)


def write_report(folder: Path, grading: str = "") -> Report:
    """Writes a run's report beside its results: `report.json` and the page `report.html`.

    Those of a regrading are `report.NAME.json` and `report.NAME.html`. Raises `DataError`.
    """
    run = load_run(folder, grading)
    stem = f"report.{grading}" if grading else "report"
    report = make_report(f"{folder}:{grading}" if grading else str(folder), run)
    write_atomically(folder / f"{stem}.json", to_json(report, indent=2) + "\n")
    write_atomically(folder / f"{stem}.html", report_page(report, run))
    return report


def write_comparison(name: str) -> Path:
    """Writes the page that compares the evaluations before and after a training run; its path.

    Raises `DataError`.
    """
    pair = find_pair(name)
    before, after = (named.load() for named in pair)
    check_same_tasks(before.tasks, after.tasks)
    found = compare(before.results, after.results)
    stem = f"comparison.{pair[0].grading}" if pair[0].grading else "comparison"
    path = pair[0].path.parent / f"{stem}.html"
    write_atomically(path, comparison_page(found, [(BEFORE, before), (AFTER, after)]))
    return path


def comparison_text(comparison: Comparison, a: str, b: str) -> str:
    """B minus A per metric, with interval and adjusted p."""
    table = _table(["metric", a, b, "difference", "95% interval", "p", "p (Holm)", "questions"])
    for found in comparison.differences:
        table.add_row(
            TITLES[found.metric],
            f"{found.a.mean:.3f}",
            f"{found.b.mean:.3f}",
            f"{found.difference:+.3f}",
            f"[{found.low:+.3f}, {found.high:+.3f}]",
            f"{found.p:.4f}",
            f"{found.p_holm:.4f}",
            str(found.a.questions),
        )
    notes = [
        f"{counted(comparison.questions, 'question')} in both, {comparison.only_a} only in {a}, "
        f"{comparison.only_b} only in {b}; paired bootstrap, {counted(comparison.draws, 'draw')}.",
        f"{a}: {counts_text(comparison.counts_a)}.",
        f"{b}: {counts_text(comparison.counts_b)}.",
    ]
    return "\n".join([_draw(table), *notes])


def sweep_text(sweep: Sweep) -> str:
    """One line per value, with 95% intervals."""
    names = [TITLES[name] for name in sweep.metrics]
    table = _table([sweep.parameter, *names, "scored", "unscored + broken"])
    for point in sweep.points:
        counts = point.summary.overall.counts
        means = [
            _with_interval(point.summary.mean(name), effort=name in EFFORT)
            for name in sweep.metrics
        ]
        lost = f"{counts.unscored} + {counts.error}"
        table.add_row(point.value, *means, str(counts.scored + counts.failed), lost)
    return _draw(table)


def _with_interval(mean: Mean, *, effort: bool) -> str:
    return f"{mean.mean:.1f}" if effort else f"{mean.mean:.3f}\n{_interval(mean)}"


def counts_text(counts: Counts) -> str:
    """How many rollouts ended in which way."""
    return (
        f"{counts.scored} scored, {counts.failed} failed, "
        f"{counts.unscored} unscored, {counts.error} broken"
    )


def _slice(title: str, part: Slice) -> str:
    k = part.trials
    table = _table([title, f"avg@{k}", "95% interval", "se", f"max@{k}", f"min@{k}", "questions"])
    for name, metric in part.metrics.items():
        if name == "score":
            continue
        avg = metric.avg
        table.add_row(
            TITLES[name],
            f"{avg.mean:.3f}",
            _interval(avg),
            "-" if avg.se is None else f"{avg.se:.3f}",
            f"{metric.max.mean:.3f}",
            f"{metric.min.mean:.3f}",
            str(avg.questions),
        )
    lines = [
        _draw(table),
        f"{counted(part.questions, 'question')} x {k}: {counts_text(part.counts)}.",
    ]
    for name, metric in part.metrics.items():
        if len(metric.pass_at) > 1:
            chances = ", ".join(f"@{j} {chance:.3f}" for j, chance in metric.pass_at.items())
            lines.append(f"{TITLES[name]}, pass{chances}")
    lines += _lost(part)
    if part.short:
        lines.append(
            f"{counted(part.short, 'question')} with fewer than {counted(k, 'trial')} that count."
        )
    effort = ", ".join(f"{TITLES[name].lower()} {_short(m)}" for name, m in part.effort.items())
    return "\n".join([*lines, f"Per rollout: {effort}."])


def _lost(part: Slice) -> list[str]:
    """Why rollouts failed or have no score, and what the score would be if those counted."""
    lines: list[str] = []
    for outcome, found in part.reasons.items():
        shown = [f"{reason} ({count})" for reason, count in list(found.items())[:MAX_REASONS]]
        others = len(found) - len(shown)
        more = f", and {counted(others, 'other reason')}" if others else ""
        lines.append(f"{outcome}: {', '.join(shown)}{more}.")
    lost = part.counts.unscored + part.counts.error
    if lost:
        score = part.metrics["score"].with_lost
        lines.append(f"If the {lost} without a score counted as 0, the score would be {score:.3f}.")
    return lines


def _groups(title: str, groups: Sequence[Group]) -> str:
    table = _table([title, "score", "95% interval", "questions", "rollouts"])
    for group in groups:
        mean = group.score
        table.add_row(
            group.name,
            "-" if mean is None else f"{mean.mean:.3f}",
            "-" if mean is None else _interval(mean),
            str(group.questions),
            str(group.rollouts),
        )
    return _draw(table)


def _interval(mean: Mean) -> str:
    return f"[{mean.low:.3f}, {mean.high:.3f}]"


def _short(mean: Mean) -> str:
    return f"{mean.mean:,.0f}" if mean.mean >= 100 else f"{mean.mean:.1f}"


def _table(columns: Sequence[str]) -> Table:
    table = Table(header_style="bold")
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index == 0 else "right", overflow="fold")
    return table


def _draw(table: Table) -> str:
    """As plain text: it may go to a terminal, a file or a test."""
    console = Console(
        file=io.StringIO(),
        width=WIDTH,
        color_system=None,
        markup=False,
        emoji=False,
        highlight=False,
    )
    with console.capture() as capture:
        console.print(table)
    return "\n".join(line.rstrip() for line in capture.get().splitlines())
