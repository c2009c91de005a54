"""A figure of every report: how many rollouts there are in each language."""

from wideseek_eval import Figure, Report, StoredRun
from wideseek_eval.reports.svg import Share, share_chart


def by_language(report: Report, run: StoredRun) -> Figure | None:
    """None where there is nothing to compare, and the report leaves the figure out."""
    shares = [
        Share(name=group.name, count=group.rollouts, kind="partly") for group in report.by_language
    ]
    if not shares:
        return None
    title = "Rollouts by language"
    return Figure(title=title, svg=share_chart(title, shares))
