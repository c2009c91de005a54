"""The official WideSearch evaluator's way from an answer to its metrics, quirks included.

`strict` and `reward` repair these quirks; the README of the package lists them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from wideseek_core import (
    KEY_JOINT,
    CellScore,
    ColumnRule,
    DataError,
    JudgeError,
    Score,
    ScoreState,
    TableGold,
    TableMetrics,
)
from wideseek_core.comparators import COMPARATORS, check_rule
from wideseek_core.tables import MarkdownTable
from wideseek_judge.rules.candidate_rows import candidate_pairs
from wideseek_judge.rules.official_functions import decide, preprocess
from wideseek_judge.rules.pandas_tables import official_gold, official_name, official_table
from wideseek_judge.rules.reference import JUDGED, Row
from wideseek_judge.rules.table_metrics import Counts, table_metrics
from wideseek_judge.verdicts import Alignment, Comparison, JudgingContext, KeyMap, Verdict, Verdicts

_KEY = Verdict(1.0, "key")

_LENIENT = frozenset(("llm_judge", "date_near"))
"""Comparators that take a missing row without failing."""


async def score_officially(
    context: JudgingContext, gold: TableGold, answer: str, verdicts: Verdicts
) -> Score:
    """The score of an answer text.

    What the evaluator can't do with an answer is zeros with a message. A reference or a rule that
    can't be used says nothing about the answer, which is unscored.
    """
    try:
        return await _score(context, gold, answer, verdicts)
    except JudgeError:
        raise
    except DataError as error:
        return Score(state=ScoreState.UNSCORED, metrics=TableMetrics(), message=str(error))
    except Exception as error:  # noqa: BLE001 - the official rule: any fault is zero
        kind = type(error).__name__
        return _zeros(f"evaluator error: {kind}: {error}")


def _zeros(message: str) -> Score:
    return Score(state=ScoreState.FAILED, metrics=TableMetrics(), message=message)


@dataclass(slots=True, kw_only=True)
class _Frame:
    """Columns by name, as lists of equal length."""

    names: list[str]
    cells: dict[str, list[str]]
    mapped: int = 0
    """How many columns were added to keep keys as they were before alignment."""

    @property
    def height(self) -> int:
        """Number of rows."""
        return len(self.cells[self.names[0]])

    def rows(self, names: Sequence[str]) -> list[Row]:
        """The rows, cut to some columns."""
        return list(zip(*(self.cells[name] for name in names), strict=True))

    def drop_duplicates(self, names: Sequence[str]) -> None:
        """Keeps the first of the rows that agree in some columns."""
        first = {key: at for at, key in reversed(list(enumerate(self.rows(names))))}
        kept = sorted(first.values())
        self.cells = {name: [cells[at] for at in kept] for name, cells in self.cells.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """What is compared, in normal names."""

    required: list[str]
    keys: list[str]
    rules: dict[str, ColumnRule]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Match:
    """Both frames, and the rows that share a key."""

    response: _Frame
    reference: _Frame
    pairs: list[tuple[Row, Row]]


async def _score(
    context: JudgingContext, gold: TableGold, answer: str, verdicts: Verdicts
) -> Score:
    table = official_table(answer)
    if table is None:
        return _zeros("no table in the answer")
    target = _reference(gold)
    plan = _plan(gold, target)
    names = list(table.columns)
    if set(names) != set(plan.required):
        names_only = Alignment(column="", values=names, references=plan.required)
        (aligned,) = await verdicts.align(context, [names_only])
        names = [aligned.get(name, name) for name in names]
    if set(names) != set(plan.required):
        return _zeros(f"columns {names} are not the required {plan.required}")
    response = _frame(names, table)
    reference = _cut(_frame(list(target.columns), target), plan.required)
    response.drop_duplicates(plan.keys)
    reference.drop_duplicates(plan.keys)
    await _align_keys(context, plan, response, reference, verdicts)
    for column, rule in plan.rules.items():
        for frame in (response, reference) if rule.preprocess else ():
            frame.cells[column] = [
                preprocess(cell, rule.preprocess) for cell in frame.cells[column]
            ]
    match = _Match(response=response, reference=reference, pairs=_join(plan, response, reference))
    return await _judge(context, plan, match, verdicts)


def _reference(gold: TableGold) -> MarkdownTable:
    try:
        target = official_gold(gold)
    except Exception as error:  # noqa: BLE001 - whatever pandas refuses is no reference
        problem = f"{type(error).__name__}: {error}"
        raise DataError(f"the reference can't be read: {problem}") from None
    if target is None:
        raise DataError("the reference holds no table")
    return target


def _plan(gold: TableGold, target: MarkdownTable) -> _Plan:
    """The rules in normal names. Without any, the judge decides on every column.

    Raises `DataError` for a rule that names an unknown function, and for a column that has no rule
    among others that have one: on such references the official evaluator fails.
    """
    required = [official_name(name) for name in gold.required_columns or target.columns]
    keys = [official_name(name) for name in gold.key_columns]
    rules = {official_name(name): rule for name, rule in gold.rules.items()}
    for name, rule in rules.items():
        check_rule(name, rule)
        added = [metric for metric in rule.metric if metric not in COMPARATORS]
        if added:
            raise DataError(f"column {name!r}: {added[0]!r} is no official comparator")
    bare = [name for name in required if name not in rules and name not in keys]
    if rules and bare:
        raise DataError(f"column {bare[0]!r} has no rule, but the official evaluator needs one")
    return _Plan(required=required, keys=keys, rules=rules or dict.fromkeys(required, JUDGED))


def _frame(names: list[str], table: MarkdownTable) -> _Frame:
    if len(set(names)) != len(names):
        raise ValueError(f"several columns of one name: {names}")
    cells = [list(column) for column in zip(*table.rows, strict=True)] or [[] for _ in names]
    return _Frame(names=names, cells=dict(zip(names, cells, strict=True)))


def _cut(frame: _Frame, names: list[str]) -> _Frame:
    return _Frame(names=names, cells={name: frame.cells[name] for name in names})


async def _align_keys(
    context: JudgingContext, plan: _Plan, response: _Frame, reference: _Frame, verdicts: Verdicts
) -> None:
    """Renames keys to those of the reference, for key columns judged by text."""
    keys = [key for key in plan.keys if key in plan.rules and _by_text(plan.rules[key])]
    if not keys:
        return
    rows, references = response.rows(plan.required), reference.rows(plan.required)
    at = [plan.required.index(key) for key in plan.keys]

    def prefetch(certain: Sequence[KeyMap]) -> Sequence[Comparison]:
        known = dict(zip(keys, certain, strict=True))
        names = [known.get(key, {}) for key in plan.keys]
        return _questions(plan, candidate_pairs(rows, references, at, names), raw=True)

    alignments = [
        Alignment(column=key, values=response.cells[key], references=reference.cells[key])
        for key in keys
    ]
    for key, names in zip(keys, await verdicts.align(context, alignments, prefetch), strict=True):
        response.cells[key] = [names.get(cell, cell) for cell in response.cells[key]]
        response.mapped += 1


def _by_text(rule: ColumnRule) -> bool:
    return not {"llm_judge", "exact_match"}.isdisjoint(rule.metric)


def _questions(
    plan: _Plan, pairs: Sequence[tuple[Row, Row]], *, raw: bool = False
) -> list[Comparison]:
    """What the judge is asked about joined rows; `raw` ones are not preprocessed yet."""
    questions: list[Comparison] = []
    for at, column in enumerate(plan.required):
        rule = plan.rules.get(column)
        if column in plan.keys or rule is None or "llm_judge" not in rule.metric:
            continue
        names = rule.preprocess if raw else ()
        cells = [(preprocess(row[at], names), preprocess(gold[at], names)) for row, gold in pairs]
        criterion = str(rule.criterion or "")
        questions.append(Comparison(column=column, criterion=criterion, pairs=cells))
    return questions


async def _judge(context: JudgingContext, plan: _Plan, match: _Match, verdicts: Verdicts) -> Score:
    scored: dict[tuple[str, str], list[Verdict]] = {}
    for at, column in enumerate(plan.required):
        if column in plan.keys:
            scored[column, "key"] = [_KEY] * len(match.pairs)
            continue
        rule = plan.rules[column]
        cells = [(row[at], gold[at]) for row, gold in match.pairs]
        for metric in rule.metric:
            # The judge's columns are placed now and filled below: they are asked together.
            by_rule = metric != "llm_judge"
            scored[column, metric] = [decide(metric, rule, *c) for c in cells] if by_rule else []
    questions = _questions(plan, match.pairs) if match.pairs else []
    if questions:
        for question, found in zip(
            questions, await verdicts.compare(context, questions), strict=True
        ):
            scored[question.column, "llm_judge"] = found
    return _explained(context, plan, match, scored)


def _join(plan: _Plan, response: _Frame, reference: _Frame) -> list[tuple[Row, Row]]:
    """Answer and reference rows of equal keys, many to many."""
    by_key: dict[Row, list[Row]] = {}
    for key, row in zip(response.rows(plan.keys), response.rows(plan.required), strict=True):
        by_key.setdefault(key, []).append(row)
    keyed = zip(reference.rows(plan.keys), reference.rows(plan.required), strict=True)
    return [(row, gold) for key, gold in keyed for row in by_key.get(key, ())]


def _explained(
    context: JudgingContext,
    plan: _Plan,
    match: _Match,
    scored: dict[tuple[str, str], list[Verdict]],
) -> Score:
    positions = {name: at for at, name in enumerate(plan.required)}
    at_keys = [positions[name] for name in plan.keys]
    cells: list[CellScore] = []
    row_score = 0.0
    for index, (row, gold) in enumerate(match.pairs):
        verdicts = {place: column[index] for place, column in scored.items()}
        row_score += min((verdict.score for verdict in verdicts.values()), default=0.0)
        key = KEY_JOINT.join(gold[at] for at in at_keys)
        for (column, _metric), verdict in verdicts.items():
            cells.append(
                CellScore(
                    key=key,
                    column=column,
                    answer=row[positions[column]],
                    gold=gold[positions[column]],
                    score=verdict.score,
                    by=verdict.by,
                )
            )
    counts = Counts(
        item_score=sum(cell.score for cell in cells),
        row_score=row_score,
        answer_rows=match.response.height,
        gold_rows=match.reference.height,
        columns=len(plan.required),
    )
    ours, theirs = match.response.rows(plan.keys), match.reference.rows(plan.keys)
    return Score(
        state=ScoreState.SCORED,
        metrics=table_metrics(counts, equal=_equal(plan, match)),
        format_valid=True,
        cells=tuple(cells),
        missing_rows=tuple(KEY_JOINT.join(key) for key in theirs if key not in set(ours)),
        extra_rows=tuple(KEY_JOINT.join(key) for key in ours if key not in set(theirs)),
        judge_calls=context.calls,
        judge_usage=context.usage,
    )


def _equal(plan: _Plan, match: _Match) -> bool:
    """Equality of the sorted frames; the columns kept beside aligned keys spoil it.

    Without joined rows (two tables of headers alone) the official evaluator tries its comparators
    on an empty row, and fails where they want text.
    """
    response, reference = match.response, match.reference
    if response.mapped or response.names != plan.required:
        return False
    if not match.pairs and any(_wants_text(plan, name) for name in plan.required):
        return False
    return sorted(response.rows(plan.required)) == sorted(reference.rows(plan.required))


def _wants_text(plan: _Plan, column: str) -> bool:
    return column not in plan.keys and not _LENIENT.issuperset(plan.rules[column].metric)
