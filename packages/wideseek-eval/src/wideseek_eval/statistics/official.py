"""The figures of the official WideSearch summary, under their names there."""

from collections.abc import Sequence

from wideseek_eval.runs.results import Result
from wideseek_eval.statistics.means import mean_of
from wideseek_eval.statistics.summary import values_by_question

_OFFICIAL = {
    "score": "success",
    "precision_by_row": "row_precision",
    "recall_by_row": "row_recall",
    "f1_by_row": "row_f1",
    "precision_by_item": "item_precision",
    "recall_by_item": "item_recall",
    "f1_by_item": "item_f1",
}


def official_summary(results: Sequence[Result]) -> dict[str, dict[str, dict[str, float]]]:
    """The figures of the official WideSearch summary, overall and per language.

    Means over questions of each question's mean, best and worst trial. The official script stops
    when a trial is missing; here, look at `Summary`'s counts.
    """
    tables = [one for one in results if one.kind == "table"]
    slices = {"overall": tables}
    for language in sorted({one.language for one in tables}):
        slices[language] = [one for one in tables if one.language == language]
    return {name: _official(inside) for name, inside in slices.items() if _any_counts(inside)}


def _any_counts(results: Sequence[Result]) -> bool:
    return bool(values_by_question(results, "success"))


def _official(results: Sequence[Result]) -> dict[str, dict[str, float]]:
    figures: dict[str, dict[str, float]] = {}
    for name, metric in _OFFICIAL.items():
        trials = list(values_by_question(results, metric).values())
        figures[name] = {
            "avg_n": mean_of([sum(values) / len(values) for values in trials]).mean,
            "max_n": mean_of([max(values) for values in trials]).mean,
            "min_n": mean_of([min(values) for values in trials]).mean,
        }
    return figures
