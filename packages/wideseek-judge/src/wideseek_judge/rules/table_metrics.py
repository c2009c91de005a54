"""Precision, recall and F1 from counts.

With TP the summed scores, P = TP / predicted, R = TP / gold, F1 = 2PR / (P + R); 0/0 is 0.
"""

from dataclasses import dataclass

from wideseek_core import TableMetrics


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What the six metrics of a table are made of."""

    item_score: float
    """Summed scores of the cells of joined rows."""
    row_score: float
    """Summed row scores; a row's score is the least of its cells'."""
    answer_rows: int
    gold_rows: int
    columns: int


def f1(precision: float, recall: float) -> float:
    """Harmonic mean; 0 if both are (nearly) 0."""
    total = precision + recall
    return 2 * precision * recall / total if total > 1e-9 else 0.0


def table_metrics(counts: Counts, *, equal: bool = False) -> TableMetrics:
    """The metrics of a table; success if `equal`, or if all six are exactly 1."""
    answer_items = counts.answer_rows * counts.columns
    gold_items = counts.gold_rows * counts.columns
    item_precision = _ratio(counts.item_score, answer_items)
    item_recall = _ratio(counts.item_score, gold_items)
    row_precision = _ratio(counts.row_score, counts.answer_rows)
    row_recall = _ratio(counts.row_score, counts.gold_rows)
    item_f1 = f1(item_precision, item_recall)
    row_f1 = f1(row_precision, row_recall)
    six = (item_precision, item_recall, item_f1, row_precision, row_recall, row_f1)
    return TableMetrics(
        item_precision=item_precision,
        item_recall=item_recall,
        item_f1=item_f1,
        row_precision=row_precision,
        row_recall=row_recall,
        row_f1=row_f1,
        success=float(equal or all(metric == 1.0 for metric in six)),
    )


def _ratio(score: float, total: int) -> float:
    return score / total if total else 0.0
