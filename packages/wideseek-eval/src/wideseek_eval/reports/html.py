"""The report as one HTML page that needs nothing beside it: style, charts and tables inside."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib.resources import files

from wideseek_core import TableGold, Task
from wideseek_eval.reports.diff import DiffCell, DiffRow, diff_tables
from wideseek_eval.reports.svg import Point, Share, bar_chart, share_chart
from wideseek_eval.runs.folder import Key, StoredRun
from wideseek_eval.runs.results import Result
from wideseek_eval.statistics.breakdown import Extreme, Group, Report
from wideseek_eval.statistics.means import Mean
from wideseek_eval.statistics.summary import Counts, Slice
from wideseek_eval.statistics.titles import TITLES

_TILES = ("item_f1", "row_f1", "success", "correct", "format_valid", "subagents")
_ENDINGS = {
    "all right": "good",
    "rows missing": "partly",
    "cells wrong": "partly",
    "rows too many": "partly",
    "no verdict": "unknown",
    "rollout broke": "unknown",
}
_MOST_ROWS = 60


def report_page(report: Report, run: StoredRun) -> str:
    """The whole page."""
    overall = report.summary.overall
    lead = (
        f"{overall.questions} questions, {overall.trials} "
        f"{'trial' if overall.trials == 1 else 'trials'} each; {_counts(overall.counts)}. "
        "Intervals are 95%, clustered by question."
    )
    sections = [
        f"<h1>{escape(report.name)}</h1><p class='lead'>{escape(lead)}</p>",
        _tiles(overall),
        "<h2>Metrics</h2>",
        _metrics("overall", overall),
        _languages(report.summary.languages),
        "<h2>Where scores come from</h2>",
        _charts(report),
        "<h2>Effort per rollout</h2>",
        _effort(overall),
        *_extremes("Best questions", report.best, run, best=True),
        *_extremes("Worst questions", report.worst, run, best=False),
    ]
    return page(report.name, "".join(sections))


def page(title: str, body: str) -> str:
    """A page around a body, with the style sheet inside."""
    style = files("wideseek_eval.reports").joinpath("page.css").read_text("utf-8")
    return (
        "<!doctype html>\n"
        '<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)} · WideSeek evaluation</title><style>{style}</style></head>"
        f"<body><main>{body}<footer>Computed by wideseek-eval from the run's files.</footer>"
        "</main></body></html>\n"
    )


def _counts(counts: Counts) -> str:
    parts = [f"{counts.scored} rollouts scored", f"{counts.failed} failed (no answer found)"]
    return ", ".join([*parts, f"{counts.unscored} unscored", f"{counts.error} broken"])


def _tiles(overall: Slice) -> str:
    tiles: list[str] = []
    for name in _TILES:
        metric = overall.metrics.get(name)
        mean = metric.avg if metric is not None else overall.effort.get(name)
        if mean is not None:
            tiles.append(
                f"<div class='card tile'><span>{TITLES[name]}</span><b>{_number(name, mean.mean)}"
                f"</b><span>{_interval(name, mean)}</span></div>"
            )
    return f"<div class='tiles'>{''.join(tiles)}</div>"


def _languages(languages: Mapping[str, Slice]) -> str:
    if len(languages) < 2:
        return ""
    tables = "".join(_metrics(name, one) for name, one in languages.items())
    return f"<div class='charts'>{tables}</div>"


def _metrics(name: str, one: Slice) -> str:
    k = one.trials
    head = f"<th>{escape(name)}</th>" + "".join(
        f"<th class='number'>{title}@{k}</th>" for title in ("avg", "max", "min")
    )
    rows = [
        f"<tr><td>{TITLES[metric]}</td>"
        + "".join(
            f"<td class='number'>{mean.mean:.1%} <small>{_interval(metric, mean)}</small></td>"
            for mean in (values.avg, values.max, values.min)
        )
        + "</tr>"
        for metric, values in sorted(one.metrics.items(), key=_headline)
        if metric != "score"
    ]
    note = f"{one.questions} questions; {_counts(one.counts)}"
    if one.short:
        note += f"; {one.short} questions with fewer than {k} trials that count"
    for metric, values in one.metrics.items():
        if len(values.pass_at) > 1:
            chances = ", ".join(f"@{j} {chance:.1%}" for j, chance in values.pass_at.items())
            note += f". {TITLES[metric]}, pass{chances}"
    return (
        f"<div class='card scroll' style='margin-bottom:12px'><table><tr>{head}</tr>"
        f"{''.join(rows)}</table>"
        f"<p class='lead' style='margin:8px 10px 0'>{escape(note)}.</p></div>"
    )


def _headline(pair: tuple[str, object]) -> int:
    """Headline metrics first, in the order of the tiles."""
    name = pair[0]
    return _TILES.index(name) if name in _TILES else len(_TILES)


def _charts(report: Report) -> str:
    kinds = [_share(one) for one in report.by_ending]
    cards = [
        ("Score by width (subagents in the rollout)", _bars("width", report.by_width)),
        ("Score by table size (rows of the reference)", _bars("table size", report.by_size)),
        ("Score by language", _bars("language", report.by_language)),
        ("How rollouts end, and what they score", share_chart("How rollouts end", kinds)),
    ]
    if 1 < len(report.by_source) <= 10:
        cards.append(("Score by source", _bars("source", report.by_source)))
    lead = (
        "The score is item F1 of tables and correctness of short answers. "
        "Below a bar: how many questions (q) and rollouts (r)."
    )
    shown = "".join(_card(*card) for card in cards if card[1])
    return f"<p class='lead'>{lead}</p><div class='charts'>{shown}</div>"


def _share(group: Group) -> Share:
    score = "" if group.score is None else f" · {group.score.mean:.2f}"
    kind = _ENDINGS.get(group.name, "poor")
    return Share(name=group.name, count=group.rollouts, note=score, kind=kind)


def _card(title: str, chart: str) -> str:
    return f"<div class='card'><h3>{escape(title)}</h3>{chart}</div>"


def _bars(what: str, groups: Iterable[Group]) -> str:
    points = [
        Point(
            name=group.name,
            notes=(f"{group.questions} q", f"{group.rollouts} r"),
            mean=group.score.mean,
            low=group.score.low,
            high=group.score.high,
        )
        for group in groups
        if group.score is not None
    ]
    return bar_chart(f"Score by {what}", points) if points else ""


def _effort(overall: Slice) -> str:
    head = "".join(f"<th class='number'>{TITLES[name]}</th>" for name in overall.effort)
    cells = "".join(
        f"<td class='number'>{_number(name, mean.mean)}<br>"
        f"<small>{_interval(name, mean)}</small></td>"
        for name, mean in overall.effort.items()
    )
    return f"<div class='card scroll'><table><tr>{head}</tr><tr>{cells}</tr></table></div>"


def _number(name: str, value: float) -> str:
    if name in ("prompt_tokens", "response_tokens"):
        return f"{value:,.0f}"
    return f"{value:.1f}" if name in _EFFORT_UNITS else f"{value:.1%}"


_EFFORT_UNITS = ("subagents", "lead_turns", "subagent_turns", "searches", "accesses", "seconds")


def _interval(name: str, mean: Mean) -> str:
    low, high = _number(name, mean.low), _number(name, mean.high)
    return f"{low.removesuffix('%')} – {high}"


def _extremes(
    title: str, chosen: Sequence[Extreme], run: StoredRun, *, best: bool
) -> Iterable[str]:
    if not chosen:
        return
    results: Mapping[Key, Result] = {(one.task_id, one.trial): one for one in run.results}
    yield f"<h2>{title}</h2>"
    if any(isinstance(run.tasks[one.task_id].gold, TableGold) for one in chosen):
        yield (
            "<p class='keys'><span class='diff'><span class='right'>right</span>"
            "<span class='wrong'><del>answered</del> <ins>reference</ins></span>"
            "<span class='lacking'>row missing</span>"
            "<span class='surplus'>row too many</span></span></p>"
        )
    for one in chosen:
        trial = one.best_trial if best else one.worst_trial
        yield _extreme(one, run.tasks[one.task_id], results[one.task_id, trial])


def _extreme(one: Extreme, task: Task, result: Result) -> str:
    scores = ", ".join(f"{score:.2f}" for score in one.scores)
    size = f"{one.rows} rows" if one.rows else ""
    episode = result.episode
    story = (
        f"{task.id} · trial {result.trial}: {episode.subagents} subagents, {episode.searches} "
        f"searches, {episode.accesses} pages read, {episode.seconds:.0f} s · scores {scores}"
    )
    return (
        f"<details><summary><span class='score'>{one.mean:.2f}</span>"
        f"<span class='question'>{escape(one.question)}</span>"
        f"<span class='note-text'>{size}</span></summary><div class='body'>"
        f"<p class='lead'>{escape(story)}</p>{_evidence(task, result)}</div></details>"
    )


def _evidence(task: Task, result: Result) -> str:
    score, gold = result.score, task.gold
    parts = [f"<p>{escape(score.message)}</p>"] if score is not None and score.message else []
    answer = f"<h3>Answer</h3><pre>{escape(result.answer or '(empty)')}</pre>"
    if not isinstance(gold, TableGold):
        references = escape("\n".join(gold.answers))
        return "".join([*parts, answer, f"<h3>Reference</h3><pre>{references}</pre>"])
    if score is None:
        return answer
    if not score.cells:
        parts.append(answer)
    diff = diff_tables(gold, result.answer, score)
    return "".join([*parts, _diff(diff.columns, diff.rows)])


def _diff(columns: Sequence[str], rows: Sequence[DiffRow]) -> str:
    head = "<th></th>" + "".join(f"<th>{escape(name)}</th>" for name in columns)
    body = "".join(_diff_row(row) for row in rows[:_MOST_ROWS])
    more = len(rows) - _MOST_ROWS
    note = f"<p class='lead'>and {more} more rows</p>" if more > 0 else ""
    return f"<div class='scroll'><table class='diff'><tr>{head}</tr>{body}</table></div>{note}"


def _diff_row(row: DiffRow) -> str:
    if row.kind == "joined":
        cells = "".join(_diff_cell(cell) for cell in row.cells)
        return f"<tr><td class='mark'></td>{cells}</tr>"
    texts = [cell.gold if row.kind == "missing" else cell.answer for cell in row.cells]
    cells = "".join(f"<td>{escape(text)}</td>" for text in texts)
    sign = "missing" if row.kind == "missing" else "too many"
    return f"<tr class='{row.kind}'><td class='mark'>{sign}</td>{cells}</tr>"


def _diff_cell(cell: DiffCell) -> str:
    if cell.score >= 1:
        return f"<td class='right'>{escape(cell.answer)}</td>"
    return (
        f"<td class='wrong'><del>{escape(cell.answer or '∅')}</del> "
        f"<ins>{escape(cell.gold or '∅')}</ins></td>"
    )
