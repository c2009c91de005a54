import math
from dataclasses import asdict

import pytest
import torch
from pydantic import ValidationError

from wideseek_rl import LossConfig
from wideseek_rl.batch.packing import collate
from wideseek_rl.batch.prefix_tree import single
from wideseek_rl.batch.samples import TrainedTurn, build_samples
from wideseek_rl.testing import make_turn, tiny_model
from wideseek_rl.trainers.head import HeadOptions
from wideseek_rl.trainers.loss import SUMS, LossInputs, LossOutputs, policy_loss, within
from wideseek_rl.trainers.micro_batch_loss import token_logprobs
from wideseek_rl.trainers.objectives.config import CorrectionConfig
from wideseek_rl.trainers.update_stats import Step, UpdateStats


def loss_of(
    ratios: list[float],
    advantages: list[float],
    weights: list[float] | None = None,
    config: LossConfig | None = None,
    reference: list[float] | None = None,
) -> LossOutputs:
    logprobs = torch.tensor(ratios).log() - 1.0
    inputs = LossInputs(
        logprobs=logprobs,
        old_logprobs=torch.full_like(logprobs, -1.0),
        advantages=torch.tensor(advantages),
        weights=torch.tensor(weights or [1.0] * len(ratios)),
        entropy=torch.full_like(logprobs, 0.5),
        reference_logprobs=None if reference is None else torch.tensor(reference),
    )
    return policy_loss(inputs, config or LossConfig())


@pytest.mark.parametrize(
    ("ratio", "advantage", "expected"),
    [
        (1.1, 2.0, -2.2),  # inside the clip range
        (1.5, 2.0, -2.56),  # clipped at 1.28
        (0.5, 2.0, -1.0),  # a good token that grew rarer is not clipped
        (0.5, -2.0, 1.6),  # clipped at 0.8
        (3.0, -2.0, 6.0),  # a bad token that grew likelier is not clipped
        (50.0, -2.0, 20.0),  # but costs at most ten times its advantage
    ],
)
def test_cost_of_one_token_by_hand(ratio: float, advantage: float, expected: float) -> None:
    assert float(loss_of([ratio], [advantage]).loss) == pytest.approx(expected, rel=1e-5)


def test_tokens_add_up_by_their_weights() -> None:
    # 0.25 · (−1.28) + 0.5 · 0.8 + 0.1 · (−1.0)
    outputs = loss_of([1.5, 0.5, 1.0], [1.0, -1.0, 1.0], [0.25, 0.5, 0.1])
    assert float(outputs.loss) == pytest.approx(-0.02, abs=1e-6)


def test_sums_count_clipped_tokens_by_side() -> None:
    outputs = loss_of([1.5, 0.5, 50.0, 1.0], [1.0, -1.0, -1.0, 1.0])
    sums = dict(zip(SUMS, map(float, outputs.sums), strict=True))
    assert sums["tokens"] == 4
    assert (sums["clipped_high"], sums["clipped_low"], sums["dual_clipped"]) == (1, 1, 1)
    assert sums["ratio"] == pytest.approx(53.0, rel=1e-5)
    assert sums["entropy"] == pytest.approx(2.0)


def test_kl_to_the_reference_is_k3_by_hand() -> None:
    # log π = −1, log π_ref = −1.5: d = −0.5, k3 = e^−0.5 + 0.5 − 1 = 0.106531
    outputs = loss_of([1.0], [0.0], config=LossConfig(kl=0.1), reference=[-1.5])
    assert float(outputs.loss) == pytest.approx(0.0106531, rel=1e-4)


@pytest.mark.parametrize(
    ("clamp", "kl", "has_gradient"),
    # d = 5: k3 = e^5 − 5 − 1 = 142.413159; with d = 1 it is 0.718282, below the clamp.
    [(None, 142.413159, True), (10.0, 10.0, False)],
)
def test_the_kl_of_a_token_may_be_clamped(
    clamp: float | None, kl: float, has_gradient: bool
) -> None:
    logprobs = torch.tensor([-6.0], requires_grad=True)
    zero = torch.tensor([0.0])
    inputs = LossInputs(
        logprobs=logprobs,
        old_logprobs=logprobs.detach(),
        advantages=zero,
        weights=torch.tensor([1.0]),
        entropy=zero,
        reference_logprobs=torch.tensor([-1.0]),
    )
    outputs = policy_loss(inputs, LossConfig(kl=1.0, kl_clamp=clamp))
    (gradient,) = torch.autograd.grad(outputs.loss, logprobs)
    assert float(outputs.loss.detach()) == pytest.approx(kl, rel=1e-5)
    assert bool(gradient != 0) is has_gradient


