"""Tables against reference tables, by the `strict` and the `reward` rules.

Rows are joined one to one by their keys; every cell of a joined row gets a score, whose item and
row sums make the figures.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from wideseek_core import (
    CellScore,
    ColumnRule,
    DataError,
    Score,
    ScoreState,
    TableGold,
    TableMetrics,
)
from wideseek_judge import strict
from wideseek_judge.metrics import Counts, table_metrics
from wideseek_judge.tables import Table, choose_table, column_name, parse_csv, parse_markdown
from wideseek_judge.verdicts import Alignment, Case, Comparison, Verdict, Verdicts

Row = tuple[str, ...]

_KEY = Verdict(1.0, "key")
_JUDGED = ColumnRule(metric=("llm_judge",))


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """A table cut to the required columns, in their order."""

    columns: Row
    keys: tuple[int, ...]
    """Positions of the key columns."""
    rows: list[Row]

    def key(self, row: Row) -> Row:
        """The key cells of a row."""
        return tuple(row[index] for index in self.keys)

    def shortened(self, rows: Sequence[Row]) -> list[Row]:
        """Rows with plain numbers cut to six digits, keys left whole: they must stay apart."""
        return [
            tuple(cell if at in self.keys else short_number(cell) for at, cell in enumerate(row))
            for row in rows
        ]


@dataclass(slots=True, kw_only=True)
class Join:
    """Which answer row stands for which reference row."""

    pairs: list[tuple[Row, Row]] = field(default_factory=list[tuple[Row, Row]])
    """Answer row and reference row, in the answer's order."""
    extra: list[Row] = field(default_factory=list[Row])
    missing: list[Row] = field(default_factory=list[Row])

    @property
    def answer_rows(self) -> int:
        """Rows of the answer that count."""
        return len(self.pairs) + len(self.extra)


async def score_table(
    case: Case,
    gold: TableGold,
    answer: str,
    *,
    mode: Literal["strict", "reward"],
    verdicts: Verdicts,
) -> Score:
    """The score of an answer text against a reference table."""
    target = gold_grid(gold)
    table = choose_table(answer, target.columns)
    if table is None:
        return failed("no table in the answer")
    positions = await _positions(case, table, target.columns, verdicts)
    missing = [name for name, at in zip(target.columns, positions, strict=True) if at is None]
    if missing:
        return failed(f"columns missing: {', '.join(missing)}")
    taken = [at for at in positions if at is not None]
    rows = [tuple(row[at] for at in taken) for row in table.rows]
    if not rows:
        return failed("the table has no rows")
    if mode == "reward":
        rows = target.shortened(rows)
        target = replace(target, rows=target.shortened(target.rows))
    join = await join_rows(case, target, rows, verdicts)
    rules = [_JUDGED] * len(target.columns) if mode == "reward" else _rules(gold, target)
    scores = await _judge_cells(case, target, join, rules, verdicts)
    return _explained(case, target, join, scores)


def failed(message: str) -> Score:
    """The score of an answer that holds no usable table."""
    return Score(state=ScoreState.FAILED, metrics=TableMetrics(), message=message)


def short_number(cell: str) -> str:
    """A cell that is a plain number, to six significant digits, as training compares them."""
    if not cell or cell[-1] not in "0123456789.":
        return cell
    try:
        return f"{float(cell):g}"
    except ValueError:
        return cell


def gold_grid(gold: TableGold) -> Grid:
    """The reference table; rows whose key came before are dropped. Raises `DataError`."""
    table = parse_csv(gold.text) if gold.format == "csv" else parse_markdown(gold.text)
    if table is None:
        raise DataError("the reference holds no table")
    names = [column_name(name) for name in table.columns]
    columns = tuple(dict.fromkeys(map(column_name, gold.required_columns or table.columns)))
    keys = tuple(dict.fromkeys(map(column_name, gold.key_columns or columns)))
    absent = [name for name in columns if name not in names]
    if absent:
        raise DataError(f"the reference table has no column {absent[0]!r}")
    stray = [name for name in keys if name not in columns]
    if stray:
        raise DataError(f"key column {stray[0]!r} is not among the required columns")
    taken = [names.index(name) for name in columns]
    at = tuple(columns.index(name) for name in keys)
    rows: dict[Row, Row] = {}
    for row in table.rows:
        rows.setdefault(tuple(row[taken[index]] for index in at), tuple(row[i] for i in taken))
    return Grid(columns=columns, keys=at, rows=list(rows.values()))


def check_gold(gold: TableGold) -> None:
    """Raises `DataError` for a reference that no answer could be scored against."""
    _rules(gold, gold_grid(gold))


async def _positions(
    case: Case, table: Table, columns: Sequence[str], verdicts: Verdicts
) -> list[int | None]:
    """Where each required column stands in the answer: same name first, then aligned ones."""
    names = [column_name(name) for name in table.columns]
    positions = [names.index(name) if name in names else None for name in columns]
    wanted = [name for name, at in zip(columns, positions, strict=True) if at is None]
    if not wanted:
        return positions
    spare = [name for name in dict.fromkeys(names) if name and name not in columns]
    if not spare:
        return positions
    aligned = await verdicts.align(case, Alignment(column="", values=spare, references=wanted))
    for name in spare:
        found = aligned.get(name)
        if found in wanted and positions[columns.index(found)] is None:
            positions[columns.index(found)] = names.index(name)
    return positions


