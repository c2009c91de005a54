import pytest

from wideseek_tools.index.fusion import fuse


def test_scores_are_weighted_reciprocal_ranks() -> None:
    found = fuse(["ab", "bc"], (2.0, 1.0), 60, 3)
    # a: 2/61; b: 2/62 + 1/61; c: 1/62
    assert [one for one, _ in found] == ["b", "a", "c"]
    assert [score for _, score in found] == pytest.approx(
        [0.0486515, 0.0327869, 0.0161290], abs=1e-6
    )


def test_heavier_side_decides() -> None:
    sides = ["ab", "ba"]
    assert fuse(sides, (3.0, 1.0), 60, 1)[0][0] == "a"
    assert fuse(sides, (1.0, 3.0), 60, 1)[0][0] == "b"


def test_nothing_found_is_nothing() -> None:
    assert fuse([[], []], (1.0, 1.0), 60, 5) == []