def test_a_kl_below_its_clamp_is_left_alone() -> None:
    config = LossConfig(kl=1.0, kl_clamp=10.0)
    outputs = loss_of([1.0], [0.0], config=config, reference=[0.0])
    assert float(outputs.loss) == pytest.approx(0.718282, rel=1e-5)


def test_without_kl_the_reference_changes_nothing() -> None:
    plain, other = loss_of([1.2], [1.0]), loss_of([1.2], [1.0], reference=[-9.0])
    assert float(plain.loss) == float(other.loss)
    assert float(plain.sums[SUMS.index("reference_kl")]) == 0.0


def test_log_ratios_are_clamped_so_that_nothing_overflows() -> None:
    outputs = loss_of([1.0], [1.0])
    inputs = LossInputs(
        logprobs=torch.tensor([-1e4]),
        old_logprobs=torch.tensor([-1.0]),
        advantages=torch.tensor([-1.0]),
        weights=torch.tensor([1.0]),
        entropy=torch.tensor([0.0]),
        reference_logprobs=torch.tensor([0.0]),
    )
    far = policy_loss(inputs, LossConfig(kl=1e-3))
    assert math.isfinite(float(far.loss))
    assert math.isfinite(float(outputs.loss))


def test_a_log_ratio_counts_as_20_at_most() -> None:
    far = torch.tensor([60.0, -60.0])
    inputs = LossInputs(
        logprobs=far,
        old_logprobs=torch.zeros(2),
        advantages=torch.tensor([-1.0, 1.0]),
        weights=torch.ones(2),
        entropy=torch.zeros(2),
    )
    outputs = policy_loss(inputs, LossConfig(dual_clip=1e30, max_log_ratio=None))
    assert float(outputs.loss) == pytest.approx(math.exp(20) - math.exp(-20))
    ratio = float(outputs.sums[SUMS.index("ratio")])
    assert ratio == pytest.approx(math.exp(20) + math.exp(-20))


def test_tokens_out_of_bounds_cost_nothing_and_count_for_nothing() -> None:
    values = torch.tensor([0.1, 11.0, math.nan, -math.inf, -0.2]).requires_grad_()
    inputs = LossInputs(
        logprobs=values,
        old_logprobs=torch.zeros(5),
        advantages=torch.ones(5),
        weights=torch.ones(5),
        entropy=torch.full((5,), math.nan).where(torch.tensor([False] * 4 + [True]), 0.5),
        reference_logprobs=torch.tensor([0.0, 0.0, 0.0, 0.0, math.nan]),
    )
    outputs = policy_loss(inputs, LossConfig(kl=0.5, entropy=0.1))
    (gradient,) = torch.autograd.grad(outputs.loss, values)
    ratio = math.exp(0.1)
    kl = math.exp(-0.1) + 0.1 - 1
    assert float(outputs.loss.detach()) == pytest.approx(-ratio + 0.5 * kl - 0.1 * 0.5)
    assert not gradient[1:].any()
    assert dict(zip(SUMS, map(float, outputs.sums), strict=True)) == pytest.approx(
        {
            "tokens": 1,
            "ratio": ratio,
            "clipped_low": 0,
            "clipped_high": 0,
            "dual_clipped": 0,
            "kl": ratio - 0.1 - 1,
            "reference_kl": kl,
            "entropy": 0.5,
            "importance": 1,
            "corrected": 0,
            "masked": 4,
            "dropped": 0,
            "compared": 3,
            "mismatch": 0.1 + 11 + 0.2,
            "mismatch_kl": sum(math.exp(d) - d - 1 for d in (0.1, 11, -0.2)),
        },
        rel=1e-5,
    )


def test_an_entropy_bonus_lowers_the_loss() -> None:
    assert float(loss_of([1.0], [0.0], config=LossConfig(entropy=0.1)).loss) == pytest.approx(-0.05)


def test_the_dual_clip_must_lie_above_the_clip_range() -> None:
    with pytest.raises(ValidationError, match="dual_clip must be greater"):
        LossConfig(dual_clip=1.2, clip_high=0.28)


