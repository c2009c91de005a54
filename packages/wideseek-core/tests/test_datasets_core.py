import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wideseek_core import ConfigError, DataError, Task, TextGold
from wideseek_core.datasets import Selection, select, select_mixture


def make_tasks(name: str, count: int, rows: int = 0) -> list[Task]:
    gold = TextGold(answers=("x",))
    return [Task(id=f"{name}{n}", question="q", gold=gold, rows=rows) for n in range(count)]


def ids(tasks: list[Task]) -> str:
    return " ".join(task.id for task in tasks)


A, B = make_tasks("a", 6), make_tasks("b", 3)


def test_one_group_keeps_its_order_and_is_cut() -> None:
    assert ids(select_mixture([A], (), Selection(limit=3))) == "a0 a1 a2"
    assert select_mixture([A], (), Selection()) == select(A, Selection())


def test_without_weights_all_tasks_are_taken_and_any_first_few_are_mixed() -> None:
    assert ids(select_mixture([A, B], (), Selection())) == "a0 b0 a1 a2 b1 a3 a4 b2 a5"
    assert ids(select_mixture([A, B], (), Selection(limit=3))) == "a0 b0 a1"


def test_weights_give_each_group_its_share() -> None:
    found = select_mixture([A, B], (1, 1), Selection(limit=4))
    assert ids(found) == "a0 b0 a1 b1"
    assert ids(select_mixture([A, B], (0.25, 0.75), Selection(limit=4))) == "b0 a0 b1 b2"


def test_the_scarcest_group_bounds_a_mixture_and_no_task_is_repeated(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING):
        found = select_mixture([A, B], (1, 2), Selection(limit=9))
    assert sorted(task.id for task in found) == ["a0", "b0", "b1", "b2"]
    assert "has 4 tasks, not 9" in caplog.text


def test_a_shuffled_mixture_has_the_same_shares_and_depends_on_the_seed() -> None:
    drawn = [select_mixture([A, B], (2, 1), Selection(shuffle=True, seed=s)) for s in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert [sum(task.id[0] == "a" for task in found) for found in drawn] == [6, 6, 6]


def test_a_shuffle_reaches_tasks_beyond_the_limit() -> None:
    drawn = {ids(select(A, Selection(shuffle=True, seed=s, limit=1))) for s in range(30)}
    assert len(drawn) > 3


def test_a_group_without_tasks_of_the_size_is_refused() -> None:
    with pytest.raises(DataError, match="of 3 tasks none has 2 rows or more"):
        select_mixture([make_tasks("w", 4, rows=5), B], (), Selection(min_rows=2))
    with pytest.raises(DataError, match="of 3 tasks none has 2 rows and no more than 3"):
        select_mixture([make_tasks("w", 4, rows=2), B], (), Selection(min_rows=2, max_rows=3))
    with pytest.raises(DataError, match="of 4 tasks none has at most 4 rows"):
        select_mixture([make_tasks("w", 4, rows=5), B], (), Selection(max_rows=4))


def test_weights_and_groups_are_as_many() -> None:
    with pytest.raises(ConfigError, match="weights: 2 weights for 1 set of tasks"):
        select_mixture([A], (1, 2), Selection())


@given(
    st.lists(st.integers(1, 30), min_size=1, max_size=4).flatmap(
        lambda sizes: st.tuples(
            st.just(sizes),
            st.lists(st.floats(0.01, 10), min_size=len(sizes), max_size=len(sizes)),
            st.none() | st.integers(1, 60),
        )
    )
)
def test_no_mixture_repeats_a_task_or_passes_its_limit(
    case: tuple[list[int], list[float], int | None],
) -> None:
    sizes, weights, limit = case
    groups = [make_tasks(chr(97 + at), size) for at, size in enumerate(sizes)]
    found = select_mixture(groups, weights, Selection(limit=limit))
    assert len({task.id for task in found}) == len(found) <= (limit or 120)
    whole = sum(weights)
    for at, weight in enumerate(weights):
        taken = sum(task.id[0] == chr(97 + at) for task in found)
        assert abs(taken - len(found) * weight / whole) <= 1.0 + 1e-6
