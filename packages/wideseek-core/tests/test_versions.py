"""Spans of weight versions over a response."""

import pytest

from wideseek_core import Finish, Generated, Turn, VersionSpan, VersionSpans, one_version
from wideseek_core.versions import cover, join_spans, token_versions


def spans(*parts: tuple[int, int, int]) -> VersionSpans:
    return tuple(VersionSpan(version=v, start=start, end=end) for v, start, end in parts)


def test_one_version_covers_a_response() -> None:
    assert one_version(4, 3) == spans((4, 0, 3))
    assert one_version(4, 0) == ()


def test_parts_of_a_response_are_joined_in_order() -> None:
    joined = join_spans([spans((1, 0, 2), (2, 2, 5)), (), spans((2, 0, 3)), spans((3, 0, 1))])
    assert joined == spans((1, 0, 2), (2, 2, 8), (3, 8, 9))
    assert token_versions(joined) == (1, 1, 2, 2, 2, 2, 2, 2, 3)


@pytest.mark.parametrize(
    ("parts", "length", "covered"),
    [
        ((), 0, True),
        (((1, 0, 2), (2, 2, 5)), 5, True),
        ((), 1, False),
        (((1, 0, 2),), 3, False),
        (((1, 0, 2), (2, 3, 5)), 5, False),
        (((1, 0, 3), (2, 2, 5)), 5, False),
        (((1, 0, 0), (2, 0, 5)), 5, False),
        (((1, 1, 5),), 5, False),
    ],
)
def test_spans_cover_a_response_without_gaps(
    parts: tuple[tuple[int, int, int], ...], length: int, covered: bool
) -> None:
    assert cover(spans(*parts), length) is covered


def test_a_response_is_as_old_as_its_oldest_token() -> None:
    mixed = spans((7, 0, 1), (8, 1, 2))
    made = Generated(ids=(1, 2), logprobs=(0.0, 0.0), finish=Finish.STOP, versions=mixed)
    assert made.version == 7
    assert Turn(text="", finish=Finish.STOP, versions=mixed).version == 7
    assert Turn(text="", finish=Finish.STOP).version == 0