def test_logprobs_and_entropy_are_those_of_a_full_softmax() -> None:
    model = tiny_model()
    (row,) = build_samples([TrainedTurn(turn=make_turn([1, 5], [7, 2]), weight=1.0, advantage=1.0)])
    logprobs, entropy = token_logprobs(model, collate([single(row)]), HeadOptions(temperature=0.7))
    ids = torch.tensor([[1, 5, 7, 2]])
    full = (model.logits(model.hidden(ids, torch.tensor([4]))) / 0.7).log_softmax(-1)[0]
    torch.testing.assert_close(logprobs, torch.stack([full[1, 7], full[2, 2]]))
    torch.testing.assert_close(entropy, -(full.exp() * full).sum(-1)[1:3].detach())
    assert not entropy.requires_grad


def test_chunks_of_logits_give_the_same_gradient() -> None:
    rows = build_samples(
        [
            TrainedTurn(turn=make_turn([1, i], [7, i, 9, 2]), weight=1.0, advantage=1.0)
            for i in range(3, 6)
        ]
    )
    gradients: list[torch.Tensor] = []
    for limit in (None, 17 * 5):
        model, options = tiny_model(), HeadOptions(max_logits=limit)
        total = token_logprobs(model, collate([single(row) for row in rows]), options)[0].sum()
        found = torch.autograd.grad(total, list(model.parameters()))
        gradients.append(torch.cat([gradient.flatten() for gradient in found]))
    assert torch.allclose(gradients[0], gradients[1], atol=1e-6)


def test_the_farthest_log_ratio_still_trains() -> None:
    ratios = torch.tensor([10.0, 10.5, -10.0, -10.5, math.nan, math.inf])
    bounded = within(ratios, LossConfig(max_log_ratio=10.0))
    assert torch.equal(bounded, torch.tensor([True, False] * 2 + [False] * 2))
    unbounded = within(ratios, LossConfig(max_log_ratio=None))
    assert torch.equal(unbounded, torch.tensor([True] * 4 + [False] * 2))


@pytest.mark.parametrize("temperature", [0.01, 0.7, 1.0, 2.5])
def test_any_temperature_and_any_bound_of_the_kl_above_zero_is_taken(temperature: float) -> None:
    config = LossConfig(temperature=temperature, kl_clamp=temperature)
    assert (config.temperature, config.kl_clamp) == (temperature, temperature)
    for key in ("temperature", "kl_clamp"):
        with pytest.raises(ValidationError):
            LossConfig.model_validate({key: 0})


def stats_of(loss: LossConfig | None = None, *, samples: int = 1) -> UpdateStats:
    return UpdateStats(
        samples=samples,
        zero_advantage_samples=2,
        loss=loss or LossConfig(),
        device=torch.device("cpu"),
    )


def sums_of(**values: float) -> torch.Tensor:
    return torch.tensor([values.get(name, 0.0) for name in SUMS], dtype=torch.float64)


ALL_TERMS = LossConfig(kl=0.1, correction=CorrectionConfig(kind="tis"))
NO_MEANS = ("tokens", "masked", "dropped", "compared", "mismatch", "mismatch_kl")


def test_the_metrics_of_a_step_are_means_over_its_tokens_and_counts() -> None:
    stats = stats_of(ALL_TERMS, samples=3)
    sums = {name: 3.0 * number for number, name in enumerate(SUMS, 1)} | {"tokens": 4.0}
    stats.add_update(sums_of(**sums), 0.5, Step(norm=2.0, changed=0.25))
    stats.add_update(sums_of(dropped=1.0), 1.5, None)
    found = stats.metrics(seconds=7.0)
    assert (found.updates, found.samples, found.zero_advantage_samples) == (1, 3, 2)
    assert (found.tokens_trained, found.loss, found.grad_norm, found.changed) == (4, 0.5, 2.0, 0.25)
    assert (found.masked_tokens, found.dropped_tokens) == (sums["masked"], sums["dropped"] + 1)
    for name in SUMS:
        if name not in NO_MEANS:
            assert getattr(found, name) == sums[name] / 4, name


def test_the_metrics_of_a_step_of_one_token_are_its_own() -> None:
    stats = stats_of(ALL_TERMS)
    sums = {name: 3.0 for name in SUMS} | {"tokens": 1.0, "compared": 1.0, "mismatch": 0.5}
    stats.add_update(sums_of(**sums), 0.5, Step(norm=2.0, changed=1.0))
    found = stats.metrics(seconds=1.0)
    assert (found.ratio, found.entropy, found.importance, found.mismatch) == (3.0, 3.0, 3.0, 0.5)


