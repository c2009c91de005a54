"""One odd number costs its own turn, and never the step or the weights."""

import logging
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from wideseek_core import Turn
from wideseek_rl import (
    CorrectionConfig,
    LossConfig,
    OptimizerConfig,
    TorchTrainerConfig,
    TrainedTurn,
    TrainingSample,
)
from wideseek_rl.batch.samples import build_samples
from wideseek_rl.models.decoder import Decoder
from wideseek_rl.testing import make_turn, tiny_model
from wideseek_rl.trainers.screening import screen
from wideseek_rl.trainers.torch import TorchTrainer

CONFIG = TorchTrainerConfig(optimizer=OptimizerConfig(lr=1e-2, grad_clip=1e9))


def conversation(group: int = 0) -> TrainingSample:
    """Turns of 3, 2 and 2 tokens at 2..4, 6..7 and 9..10."""
    turns = (
        make_turn([1, 4], [5, 6, 2], logprob=-2.8),
        make_turn([1, 4, 5, 6, 2, 3], [7, 2], logprob=-2.8),
        make_turn([1, 4, 5, 6, 2, 3, 7, 2, 3], [8, 2], logprob=-2.8),
    )
    trained = [TrainedTurn(turn=turn, weight=0.1, advantage=1.0) for turn in turns]
    (sample,) = build_samples(trained, group=group)
    return sample


def with_value(sample: TrainingSample, name: str, at: int, value: float) -> TrainingSample:
    changed = np.array(getattr(sample, name))
    changed[at] = value
    return replace(sample, **{name: changed})


def flat(model: Decoder) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def gradient(model: Decoder) -> torch.Tensor:
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("logprobs", math.nan),
        ("logprobs", -math.inf),
        ("logprobs", 0.5),
        ("advantages", math.nan),
        ("advantages", math.inf),
        ("weights", math.nan),
        ("weights", math.inf),
    ],
)
def test_an_odd_number_masks_its_turn_and_the_rest_trains(
    name: str, value: float, caplog: pytest.LogCaptureFixture
) -> None:
    sample = conversation(group=7)
    other = conversation(group=8)
    without = replace(sample, weights=np.where(np.isin(range(11), [6, 7]), 0, sample.weights))
    wanted, found = tiny_model(), tiny_model()
    TorchTrainer(wanted, CONFIG).update([without, other])
    with caplog.at_level(logging.WARNING):
        metrics = TorchTrainer(found, CONFIG).update([with_value(sample, name, 7, value), other])
    assert (metrics.updates, metrics.masked_tokens, metrics.masked_samples) == (1, 2, 0)
    assert metrics.tokens_trained == 7 + 5
    assert torch.equal(flat(found), flat(wanted))
    assert "sample 0 of prompt 7: 2 tokens" in caplog.text


def test_numbers_of_untrained_tokens_do_not_matter() -> None:
    sample = with_value(conversation(), "logprobs", 5, math.nan)
    assert screen([sample], 17).samples == [sample]


def test_a_sample_of_which_nothing_is_left_is_dropped() -> None:
    sample = replace(conversation(), logprobs=np.full(11, np.nan, dtype=np.float32))
    model = tiny_model()
    before = flat(model)
    metrics = TorchTrainer(model, CONFIG).update([sample])
    assert (metrics.updates, metrics.masked_tokens, metrics.masked_samples) == (0, 7, 1)
    assert torch.equal(flat(model), before)


@pytest.mark.parametrize("bad", [-1, 17, 2_000_000])
def test_a_sample_with_an_id_of_no_token_is_dropped(bad: int) -> None:
    metrics = TorchTrainer(tiny_model(), CONFIG).update(
        [with_value(conversation(), "ids", 5, bad), conversation()]
    )
    assert (metrics.updates, metrics.samples, metrics.masked_samples) == (1, 1, 1)


def test_a_first_token_has_nothing_that_predicts_it() -> None:
    sample = with_value(conversation(), "weights", 0, 0.1)
    (left,) = screen([sample], 17).samples
    assert left.weights.tolist() == conversation().weights.tolist()


@pytest.mark.parametrize("ratio", [17.0, -17.0, 40.0])
def test_a_huge_log_ratio_masks_its_token(ratio: float, caplog: pytest.LogCaptureFixture) -> None:
    base = tiny_model()
    with torch.no_grad():
        ids = torch.as_tensor(conversation().ids).long()[None]
        logp = base.logits(base.hidden(ids, torch.tensor([11]))).log_softmax(-1)[0]
    own = np.zeros(11, dtype=np.float32)
    own[1:] = logp[:-1].gather(-1, ids[0, 1:, None])[:, 0].numpy()
    sample = replace(conversation(group=3), logprobs=own)
    # A log-probability of the sampler can't be above 0, so that side comes through old weights.
    odd = with_value(sample, "logprobs", 3, min(float(own[3]) - ratio, 0.0))
    expected = 1 if abs(float(own[3]) - min(float(own[3]) - ratio, 0.0)) > 10 else 0
    without = with_value(sample, "weights", 3, 0.0)
    wanted, found = tiny_model(), tiny_model()
    TorchTrainer(wanted, CONFIG).update([without])
    with caplog.at_level(logging.WARNING):
        metrics = TorchTrainer(found, CONFIG).update([odd])
    assert (metrics.updates, metrics.stopped, metrics.masked_tokens) == (1, 0, expected)
    if expected:
        torch.testing.assert_close(flat(found), flat(wanted), atol=1e-6, rtol=0)
        assert metrics.ratio == pytest.approx(1.0, abs=1e-4)
        assert "1 token of prompts [3] not trained: log-ratios up to" in caplog.text


