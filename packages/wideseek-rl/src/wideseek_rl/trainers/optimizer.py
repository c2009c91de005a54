"""Learning rate over a run, and the optimizer whose knobs both training stages share."""

import math

import torch
from torch import nn

from wideseek_rl.trainers.config import OptimizerConfig


def learning_rate(config: OptimizerConfig, update: int, progress: float | None = None) -> float:
    """The rate of an update, counted from 0.

    `progress` in [0, 1] says how far the run is where updates alone don't tell.
    """
    warm = min(1.0, (update + 1) / max(config.warmup_updates, 1))
    at = min(update / config.decay_updates if progress is None else progress, 1.0)
    match config.decay:
        case "constant":
            left = 1.0
        case "linear":
            left = 1.0 - at
        case "cosine":
            left = 0.5 * (1 + math.cos(math.pi * at))
    return config.lr * warm * (config.final_fraction + (1 - config.final_fraction) * left)


def make_optimizer(model: nn.Module, config: OptimizerConfig) -> torch.optim.AdamW:
    """AdamW whose decay spares vectors (norms, biases)."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=config.lr,
        betas=config.betas,
        eps=config.eps,
        fused=True,
    )


def set_learning_rate(optimizer: torch.optim.Optimizer, value: float) -> None:
    """The rate of all parameter groups."""
    for group in optimizer.param_groups:
        group["lr"] = value
