"""Configuration of the policy loss; no torch is needed to read it."""

from typing import Literal

from pydantic import Field, model_validator

from wideseek_core import Config, ConfigError

Estimator = Literal["k1", "k2", "k3", "abs"]
"""Estimates of a KL divergence from one sample; see `objectives/divergence.py`."""


class CorrectionConfig(Config):
    """Importance weights ρ = π_old/π_sampler of tokens.

    They are for tokens that other weights, or another arithmetic, sampled, and need
    `trainer.recompute_logprobs: true`, which is where π_old comes from.
    """

    kind: Literal["none", "tis", "mis", "icepop"] = "none"
    """`tis` weights a token by min(ρ, high) (truncated importance sampling). `icepop` weights it by
    ρ where low ≤ ρ ≤ high and masks it elsewhere (arXiv 2510.18855). `mis` weights all tokens of a
    sequence by the product of their ρ where that lies within the bounds, and masks the sequence
    elsewhere (masked importance sampling of sequences)."""
    low: float | None = Field(default=None, ge=0, le=1)
    """Null for 0.5 with `icepop` and 0 with the others."""
    high: float | None = Field(default=None, ge=1)
    """Null for 5 with `icepop` and 2 with the others."""

    @property
    def bounds(self) -> tuple[float, float]:
        """The lowest and the highest ρ."""
        low, high = (0.5, 5.0) if self.kind == "icepop" else (0.0, 2.0)
        return (low if self.low is None else self.low, high if self.high is None else self.high)

    @model_validator(mode="after")
    def _used(self) -> "CorrectionConfig":
        if self.kind == "tis" and self.low is not None:
            raise ValueError("correction.low has no effect with kind: tis, which bounds from above")
        if self.kind == "none" and (self.low, self.high) != (None, None):
            raise ValueError("correction.low and correction.high need a correction.kind")
        return self


class LossConfig(Config):
    """The policy loss. The weights of tokens are not its business."""

    surrogate: Literal["clip", "cispo"] = "clip"
    """What a token costs: `clip` is the clipped ratio of PPO, `cispo` a clipped weight of its
    log-probability, so that clipped tokens keep a gradient (arXiv 2506.13585)."""
    ratio: Literal["token", "sequence"] = "token"
    """π/π_old of each token, or for all tokens of a sequence their geometric mean (GSPO, arXiv
    2507.18071)."""
    sequence: Literal["turn", "sample"] = "turn"
    """What a sequence is where it matters: one response, or all responses of a training sample,
    which are those of an agent unless its context was rebuilt. Tokens of it that are masked are
    left out of its mean or product, and it remains one sequence."""
    clip_low: float = Field(default=0.2, gt=0, le=1)
    """ε_low: the ratio is clipped below 1 − this."""
    clip_high: float = Field(default=0.28, gt=0)
    """ε_high: the ratio is clipped above 1 + this."""
    dual_clip: float = Field(default=10.0, gt=1)
    """c: a token of negative advantage costs at most c times it; `clip` only."""
    log_ratio_limit: float = Field(default=20.0, gt=0)
    """Log-ratios are clamped to ± this."""
    max_log_ratio: float | None = Field(default=10.0, gt=0)
    """Tokens whose log-ratio is farther from 0 are masked and counted; null masks only those that
    are not finite. Weights that stay close to those that sampled never come near it."""
    kl: float = Field(default=0.0, ge=0)
    """β: weight of the KL to the reference model. 0 runs no reference model at all."""
    kl_estimator: Estimator = "k3"
    """How the KL of a token is estimated."""
    kl_clamp: float | None = Field(default=None, gt=0)
    """Most that one token's KL to the reference model counts, in either direction, without gradient
    beyond it, as in the public code (10 there); null for no limit."""
    entropy: float = Field(default=0.0, ge=0)
    """η: weight of the entropy bonus."""
    temperature: float = Field(default=1.0, gt=0)
    """Sampling temperature of the rollouts: logits are divided by it."""
    correction: CorrectionConfig = CorrectionConfig()
    """Importance weights against the difference of trainer and sampler."""

    @model_validator(mode="after")
    def _bounds(self) -> "LossConfig":
        if self.surrogate == "clip" and self.dual_clip <= 1 + self.clip_high:
            raise ValueError("dual_clip must be greater than 1 + clip_high")
        return self

    @property
    def needs_all_tokens(self) -> bool:
        """Whether tokens of zero advantage have a gradient."""
        return self.kl > 0 or self.entropy > 0

    @property
    def needs_sequences(self) -> bool:
        """Whether the cost of a token depends on the other tokens of its sequence."""
        return self.ratio == "sequence" or self.correction.kind == "mis"


def check_correction(loss: LossConfig, *, recompute_logprobs: bool) -> None:
    """Raises `ConfigError` for a correction without log-probabilities of the trainer."""
    if loss.correction.kind != "none" and not recompute_logprobs:
        raise ConfigError(
            f"rl.loss.correction.kind={loss.correction.kind} needs trainer.recompute_logprobs=true"
        )