@pytest.mark.parametrize("dropped", [False, True])
def test_a_step_that_trains_no_token_has_counts_and_no_means(dropped: bool) -> None:
    stats = stats_of(ALL_TERMS)
    if dropped:
        stats.add_update(sums_of(dropped=4.0), 0.0, None)
    found = asdict(stats.metrics(seconds=0.0))
    counts = {"updates", "stopped", "skipped", "samples", "zero_advantage_samples"}
    counts |= {"masked_tokens", "masked_samples", "dropped_tokens", "tokens_trained", "tokens_run"}
    counts |= {"micro_batches", "loss_scale", "seconds"}
    assert {name for name, value in found.items() if value is not None} == counts
    assert found["dropped_tokens"] == (4 if dropped else 0)


def test_terms_that_a_loss_does_not_have_are_not_measured() -> None:
    plain, whole = stats_of(), stats_of(ALL_TERMS)
    for stats in (plain, whole):
        stats.add_update(sums_of(tokens=2.0, importance=2.0), 0.5, Step(norm=2.0))
    terms = ("reference_kl", "importance", "corrected")
    assert [getattr(plain.metrics(), name) for name in terms] == [None] * 3
    assert [getattr(whole.metrics(), name) for name in terms] == [0.0, 1.0, 0.0]
    assert plain.metrics().changed is None  # no weight that is watched has a gradient


def test_the_mismatch_of_a_step_leaves_out_what_is_not_finite() -> None:
    inputs = LossInputs(
        logprobs=torch.tensor([-1.5, -1.5, -1.0, -1.0, math.nan]),
        old_logprobs=torch.tensor([-1.0, -2.0, -math.inf, math.nan, -1.0]),
        advantages=torch.ones(5),
        weights=torch.ones(5),
        entropy=torch.zeros(5),
    )
    stats = stats_of()
    stats.add_update(policy_loss(inputs, LossConfig()).sums, 0.0, None)
    found = stats.metrics()
    assert found.mismatch == pytest.approx(0.5)
    wanted = (math.exp(0.5) - 0.5 - 1 + math.exp(-0.5) + 0.5 - 1) / 2
    assert found.mismatch_kl == pytest.approx(wanted, rel=1e-5)


def test_the_mismatch_is_that_of_the_first_update_to_the_sampler() -> None:
    def sums(logprob: float) -> torch.Tensor:
        inputs = LossInputs(
            logprobs=torch.tensor([logprob]),
            old_logprobs=torch.tensor([-9.0]),  # recomputed: not the sampler's
            sampled_logprobs=torch.tensor([-1.0]),
            advantages=torch.ones(1),
            weights=torch.ones(1),
            entropy=torch.zeros(1),
        )
        return policy_loss(inputs, LossConfig()).sums

    stats = stats_of()
    stats.add_update(sums(-1.5), 0.0, None)
    stats.add_update(sums(-3.0), 0.0, Step(norm=1.0))
    assert stats.metrics().mismatch == pytest.approx(0.5)


def test_counts_of_all_ranks_are_added_and_sums_are_not_added_twice() -> None:
    stats = stats_of()
    stats.add_update(sums_of(tokens=2.0, masked=3.0), 0.5, Step(norm=2.0))
    stats.tokens_run, stats.micro_batches, stats.masked_tokens, stats.masked_samples = 8, 2, 4, 1
    stats.reduce(lambda own: own * 3)
    found = stats.metrics()
    assert (found.tokens_run, found.micro_batches, found.masked_samples) == (24, 6, 3)
    assert (found.tokens_trained, found.masked_tokens) == (2, 4 * 3 + 3)


@pytest.mark.parametrize(
    ("ratio", "advantage", "low", "high"),
    [
        (0.5, -0.5, 1, 0),
        (0.5, 0.5, 0, 0),  # not clipped: a good token that grew rarer
        (0.5, 0.0, 0, 0),
        (1.5, 0.5, 0, 1),
        (1.5, -0.5, 0, 0),
        (1.5, 0.0, 0, 0),
    ],
)
def test_only_tokens_that_lose_their_gradient_count_as_clipped(
    ratio: float, advantage: float, low: int, high: int
) -> None:
    sums = dict(zip(SUMS, map(float, loss_of([ratio], [advantage]).sums), strict=True))
    assert (sums["clipped_low"], sums["clipped_high"]) == (low, high)