async def join_rows(case: Case, target: Grid, rows: Sequence[Row], verdicts: Verdicts) -> Join:
    """Joins rows one to one by key.

    A row whose key surely came before is dropped without harm. One that only the judge found to
    name an entity that came before counts as an extra row.
    """
    aligned = [await _align_key(case, target, rows, at, verdicts) for at in target.keys]
    by_key = {target.key(row): row for row in target.rows}
    free = dict(by_key)
    join = Join()
    seen: set[Row] = set()
    for row in rows:
        key = target.key(row)
        found = tuple(known.get(cell, cell) for known, cell in zip(aligned, key, strict=True))
        spelled = key if key in by_key else tuple(map(verdicts.identity, key))
        if spelled in seen:
            continue
        seen.add(spelled)
        gold = free.pop(found, None)
        if gold is not None:
            join.pairs.append((row, gold))
            if key != found:
                seen.add(found)
            else:
                seen.add(tuple(map(verdicts.identity, key)))
        else:
            join.extra.append(row)
    join.missing.extend(free.values())
    return join


async def _align_key(
    case: Case, target: Grid, rows: Sequence[Row], at: int, verdicts: Verdicts
) -> dict[str, str]:
    """What the values of one key column are called in the reference."""
    references = list(dict.fromkeys(row[at] for row in target.rows))
    values = list(dict.fromkeys(row[at] for row in rows))
    known = set(references)
    if all(value in known for value in values):
        return {}
    return await verdicts.align(
        case, Alignment(column=target.columns[at], values=values, references=references)
    )


def _rules(gold: TableGold, target: Grid) -> list[ColumnRule]:
    """The rule of each required column; the judge decides where there is none."""
    given = {column_name(name): rule for name, rule in gold.rules.items()}
    for name, rule in given.items():
        strict.check_rule(name, rule)
    return [given.get(name, _JUDGED) for name in target.columns]


async def _judge_cells(
    case: Case, target: Grid, join: Join, rules: Sequence[ColumnRule], verdicts: Verdicts
) -> list[list[Verdict]]:
    """A verdict per required column and joined row; a cell's worst metric counts."""
    scores: list[list[Verdict]] = [[_KEY] * len(join.pairs) for _ in target.columns]
    asked: list[int] = []
    questions: list[Comparison] = []
    for at, (column, rule) in enumerate(zip(target.columns, rules, strict=True)):
        if at in target.keys:
            continue
        pairs = [(row[at], gold[at]) for row, gold in join.pairs]
        if rule.preprocess:
            pairs = [
                (strict.preprocess(one, rule.preprocess), strict.preprocess(two, rule.preprocess))
                for one, two in pairs
            ]
        metrics = [name for name in rule.metric if name != "llm_judge"]
        scores[at] = [_worst(metrics, rule, *pair) for pair in pairs]
        if len(metrics) < len(rule.metric) or not rule.metric:
            asked.append(at)
            questions.append(Comparison(column=column, criterion=_criterion(rule), pairs=pairs))
    if not questions or not join.pairs:
        return scores
    for at, verdict in zip(asked, await verdicts.compare(case, questions), strict=True):
        scores[at] = [
            new if old is _KEY or new.score <= old.score else old
            for old, new in zip(scores[at], verdict, strict=True)
        ]
    return scores


def _worst(metrics: Sequence[str], rule: ColumnRule, answer: str, gold: str) -> Verdict:
    """The least verdict of the deterministic metrics; `_KEY` if there are none."""
    found = [strict.decide(name, rule, answer, gold) for name in metrics]
    return min(found, key=lambda verdict: verdict.score) if found else _KEY


def _criterion(rule: ColumnRule) -> str:
    return rule.criterion if isinstance(rule.criterion, str) else ""


def _explained(case: Case, target: Grid, join: Join, scores: Sequence[Sequence[Verdict]]) -> Score:
    """The figures, and why each cell got its score."""
    cells: list[CellScore] = []
    item_score = row_score = 0.0
    for index, (row, gold) in enumerate(join.pairs):
        key = " | ".join(target.key(gold))
        least = 1.0
        for at, column in enumerate(target.columns):
            verdict = scores[at][index]
            item_score += verdict.score
            least = min(least, verdict.score)
            cells.append(
                CellScore(
                    key=key,
                    column=column,
                    answer=row[at],
                    gold=gold[at],
                    score=verdict.score,
                    by=verdict.by,
                )
            )
        row_score += least
    counts = Counts(
        item_score=item_score,
        row_score=row_score,
        answer_rows=join.answer_rows,
        gold_rows=len(target.rows),
        columns=len(target.columns),
    )
    return Score(
        state=ScoreState.SCORED,
        metrics=table_metrics(counts),
        format_valid=True,
        cells=tuple(cells),
        missing_rows=tuple(" | ".join(target.key(row)) for row in join.missing),
        extra_rows=tuple(" | ".join(target.key(row)) for row in join.extra),
        judge_calls=case.calls,
    )
