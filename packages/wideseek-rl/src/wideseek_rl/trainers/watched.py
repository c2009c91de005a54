"""Whether an update changed weights at all, by some elements that are watched."""

from collections.abc import Sequence

import torch
from torch import Tensor

from wideseek_rl.trainers.adamw import local

WATCHED_WEIGHTS = 16
"""Weights of which some elements are watched for changes."""

WATCHED = 1024
"""Elements of each of them."""


class Watched:
    """Some elements of some weights that have a gradient, as they are before an update.

    Args:
        weights: this rank's weights, with their gradients; few are taken, evenly spread, so that
            watching is cheap.
    """

    def __init__(self, weights: Sequence[tuple[Tensor, Tensor]]) -> None:
        chosen = weights[:: max(len(weights) // WATCHED_WEIGHTS, 1)]
        self._weights = [weight for weight, _ in chosen]
        self._before = [_sample(weight) for weight in self._weights]
        self._moved = [_sample(gradient) != 0 for _, gradient in chosen]

    def counts(self) -> Tensor:
        """How many elements have a gradient, and how many of those are not what they were."""
        device = self._weights[0].device if self._weights else None
        total = torch.zeros(2, dtype=torch.float64, device=device)
        for weight, before, moved in zip(self._weights, self._before, self._moved, strict=True):
            changed = (_sample(weight) != before) & moved
            total += torch.stack([moved.sum(), changed.sum()])
        return total


def changed_part(counts: Tensor) -> float | None:
    """The part that changed, of counts that may be summed over ranks; None if none could."""
    could, did = (float(value) for value in counts.cpu())
    return did / could if could else None


@torch.no_grad()
def _sample(tensor: Tensor) -> Tensor:
    """A copy of some elements, evenly spread."""
    flat = local(tensor).detach().flatten()
    return flat[:: max(len(flat) // WATCHED, 1)].clone()
