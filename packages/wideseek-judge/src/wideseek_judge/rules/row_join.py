"""Rows of an answer and of its reference, joined by their keys."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from wideseek_judge.rules.candidate_rows import candidate_pairs
from wideseek_judge.rules.comparators import preprocess
from wideseek_judge.rules.reference import Reference, Row
from wideseek_judge.text.canonical import canonical
from wideseek_judge.verdicts import Alignment, Comparison, JudgingContext, KeyMap, Verdicts

Questions = Callable[[Sequence[tuple[Row, Row]]], Sequence[Comparison]]
"""What would be asked about joined rows."""


@dataclass(slots=True, kw_only=True)
class Join:
    """Which answer row is which reference row."""

    pairs: list[tuple[Row, Row]] = field(default_factory=list[tuple[Row, Row]])
    """Answer row and reference row, in the answer's order."""
    extra: list[Row] = field(default_factory=list[Row])
    missing: list[Row] = field(default_factory=list[Row])

    @property
    def answer_rows(self) -> int:
        """Rows of the answer that count."""
        return len(self.pairs) + len(self.extra)


async def join_rows(
    context: JudgingContext,
    reference: Reference,
    rows: Sequence[Row],
    verdicts: Verdicts,
    questions: Questions,
) -> Join:
    """Joins rows one to one by key; `questions` are what will be asked about the joined rows.

    A row whose key surely came before is dropped without harm. One that only the judge found to
    name an entity that came before counts as an extra row.
    """
    aligned = await _align_keys(context, reference, rows, verdicts, questions)
    by_key = {reference.key(row): row for row in reference.rows}
    free = dict(by_key)
    join = Join()
    seen: set[Row] = set()
    for row in rows:
        key = reference.key(row)
        found = tuple(known.get(cell, cell) for known, cell in zip(aligned, key, strict=True))
        spelled = key if key in by_key else tuple(map(verdicts.identity, key))
        if spelled in seen:
            continue
        seen.add(spelled)
        gold = free.pop(found, None)
        if gold is None:
            join.extra.append(row)
            continue
        join.pairs.append((row, gold))
        seen.add(found if key != found else tuple(map(verdicts.identity, key)))
    join.missing.extend(free.values())
    return join


async def _align_keys(
    context: JudgingContext,
    reference: Reference,
    rows: Sequence[Row],
    verdicts: Verdicts,
    questions: Questions,
) -> list[KeyMap]:
    """What the values of each key column are called in the reference.

    Equal values first, then those made equal by the column's preprocessing, then the judge.
    """
    prepared = [_prepared(reference, rows, at) for at in reference.keys]

    def prefetch(certain: Sequence[KeyMap]) -> Sequence[Comparison]:
        known = _merged(certain, prepared)
        return questions(candidate_pairs(rows, reference.rows, reference.keys, known))

    alignments = [
        _alignment(reference, rows, at, known)
        for at, known in zip(reference.keys, prepared, strict=True)
    ]
    return _merged(await verdicts.align(context, alignments, prefetch), prepared)


def _merged(found: Sequence[KeyMap], prepared: Sequence[KeyMap]) -> list[KeyMap]:
    """Both maps of each key column; where they differ, the preprocessing counts."""
    return [first | second for first, second in zip(found, prepared, strict=True)]


def _prepared(reference: Reference, rows: Sequence[Row], at: int) -> KeyMap:
    """The values of a key column that its preprocessing makes equal to a reference."""
    names = reference.rules[at].preprocess
    references = dict.fromkeys(row[at] for row in reference.rows)
    unknown = dict.fromkeys(row[at] for row in rows if row[at] not in references)
    if not names or not unknown:
        return {}
    spelled: KeyMap = {}
    for name in references:
        spelled.setdefault(canonical(preprocess(name, names)), name)
    found = {value: spelled.get(canonical(preprocess(value, names))) for value in unknown}
    return {value: name for value, name in found.items() if name is not None}


def _alignment(reference: Reference, rows: Sequence[Row], at: int, known: KeyMap) -> Alignment:
    """What is left to align of a key column; nothing if all its values are known."""
    references = list(dict.fromkeys(row[at] for row in reference.rows))
    values = [value for value in dict.fromkeys(row[at] for row in rows) if value not in known]
    settled = set(values) <= set(references)
    return Alignment(
        column=reference.columns[at], values=() if settled else values, references=references
    )
