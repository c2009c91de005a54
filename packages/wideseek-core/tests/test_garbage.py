"""The collector's settings inside and after blocks."""

import gc
import weakref
from collections.abc import Iterator

import pytest

from wideseek_core.garbage import THRESHOLDS, rare_garbage_collection


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)
    gc.unfreeze()


class Node:
    """Holds itself."""

    def __init__(self) -> None:
        self.self = self


def test_collections_are_rarer_inside_and_as_before_afterwards() -> None:
    gc.set_threshold(700, 10, 10)
    with rare_garbage_collection():
        assert gc.get_threshold() == THRESHOLDS
        assert gc.get_freeze_count() > 0
    assert gc.get_threshold() == (700, 10, 10)
    assert gc.get_freeze_count() == 0


def test_an_error_restores_the_settings_too() -> None:
    gc.set_threshold(700, 10, 10)
    with pytest.raises(ValueError, match="ended"), rare_garbage_collection():
        raise ValueError("ended")
    assert (gc.get_threshold(), gc.get_freeze_count()) == ((700, 10, 10), 0)


def test_blocks_may_end_in_any_order() -> None:
    gc.set_threshold(700, 10, 10)
    first, second = rare_garbage_collection(), rare_garbage_collection()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert gc.get_threshold() == THRESHOLDS
    second.__exit__(None, None, None)
    assert (gc.get_threshold(), gc.get_freeze_count()) == ((700, 10, 10), 0)


def test_what_others_have_set_stays() -> None:
    gc.set_threshold(50_000, 20, 1000)
    gc.freeze()
    with rare_garbage_collection():
        assert gc.get_threshold() == (50_000, 50, 1000)
    assert gc.get_threshold() == (50_000, 20, 1000)
    assert gc.get_freeze_count() > 0


@pytest.mark.parametrize("before", [(700, 10, 10), (0, 10, 10)])
def test_what_others_set_inside_stays(before: tuple[int, int, int]) -> None:
    gc.set_threshold(*before)
    with rare_garbage_collection():
        gc.set_threshold(900, 5, 5)
    assert (gc.get_threshold(), gc.get_freeze_count()) == ((900, 5, 5), 0)


def test_a_search_that_is_switched_off_stays_off() -> None:
    gc.set_threshold(0, 10, 10)
    with rare_garbage_collection():
        assert gc.get_threshold() == (0, 10, 10)


def test_cycles_that_are_made_inside_are_still_found() -> None:
    with rare_garbage_collection():
        gone = weakref.ref(Node())
        kept = [Node() for _ in range(2 * THRESHOLDS[0])]
        assert gone() is None
        assert len(kept) == 2 * THRESHOLDS[0]
