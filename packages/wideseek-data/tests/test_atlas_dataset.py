import pytest

from wideseek_core import ConfigError, DataError, TableGold
from wideseek_core.config import validate
from wideseek_core.plugins import installed
from wideseek_data import AtlasData, load_atlas
from wideseek_data.datasets import ATLAS


def test_the_atlas_is_announced_as_a_data_set() -> None:
    assert installed("wideseek.datasets")["atlas"] is ATLAS


def test_a_limit_takes_the_first_tasks_of_the_same_order() -> None:
    ten = load_atlas(AtlasData(split="dev", limit=10))
    assert ten == load_atlas(AtlasData(split="dev", limit=20))[:10]
    assert len({task.source.partition("/")[0] for task in ten}) == 10


def test_the_seed_matters_only_to_a_shuffle() -> None:
    plain = [load_atlas(AtlasData(split="dev", seed=seed, limit=5)) for seed in (0, 1)]
    assert plain[0] == plain[1]
    drawn = [
        load_atlas(AtlasData(split="dev", shuffle=True, seed=seed, limit=5)) for seed in (1, 1, 2)
    ]
    assert drawn[0] == drawn[1] != drawn[2]


def test_a_shuffle_draws_from_all_tasks_of_the_selection() -> None:
    every = {task.id for task in load_atlas(AtlasData(split="dev", shapes=("group",)))}
    drawn = load_atlas(AtlasData(split="dev", shapes=("group",), shuffle=True, seed=3))
    assert {task.id for task in drawn} == every


def test_wide_and_short_questions_are_mixed_by_weight() -> None:
    tasks = load_atlas(AtlasData(questions=("wide", "qa"), weights=(3, 1), limit=40))
    kinds = [task.gold.kind for task in tasks]
    assert (kinds.count("table"), kinds.count("text")) == (30, 10)
    assert set(kinds[:4]) == {"table", "text"}


def test_all_of_both_are_taken_without_weights() -> None:
    wide, qa = load_atlas(AtlasData()), load_atlas(AtlasData(questions="qa"))
    both = load_atlas(AtlasData(questions=("wide", "qa")))
    assert {task.id for task in both} == {task.id for task in [*wide, *qa]}


def test_limits_of_rows_concern_wide_questions_alone() -> None:
    tasks = load_atlas(AtlasData(questions=("wide", "qa"), min_rows=2, max_rows=6))
    assert {task.gold.kind for task in tasks} == {"table", "text"}
    assert all(2 <= task.rows <= 6 for task in tasks if task.gold.kind == "table")


def test_a_selection_without_tasks_is_refused() -> None:
    with pytest.raises(DataError, match="no wide questions of split 'test' are left"):
        load_atlas(AtlasData(min_rows=100_000))


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"questions": []}, "a list of both"),
        ({"questions": ["wide", "wide"]}, "a list of both"),
        ({"questions": ["wide", "qa"], "weights": [1]}, "1 weight for 2 kinds"),
        ({"questions": ["wide", "qa"], "weights": [1, -1]}, "weights must be positive"),
    ],
)
def test_a_mixture_that_makes_no_sense_is_refused(
    values: dict[str, list[object]], match: str
) -> None:
    with pytest.raises(ConfigError, match=match):
        validate(AtlasData, dict(values))


def test_every_column_of_a_wide_question_has_a_rule() -> None:
    # The official evaluator wants one for every column that names no row.
    for task in load_atlas(AtlasData(split="test")):
        assert isinstance(task.gold, TableGold)
        assert {*task.gold.rules, *task.gold.key_columns} == set(task.gold.required_columns), (
            task.id
        )
