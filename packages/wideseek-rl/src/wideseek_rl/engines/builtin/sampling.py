"""From logits to one token per row, with its log-probability."""

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from wideseek_rl.engines.builtin.requests import Request
from wideseek_rl.models.ops import MIN_LOGPROB


@dataclass(frozen=True, slots=True)
class Choice:
    """A sampled token and its log-probability in nats."""

    id: int
    logprob: float


def sample(logits: Tensor, requests: list[Request]) -> list[Choice]:
    """One token for each row of `logits` `[n, V]`.

    A row is inverted at its request's own random number: the token at which the cumulative
    probability passes it. Log-probabilities belong to the distribution sampled from, after
    temperature and after `top_p` has cut and renormalised it; those of greedy rows belong to the
    model's own distribution (temperature 1).
    """
    logits = logits.float()
    settings = [request.sampling for request in requests]
    temperatures = [s.temperature or 1.0 for s in settings]
    if any(t != 1.0 for t in temperatures):
        logits = logits / logits.new_tensor(temperatures)[:, None]
    logp = logits.log_softmax(-1)
    if any(s.top_p < 1.0 and s.temperature for s in settings):
        top_p = [s.top_p if s.temperature else 1.0 for s in settings]
        logp = nucleus(logp, logits.new_tensor(top_p))
    if all(s.temperature for s in settings):
        chosen = invert(logp, logp.new_tensor([r.draw() for r in requests]))
    else:
        draws = [r.draw() if r.sampling.temperature else 0.0 for r in requests]
        greedy = torch.tensor([not s.temperature for s in settings], device=logp.device)
        chosen = torch.where(greedy, logp.argmax(-1), invert(logp, logp.new_tensor(draws)))
    picked = logp.gather(-1, chosen[:, None])[:, 0]
    ids = cast(list[int], chosen.tolist())  # pyright: ignore[reportUnknownMemberType]
    logprobs = cast(list[float], picked.tolist())  # pyright: ignore[reportUnknownMemberType]
    return [Choice(*pair) for pair in zip(ids, logprobs, strict=True)]


def invert(logp: Tensor, draws: Tensor) -> Tensor:
    """Index of the first token whose cumulative probability exceeds the row's draw."""
    weights = logp.clamp(min=MIN_LOGPROB).exp_().masked_fill_(logp <= MIN_LOGPROB, 0.0)
    cumulative = weights.cumsum(-1)
    total = cumulative[:, -1:]
    # Rounding may lift the product to the total itself, behind which there is no token.
    target = torch.minimum(draws[:, None] * total, total.nextafter(torch.zeros_like(total)))
    return torch.searchsorted(cumulative, target, right=True)[:, 0]


def nucleus(logp: Tensor, top_p: Tensor) -> Tensor:
    """Keeps each row's likeliest tokens until they reach its `top_p`, and renormalises."""
    ordered, order = logp.sort(dim=-1, descending=True)
    before = ordered.exp().cumsum(-1) - ordered.exp()
    kept = ordered.masked_fill((before >= top_p[:, None]) & (top_p[:, None] < 1), -torch.inf)
    return torch.full_like(logp, -torch.inf).scatter(-1, order, kept).log_softmax(-1)
