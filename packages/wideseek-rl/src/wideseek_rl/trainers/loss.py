"""The policy loss over trained tokens: a surrogate, with its KL and entropy terms.

With r = π(token)/π_old(token), advantage A and token weight w, a token costs

    w · ρ · [ surrogate(r, A) + β·KL_token − η·H_token ]

where ρ is an importance weight (1 without a correction); the parts are in `objectives/`. By
default the surrogate is max(−A·r, −A·clip(r, 1−ε_low, 1+ε_high)), at most −A·c for A < 0, and
KL_token is k3. All sums run over trained tokens alone, so padding and prompts cost nothing.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from wideseek_rl.trainers.config import LossConfig
from wideseek_rl.trainers.objectives.correction import importance_weights
from wideseek_rl.trainers.objectives.divergence import divergence
from wideseek_rl.trainers.objectives.ratio import sequence_log_ratio
from wideseek_rl.trainers.objectives.surrogate import token_costs


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LossInputs:
    """One entry per trained token, `[N]` each."""

    logprobs: Tensor
    """Of the model being trained, with gradient."""
    old_logprobs: Tensor
    advantages: Tensor
    weights: Tensor
    entropy: Tensor
    reference_logprobs: Tensor | None = None
    """Wanted if `kl` is above 0."""
    sampled_logprobs: Tensor | None = None
    """Of the sampler; None where they are the old ones."""
    sequences: Tensor | None = None
    """The number of the sequence of each token; wanted if `LossConfig.needs_sequences`."""


SUMS = (
    "tokens",
    "ratio",
    "clipped_low",
    "clipped_high",
    "dual_clipped",
    "kl",
    "reference_kl",
    "entropy",
    "importance",
    "corrected",
    "masked",
    "dropped",
    "compared",
    "mismatch",
    "mismatch_kl",
)
"""What `LossOutputs.sums` counts, in its order.

The last three are about tokens that have finite log-probabilities of the model and of the sampler,
whether or not they train: their number, Σ |log π − log π_sampler|, and k3 of the same.
"""

COMPARED = slice(SUMS.index("compared"), None)
"""Where those three are."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LossOutputs:
    """The loss and what to log about it."""

    loss: Tensor
    """Scalar: the weighted sum over tokens; add it over micro-batches, never average."""
    sums: Tensor
    """`[len(SUMS)]`, plain sums over tokens, without gradient."""


def policy_loss(inputs: LossInputs, config: LossConfig) -> LossOutputs:
    """The loss of some tokens.

    Tokens whose log-ratio is not within ± `max_log_ratio`, or is no number, cost nothing and count
    for nothing: one of them would outweigh the rest.
    """
    limit, advantages = config.log_ratio_limit, inputs.advantages
    reference = inputs.reference_logprobs
    if config.kl > 0 and reference is None:
        raise ValueError("kl > 0 needs reference log-probabilities")
    valid = within(inputs.logprobs - inputs.old_logprobs, config)
    if reference is not None:
        valid = valid & torch.isfinite(reference)
        reference = torch.where(valid, reference, 0.0)
    # Selected before any arithmetic: a NaN that is only multiplied by 0 stays one.
    logprobs = torch.where(valid, inputs.logprobs, 0.0)
    log_ratio = (logprobs - torch.where(valid, inputs.old_logprobs, 0.0)).clamp(-limit, limit)
    ratio = _ratio(log_ratio, valid, inputs, config)
    costs = token_costs(ratio, logprobs, advantages, config)
    cost, reference_kl = costs.cost, torch.zeros_like(ratio)
    if reference is not None and config.kl > 0:
        reference_kl = divergence(reference - logprobs, config.kl_estimator, limit=limit)
        if config.kl_clamp is not None:
            reference_kl = reference_kl.clamp(-config.kl_clamp, config.kl_clamp)
        cost = cost + config.kl * reference_kl
    if config.entropy > 0:
        cost = cost - config.entropy * torch.where(valid, inputs.entropy, 0.0)
    factor = _correction(inputs, valid, config)
    weights = torch.where(valid, inputs.weights, 0.0)
    if factor is not None:
        weights = weights * factor
    with torch.no_grad():
        counted = (
            torch.ones_like(ratio),
            ratio,
            costs.low,
            costs.high,
            costs.dual,
            k3(log_ratio, limit),
            reference_kl,
            inputs.entropy,
            torch.ones_like(ratio) if factor is None else factor,
            torch.zeros_like(ratio) if factor is None else _bounded(factor, config),
        )
        sums = [torch.where(valid, values, 0.0).sum(dtype=torch.float64) for values in counted]
        sums += [(~valid).sum(dtype=torch.float64), sums[0].new_zeros(())]
        sums += _mismatch(inputs, limit)
    return LossOutputs(loss=(weights * cost).sum(), sums=torch.stack(sums))


def without_runaway(outputs: LossOutputs, max_mean_ratio: float) -> LossOutputs:
    """The loss of a micro-batch, or nothing if the mean ratio of its tokens passed a limit.

    Then its tokens count as dropped, and nothing of it has a gradient; that they were compared with
    the sampler's remains.
    """
    tokens, total = outputs.sums[SUMS.index("tokens")], outputs.sums[SUMS.index("ratio")]
    over = total > max_mean_ratio * tokens
    nothing = torch.zeros_like(outputs.sums)
    nothing[SUMS.index("dropped")] = tokens
    nothing[COMPARED] = outputs.sums[COMPARED]
    return LossOutputs(
        loss=torch.where(over, 0.0, outputs.loss), sums=torch.where(over, nothing, outputs.sums)
    )


def within(log_ratio: Tensor, config: LossConfig) -> Tensor:
    """Whether log-ratios are numbers that may train."""
    limit = math.inf if config.max_log_ratio is None else config.max_log_ratio
    return (log_ratio.abs() <= limit) & torch.isfinite(log_ratio)


def k3(log_ratio: Tensor, limit: float) -> Tensor:
    """e^d − d − 1, never negative and of low variance; d is clamped to ± `limit`."""
    return divergence(log_ratio, "k3", limit=limit)


def _mismatch(inputs: LossInputs, limit: float) -> list[Tensor]:
    """How many tokens can be compared with the sampler's, and by how much they differ in sum."""
    sampled = inputs.old_logprobs if inputs.sampled_logprobs is None else inputs.sampled_logprobs
    difference = inputs.logprobs - sampled
    finite = torch.isfinite(difference)
    difference = torch.where(finite, difference, 0.0)
    values = (finite, difference.abs(), k3(difference, limit))
    return [value.sum(dtype=torch.float64) for value in values]


def _ratio(log_ratio: Tensor, valid: Tensor, inputs: LossInputs, config: LossConfig) -> Tensor:
    if config.ratio == "token":
        return log_ratio.exp()
    if inputs.sequences is None:
        raise ValueError("ratio: sequence needs to know the sequences of the tokens")
    return sequence_log_ratio(log_ratio, valid, inputs.sequences).exp()


def _correction(inputs: LossInputs, valid: Tensor, config: LossConfig) -> Tensor | None:
    """The importance weights; None where nothing is corrected."""
    if config.correction.kind == "none" or inputs.sampled_logprobs is None:
        return None
    sampled = torch.where(valid, inputs.sampled_logprobs, 0.0)
    old = torch.where(valid, inputs.old_logprobs, 0.0)
    return importance_weights(old, sampled, inputs.sequences, config)


def _bounded(factor: Tensor, config: LossConfig) -> Tensor:
    """Which tokens a correction masked or truncated."""
    high = config.correction.bounds[1]
    return factor >= high if config.correction.kind == "tis" else factor == 0
