import pytest

from wideseek_core import DataError, PolicyError
from wideseek_core.exception_groups import first_cause, flatten, ungrouped


def test_a_group_is_flattened_at_any_depth_and_in_order() -> None:
    one, two, three = DataError("1"), ValueError("2"), OSError("3")
    inner = ExceptionGroup("inner", [two])
    assert flatten(ExceptionGroup("outer", [one, inner, three])) == [one, two, three]
    assert flatten(one) == [one]


def test_a_bug_comes_before_a_foreseen_error() -> None:
    bug = KeyError("timezone")
    assert first_cause(ExceptionGroup("g", [DataError("1"), OSError("2"), bug])) is bug


def test_of_foreseen_errors_the_first_is_the_cause() -> None:
    first = PolicyError("down")
    assert first_cause(ExceptionGroup("g", [first, DataError("2")])) is first


def test_the_cause_rises_in_the_place_of_its_group() -> None:
    with pytest.raises(DataError, match=r"^bad line$"), ungrouped():
        raise ExceptionGroup("tasks", [ExceptionGroup("inner", [DataError("bad line")])])


def test_an_error_without_a_group_rises_as_it_is() -> None:
    with pytest.raises(ZeroDivisionError), ungrouped():
        _ = 1 / 0