def test_the_bound_of_log_ratios_is_a_setting() -> None:
    sample = with_value(conversation(), "logprobs", 3, -9.0)
    for bound, masked in ((10.0, 0), (5.0, 1), (None, 0)):
        trainer = TorchTrainer(tiny_model(), TorchTrainerConfig(), LossConfig(max_log_ratio=bound))
        assert trainer.update([sample]).masked_tokens == masked


class Poisoned(Decoder):
    """Gives no numbers for sequences that hold a certain token."""

    def hidden(self, ids: torch.Tensor, *arguments: object) -> torch.Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        states = super().hidden(ids, *arguments)  # pyright: ignore[reportArgumentType]
        bad = (ids == 16).any(-1)
        return torch.where(bad[:, None, None], torch.nan, states)


def test_a_sample_for_which_the_model_gives_nan_is_left_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    model = Poisoned(tiny_model().config)
    model.load_state_dict(tiny_model().state_dict())
    wanted = tiny_model()
    good = [conversation(group) for group in range(3)]
    bad = with_value(conversation(group=9), "ids", 10, 16)
    TorchTrainer(wanted, CONFIG).update(good)
    config = CONFIG.model_copy(update={"share_prefixes": False})
    with caplog.at_level(logging.WARNING):
        metrics = TorchTrainer(model, config).update([*good, bad])
    assert (metrics.updates, metrics.masked_samples, metrics.masked_tokens) == (1, 1, 7)
    torch.testing.assert_close(flat(model), flat(wanted), atol=1e-5, rtol=0)
    assert "no log-probabilities for 1 sample of prompts [9]" in caplog.text


def test_nan_never_reaches_the_weights_though_nothing_else_is_there() -> None:
    model = Poisoned(tiny_model().config)
    model.load_state_dict(tiny_model().state_dict())
    before = flat(model)
    metrics = TorchTrainer(model, CONFIG).update([with_value(conversation(), "ids", 10, 16)])
    assert (metrics.updates, metrics.tokens_trained, metrics.masked_tokens) == (0, 0, 7)
    assert torch.equal(flat(model), before)


def off_by(logprobs: np.ndarray, *differences: float) -> Turn:
    """A response whose sampler found its tokens so much less likely than the model does."""
    sampled = [float(value) - by for value, by in zip(logprobs, differences, strict=True)]
    return replace(make_turn([1, 4], [5, 6, 7, 8]), logprobs=tuple(sampled))


def model_logprobs(model: Decoder) -> np.ndarray:
    (sample,) = built(make_turn([1, 4], [5, 6, 7, 8]))
    (found,) = TorchTrainer(model, CONFIG).logprobs([sample])
    return found[2:]


def built(*turns: Turn) -> list[TrainingSample]:
    return build_samples([TrainedTurn(turn=turn, weight=0.1, advantage=1.0) for turn in turns])


@pytest.mark.parametrize("odd", [math.nan, -30.0])
@pytest.mark.parametrize("at", [0, 1, 2, 3])
def test_a_masked_token_does_not_split_the_sequence_of_its_response(odd: float, at: int) -> None:
    """Neither one without a log-probability nor one whose log-ratio is out of bounds."""
    differences = [0.2, 0.4, 0.9, -0.3]
    model = tiny_model()
    turn = off_by(model_logprobs(model), *differences)
    logprobs = list(turn.logprobs)
    logprobs[at] = odd
    samples = built(replace(turn, logprobs=tuple(logprobs)))
    loss = LossConfig(ratio="sequence", clip_low=0.9, clip_high=5.0)
    metrics = TorchTrainer(model, CONFIG, loss).update(samples)
    rest = [by for place, by in enumerate(differences) if place != at]
    # With one s for three tokens of weight 0.1 and advantage 1.
    assert metrics.ratio == pytest.approx(math.exp(sum(rest) / 3), rel=1e-5)
    assert metrics.loss == pytest.approx(-0.3 * math.exp(sum(rest) / 3), rel=1e-5)


@pytest.mark.parametrize(("at", "masked"), [(1, True), (2, False)])
def test_a_masked_token_does_not_split_what_is_weighted_as_one(at: int, masked: bool) -> None:
    differences = [0.5, -0.3, 0.1, 0.3]
    model = tiny_model()
    turn = off_by(model_logprobs(model), *differences)
    logprobs = list(turn.logprobs)
    logprobs[at] = math.nan
    samples = built(replace(turn, logprobs=tuple(logprobs)))
    correction = CorrectionConfig(kind="mis", high=2.0)
    config = CONFIG.model_copy(update={"recompute_logprobs": True})
    metrics = TorchTrainer(model, config, LossConfig(correction=correction)).update(samples)
    product = math.exp(sum(by for place, by in enumerate(differences) if place != at))
    assert (product > 2.0) == masked
    assert metrics.importance == pytest.approx(0 if masked else product, rel=1e-5)
    assert metrics.corrected == masked


@pytest.mark.parametrize("bad", [0, 2])
def test_a_turn_with_a_gap_is_masked_whole(bad: int) -> None:
    gap = replace(make_turn([1, 4], [5, 6, 7]), logprobs=(-2.8, math.nan, -2.8))
    (sample,) = built(gap, make_turn([1, 4, 5, 6, 7, 3], [8, 2], logprob=-2.8))
    screened = screen([with_value(sample, "logprobs", 2 + bad, 0.5)], 17)
    (left,) = screened.samples
    assert (screened.tokens, np.flatnonzero(left.weights).tolist()) == (2, [6, 7])
