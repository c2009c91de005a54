"""The numbers of the official WideSearch summary, under their names there."""

from collections import defaultdict
from collections.abc import Sequence

from wideseek_eval.runs.results import Result
from wideseek_eval.statistics.means import mean_of
from wideseek_eval.statistics.summary import value_of

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
    """The numbers of the official WideSearch summary, overall and per language.

    Means over questions of each question's mean, best and worst trial. As in the official script, a
    rollout without a response counts as 0; an answer without a verdict is left out.
    """
    tables = [result for result in results if result.kind == "table"]
    slices = {"overall": tables}
    for language in sorted({result.language for result in tables}):
        slices[language] = [result for result in tables if result.language == language]
    return {
        name: _official(inside) for name, inside in slices.items() if _trials(inside, "success")
    }


def _trials(results: Sequence[Result], metric: str) -> list[list[float]]:
    found: defaultdict[str, list[float]] = defaultdict(list)
    for result in results:
        value = 0.0 if result.outcome == "error" else value_of(result, metric)
        if value is not None:
            found[result.task_id].append(value)
    return list(found.values())


def _official(results: Sequence[Result]) -> dict[str, dict[str, float]]:
    numbers: dict[str, dict[str, float]] = {}
    for name, metric in _OFFICIAL.items():
        trials = _trials(results, metric)
        numbers[name] = {
            "avg_n": mean_of([sum(values) / len(values) for values in trials]).mean,
            "max_n": mean_of([max(values) for values in trials]).mean,
            "min_n": mean_of([min(values) for values in trials]).mean,
        }
    return numbers
