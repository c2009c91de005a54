"""The parts of the policy loss against numbers worked out by hand, and by property."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor

from wideseek_rl import CorrectionConfig, LossConfig
from wideseek_rl.trainers.loss import (
    SUMS,
    LossInputs,
    LossOutputs,
    policy_loss,
    without_runaway,
)
from wideseek_rl.trainers.objectives.correction import importance_weights
from wideseek_rl.trainers.objectives.divergence import divergence

HALF, TWO, FIVE = -math.log(2), math.log(2), math.log(5)
numbers = st.lists(st.floats(-2, 2), min_size=6, max_size=6)


def inputs(
    log_ratios: list[float], advantages: list[float], **changes: Any
) -> tuple[Tensor, LossInputs]:
    """Tokens whose old log-probability is −1."""
    old = torch.full((len(log_ratios),), -1.0, dtype=torch.float64)
    logprobs = (old + torch.tensor(log_ratios, dtype=torch.float64)).requires_grad_()
    values: dict[str, Any] = {
        "logprobs": logprobs,
        "old_logprobs": old,
        "advantages": torch.tensor(advantages, dtype=torch.float64),
        "weights": torch.ones(len(log_ratios), dtype=torch.float64),
        "entropy": torch.zeros(len(log_ratios), dtype=torch.float64),
    }
    return logprobs, LossInputs(**(values | changes))


def gradient(outputs: LossOutputs, logprobs: Tensor) -> list[float]:
    return list(map(float, torch.autograd.grad(outputs.loss, logprobs)[0]))


def counted(outputs: LossOutputs) -> dict[str, float]:
    return dict(zip(SUMS, map(float, outputs.sums), strict=True))


# Surrogates


def test_the_clipped_surrogate_has_no_gradient_where_it_is_clipped() -> None:
    # r = 2 is clipped for A > 0 alone, r = 1/2 for A < 0 alone; d(−A r)/d log π = −A r.
    logprobs, tokens = inputs([TWO, TWO, HALF, HALF], [3.0, -3.0, 3.0, -3.0])
    outputs = policy_loss(tokens, LossConfig())
    assert float(outputs.loss.detach()) == pytest.approx(-3 * 1.28 + 3 * 2 - 3 * 0.5 + 3 * 0.8)
    assert gradient(outputs, logprobs) == pytest.approx([0, 6, -1.5, 0])


def test_cispo_clips_the_weight_and_keeps_the_gradient_of_every_token() -> None:
    # −sg[clip(r)]·A·log π with log π = −1 + log r and r clipped to [0.8, 1.28]:
    # 1.28·3·(1 − log 2) and so on; the gradient is −clip(r)·A.
    logprobs, tokens = inputs([TWO, HALF, 0.0], [3.0, -3.0, 1.0])
    outputs = policy_loss(tokens, LossConfig(surrogate="cispo"))
    by_hand = 1.28 * 3 * (1 - math.log(2)) - 0.8 * 3 * (1 + math.log(2)) + 1
    assert float(outputs.loss.detach()) == pytest.approx(by_hand)
    assert gradient(outputs, logprobs) == pytest.approx([-3.84, 2.4, -1.0])
    sums = counted(outputs)
    assert (sums["clipped_high"], sums["clipped_low"], sums["dual_clipped"]) == (1, 1, 0)


def test_cispo_may_have_no_lower_bound_and_a_high_upper_one() -> None:
    config = LossConfig(surrogate="cispo", clip_low=1.0, clip_high=20.0)
    logprobs, tokens = inputs([-4.0], [1.0])
    assert gradient(policy_loss(tokens, config), logprobs) == pytest.approx([-math.exp(-4)])


@given(numbers)
def test_on_the_policy_itself_all_surrogates_have_the_gradient_of_reinforce(
    advantages: list[float],
) -> None:
    sequences = torch.tensor([0, 0, 0, 1, 1, 1])
    same = [advantages[0]] * 3 + [advantages[1]] * 3  # one advantage a sequence
    for config in (
        LossConfig(),
        LossConfig(surrogate="cispo"),
        LossConfig(ratio="sequence", clip_low=3e-4, clip_high=4e-4),
    ):
        logprobs, tokens = inputs([0.0] * 6, same, sequences=sequences)
        found = gradient(policy_loss(tokens, config), logprobs)
        assert found == pytest.approx([-value for value in same])


# Ratios of sequences (GSPO)


def test_a_sequence_ratio_is_the_geometric_mean_of_its_tokens() -> None:
    # Sequence 0: log-ratios 0.2 and 0.4, s = e^0.3; sequence 1: −0.1, s = e^−0.1.
    config = LossConfig(ratio="sequence", clip_low=0.5, clip_high=1.0)
    logprobs, tokens = inputs([0.2, -0.1, 0.4], [2.0, -1.0, 2.0], sequences=torch.tensor([0, 1, 0]))
    outputs = policy_loss(tokens, config)
    s, t = math.exp(0.3), math.exp(-0.1)
    assert float(outputs.loss.detach()) == pytest.approx(-4 * s + t)
    assert gradient(outputs, logprobs) == pytest.approx([-2 * s, t, -2 * s])
    assert counted(outputs)["ratio"] == pytest.approx(2 * s + t)


def test_a_sequence_is_clipped_as_one() -> None:
    # Token ratios 1 and e^0.8 lie on both sides of 1.28; s = e^0.4 = 1.49 is above for both.
    config = LossConfig(ratio="sequence")
    logprobs, tokens = inputs([0.0, 0.8], [1.0, 1.0], sequences=torch.tensor([0, 0]))
    assert gradient(policy_loss(tokens, config), logprobs) == [0, 0]


@given(numbers, st.floats(-2, 2))
def test_the_gradient_of_a_sequence_ratio_is_that_of_the_formula(
    log_ratios: list[float], advantage: float
) -> None:
    # J = s(y)·A with s = exp(mean log-ratio), straight from the paper, against its token form with
    # the weight 1/|y| of every token.
    logprobs, tokens = inputs(
        log_ratios,
        [advantage] * 6,
        sequences=torch.zeros(6, dtype=torch.int64),
        weights=torch.full((6,), 1 / 6, dtype=torch.float64),
    )
    config = LossConfig(ratio="sequence", clip_low=1.0, clip_high=100, dual_clip=1000)
    found = gradient(policy_loss(tokens, config), logprobs)
    exact = -(logprobs - tokens.old_logprobs).mean().exp() * advantage
    wanted = list(map(float, torch.autograd.grad(exact, logprobs)[0]))
    assert found == pytest.approx(wanted, abs=1e-12)


def test_masked_tokens_do_not_count_in_the_ratio_of_their_sequence() -> None:
    config = LossConfig(ratio="sequence")
    _, tokens = inputs(
        [0.1, 50.0, math.nan], [1.0] * 3, sequences=torch.zeros(3, dtype=torch.int64)
    )
    outputs = policy_loss(tokens, config)
    assert float(outputs.loss.detach()) == pytest.approx(-math.exp(0.1))
    assert counted(outputs)["masked"] == 2


def test_a_rank_without_tokens_has_a_loss_of_zero() -> None:
    _, tokens = inputs([], [], sequences=torch.zeros(0, dtype=torch.int64))
    assert float(policy_loss(tokens, LossConfig(ratio="sequence")).loss.detach()) == 0


# Corrections


def factors(kind: str, log_rho: list[float], sequences: list[int], **bounds: float) -> list[float]:
    config = LossConfig(correction=CorrectionConfig.model_validate({"kind": kind, **bounds}))
    sampled = torch.full((len(log_rho),), -2.0, dtype=torch.float64)
    old = sampled + torch.tensor(log_rho, dtype=torch.float64)
    return list(map(float, importance_weights(old, sampled, torch.tensor(sequences), config)))


def test_truncated_importance_weights_by_hand() -> None:
    assert factors("tis", [HALF, 0.0, FIVE], [0, 0, 0]) == pytest.approx([0.5, 1, 2])
    assert factors("tis", [HALF, 0.0, FIVE], [0, 0, 0], high=3) == pytest.approx([0.5, 1, 3])


def test_icepop_masks_tokens_on_both_sides() -> None:
    log_rho = [math.log(value) for value in (0.4, 0.6, 1.0, 4.0, 6.0)]
    assert factors("icepop", log_rho, [0] * 5) == pytest.approx([0, 0.6, 1, 4, 0])
    found = factors("icepop", log_rho, [0] * 5, low=0.3, high=3)
    assert found == pytest.approx([0.4, 0.6, 1, 0, 0])


def test_masked_importance_sampling_masks_whole_sequences() -> None:
    # Products: 0.5 · 2 = 1, 2 · 2 = 4 above the bound of 2, 0.5 · 0.5 = 0.25.
    log_rho, sequences = [HALF, TWO, TWO, HALF, TWO, HALF], [0, 1, 1, 2, 0, 2]
    assert factors("mis", log_rho, sequences) == pytest.approx([1, 0, 0, 0.25, 1, 0.25])
    found = factors("mis", log_rho, sequences, low=0.5, high=4.5)
    assert found == pytest.approx([1, 4, 4, 0, 1, 0])


@pytest.mark.parametrize("kind", ["tis", "icepop", "mis"])
@given(values=numbers)
def test_weights_of_a_correction_are_within_their_bounds_or_zero(
    kind: str, values: list[float]
) -> None:
    low, high = CorrectionConfig.model_validate({"kind": kind}).bounds
    for factor in factors(kind, values, [0, 0, 1, 1, 2, 2]):
        assert factor == 0 or low - 1e-9 <= factor <= high + 1e-9


@pytest.mark.parametrize("kind", ["none", "tis", "icepop", "mis"])
def test_the_sampler_itself_needs_no_correction(kind: str) -> None:
    assert factors(kind, [0.0, 0.0], [0, 1]) == [1, 1]


def test_a_correction_multiplies_the_weights_and_is_counted() -> None:
    # π_old/π_sampler is 1/2, 1 and 5; the ratio to π_old is 1. With icepop 5 is within, 1/2 too.
    sampled = torch.tensor([-1 - HALF, -1.0, -1 - math.log(6)], dtype=torch.float64)
    logprobs, tokens = inputs([0.0] * 3, [1.0] * 3, sampled_logprobs=sampled)
    for kind, weights in (("tis", [0.5, 1, 2]), ("icepop", [0.5, 1, 0])):
        config = LossConfig(correction=CorrectionConfig.model_validate({"kind": kind}))
        outputs = policy_loss(tokens, config)
        assert float(outputs.loss.detach()) == pytest.approx(-sum(weights))
        assert gradient(outputs, logprobs) == pytest.approx([-weight for weight in weights])
        sums = counted(outputs)
        assert (sums["importance"], sums["corrected"]) == (pytest.approx(sum(weights)), 1)


def test_no_number_of_the_sampler_turns_the_loss_into_none() -> None:
    sampled = torch.tensor([math.nan, -math.inf, -1.0], dtype=torch.float64)
    _, tokens = inputs([0.0] * 3, [1.0] * 3, sampled_logprobs=sampled)
    config = LossConfig(correction=CorrectionConfig(kind="tis"))
    assert math.isfinite(float(policy_loss(tokens, config).loss.detach()))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"kind": "tis", "low": 0.5}, "low has no effect"),
        ({"high": 2}, "need a correction.kind"),
        ({"kind": "mis", "high": 0.5}, "greater than or equal to 1"),
        ({"kind": "icepop", "low": 2}, "less than or equal to 1"),
    ],
)
def test_bounds_that_make_no_sense_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        CorrectionConfig.model_validate(wrong)


# Divergences


@pytest.mark.parametrize(
    ("estimator", "value", "slope"),
    # d = log π_ref − log π = −0.5 with log π = −1; slopes are those in log π, −dk/dd.
    [
        ("k1", 0.5, 1.0),
        ("k2", 0.125, 0.5),
        ("k3", math.exp(-0.5) + 0.5 - 1, 1 - math.exp(-0.5)),
        ("abs", 0.5, 1.0),
    ],
)
def test_estimates_of_the_kl_by_hand(estimator: Any, value: float, slope: float) -> None:
    reference = torch.tensor([-1.5], dtype=torch.float64)
    logprobs, tokens = inputs([0.0], [0.0], reference_logprobs=reference)
    outputs = policy_loss(tokens, LossConfig(kl=2.0, kl_estimator=estimator))
    assert float(outputs.loss.detach()) == pytest.approx(2 * value)
    assert gradient(outputs, logprobs) == pytest.approx([2 * slope])
    assert counted(outputs)["reference_kl"] == pytest.approx(value)


def test_a_negative_estimate_is_clamped_as_well() -> None:
    reference = torch.tensor([4.0], dtype=torch.float64)  # d = 5, k1 = −5
    logprobs, tokens = inputs([0.0], [0.0], reference_logprobs=reference)
    outputs = policy_loss(tokens, LossConfig(kl=1.0, kl_estimator="k1", kl_clamp=3.0))
    assert (float(outputs.loss.detach()), gradient(outputs, logprobs)) == (-3.0, [0.0])


def test_k1_and_k3_estimate_the_same_divergence_and_k2_has_its_gradient() -> None:
    # All tokens of a small vocabulary, weighted by their probability: the exact expectation.
    logits = torch.tensor([0.3, -0.2, 0.9, 0.0], dtype=torch.float64, requires_grad=True)
    reference = torch.tensor([0.1, 0.4, 0.5, -0.3], dtype=torch.float64).log_softmax(-1)
    logprobs = logits.log_softmax(-1)
    exact = (logprobs.exp() * (logprobs - reference)).sum()
    weights = logprobs.exp().detach()
    k1, k2, k3 = (
        (weights * divergence(reference - logprobs, name, limit=20)).sum()
        for name in ("k1", "k2", "k3")
    )
    assert float(k1.detach()) == pytest.approx(float(exact.detach()))
    assert float(k3.detach()) == pytest.approx(float(exact.detach()))
    wanted = torch.autograd.grad(exact, logits, retain_graph=True)[0]
    torch.testing.assert_close(torch.autograd.grad(k2, logits, retain_graph=True)[0], wanted)
    assert float(torch.autograd.grad(k1, logits)[0].abs().max()) < 1e-12


# Micro-batches that run away


def test_a_micro_batch_whose_ratio_ran_away_costs_nothing_and_is_counted() -> None:
    logprobs, tokens = inputs([math.log(8), math.log(4)], [-1.0, 1.0])
    outputs = policy_loss(tokens, LossConfig())
    kept = without_runaway(outputs, 6.0)  # the mean ratio is 6
    assert torch.equal(kept.loss, outputs.loss)
    assert torch.equal(kept.sums, outputs.sums)
    dropped = without_runaway(outputs, 5.9)
    assert gradient(dropped, logprobs) == [0, 0]
    assert float(dropped.loss.detach()) == 0
    compared = {name: counted(outputs)[name] for name in ("compared", "mismatch", "mismatch_kl")}
    assert compared["mismatch"] == pytest.approx(math.log(8) + math.log(4))
    assert counted(dropped) == dict.fromkeys(SUMS, 0.0) | {"dropped": 2.0} | compared
