import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wideseek_eval.statistics.means import holm, mean_of, pass_at, resampled_means, t95


def test_the_interval_of_three_questions_by_hand() -> None:
    # Mean 0.5, standard deviation 0.1, so se = 0.1 / sqrt 3; t with 2 degrees is 4.3027.
    mean = mean_of([0.4, 0.5, 0.6])
    assert mean.mean == pytest.approx(0.5)
    assert mean.se == pytest.approx(0.0577350269)
    assert mean.low == pytest.approx(0.5 - 4.3027 * 0.0577350269)
    assert mean.high == pytest.approx(0.5 + 4.3027 * 0.0577350269)


def test_one_question_has_no_standard_error_and_the_widest_interval() -> None:
    mean = mean_of([0.7])
    assert (mean.mean, mean.se, mean.low, mean.high) == (0.7, None, 0.0, 1.0)


def test_no_question_is_a_mean_of_nothing() -> None:
    assert (mean_of([]).questions, mean_of([]).mean) == (0, 0.0)


def test_zero_of_twenty_still_has_an_interval() -> None:
    # Wilson's upper bound for 0 of n is z^2 / (n + z^2) = 3.8415 / 23.8415.
    assert mean_of([0.0] * 20).high == pytest.approx(0.161125, abs=1e-6)
    assert mean_of([1.0] * 20).low == pytest.approx(1 - 0.161125, abs=1e-6)


def test_intervals_of_counts_are_not_cut_at_one() -> None:
    assert mean_of([3.0, 5.0, 7.0], fraction=False).high > 7


@pytest.mark.parametrize(
    ("degrees", "quantile"),
    [(1, 12.7062), (2, 4.3027), (9, 2.2622), (13, 2.1604), (30, 2.0423), (199, 1.9720)],
)
def test_quantiles_of_students_t(degrees: int, quantile: float) -> None:
    assert t95(degrees) == pytest.approx(quantile, abs=2e-4)


@pytest.mark.parametrize(
    ("trials", "right", "k", "chance"),
    [(4, 1, 1, 0.25), (4, 1, 2, 0.5), (4, 1, 4, 1.0), (4, 0, 4, 0.0), (5, 2, 2, 0.7)],
)
def test_pass_at_by_hand(trials: int, right: int, k: int, chance: float) -> None:
    assert pass_at(trials, right, k) == pytest.approx(chance)


def test_holm_by_hand() -> None:
    # Sorted: 0.01 x 3, then 0.02 x 2, then 0.04 x 1 raised to its predecessor's.
    assert holm([0.04, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.04])
    assert holm([0.6, 0.5]) == pytest.approx([1.0, 1.0])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_never_lowers_a_p_value_and_keeps_the_order(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    assert all(0 <= p <= after <= 1 for p, after in zip(p_values, adjusted, strict=True))
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    assert all(adjusted[a] <= adjusted[b] for a, b in itertools.pairwise(order))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_a_mean_lies_in_its_interval_within_zero_and_one(values: list[float]) -> None:
    mean = mean_of(values)
    assert 0 <= mean.low <= mean.mean + 1e-12
    assert mean.mean <= mean.high + 1e-12 <= 1 + 2e-12


def test_bootstrap_means_spread_like_the_standard_error() -> None:
    values = np.linspace(0, 1, 101)
    drawn = resampled_means(values[:, None], 4000, seed=1)[:, 0]
    assert float(drawn.mean()) == pytest.approx(0.5, abs=0.005)
    assert float(drawn.std()) == pytest.approx(float(values.std()) / math.sqrt(101), rel=0.05)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_the_interval_of_a_fraction_stays_on_its_scale(values: list[float]) -> None:
    mean = mean_of(values)
    assert 0.0 <= mean.low <= mean.mean + 1e-9
    assert mean.mean - 1e-9 <= mean.high <= 1.0


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=30))
def test_no_interval_of_a_count_goes_below_zero(values: list[float]) -> None:
    mean = mean_of(values, fraction=False)
    assert 0.0 <= mean.low <= mean.mean + 1e-3 <= mean.high + 2e-3


def test_a_recall_above_one_lies_in_its_interval() -> None:
    mean = mean_of([1.5, 1.5, 0.9, 1.0])
    assert mean.low < 1.225 < mean.high <= 1.5
    assert mean_of([1.5]).high == 1.5


def test_draws_in_parts_are_the_draws_of_one_go() -> None:
    values = np.array([[0.1, 1.0], [0.5, 2.0], [0.9, 4.0]])
    many = resampled_means(values, 25_000, 7)
    assert many.shape == (25_000, 2)
    assert np.array_equal(many[:10_000], resampled_means(values, 10_000, 7))
    assert abs(float(many[:, 0].mean()) - 0.5) < 0.01
