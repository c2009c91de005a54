"""A rank of NeMo-Aligner that a benchmark steers between updates and that reports its memory.

Run in the place of `wideseek_rl.trainers.megatron.ranks`, in the same way. `$STEERING` names a file
whose JSON says what is computed again in the updates that follow, and whether attention holds all
pairs of tokens instead of ours; each rank writes the GiB that its last update took beside it.
"""

import json
import os
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wideseek_rl.trainers.megatron import attention, compat, ranks


def unfused(q: Tensor, k: Tensor, v: Tensor, ends: Tensor) -> Tensor:
    """Scores of each document as a matrix, in the arithmetic of megatron-core's own attention."""
    lengths = [int(length) for length in ends.diff()]
    parts = zip(*(torch.split(states, lengths) for states in (q, k, v)), strict=True)
    return torch.cat([_document(*part) for part in parts])


def _document(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """`[T, heads, dim]` from queries, and keys and values with fewer heads."""
    share = q.shape[1] // k.shape[1]
    k, v = (states.repeat_interleave(share, 1) for states in (k, v))
    scores = torch.einsum("thd,shd->hts", q, k) / q.shape[-1] ** 0.5
    future = torch.ones(scores.shape[-2:], dtype=torch.bool, device=q.device).triu(1)
    weights = scores.float().masked_fill(future, -torch.inf).softmax(-1).to(q.dtype)
    return torch.einsum("hts,shd->thd", weights, v)


def _steered(actor: Any, path: Path) -> type:
    """The actor, with what it computes again as the file says."""
    model: Any = import_module("wideseek_rl.trainers.megatron.model")

    def prepare_for_training(self: Any) -> None:
        given = json.loads(path.read_text())
        model.set_recompute(model.bare(self.model), given["recompute"], given["layers"])
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        actor.prepare_for_training(self)

    def finish_training(self: Any) -> None:
        actor.finish_training(self)
        peak = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0
        own = path.with_name(f"{path.name}.rank{os.environ['RANK']}")
        own.write_text(f"{peak / 2**30:.1f}")

    changes = {"prepare_for_training": prepare_for_training, "finish_training": finish_training}
    return type("Steered", (actor,), changes)


def main() -> None:
    """A rank, until the client closes the channel."""
    path = Path(os.environ["STEERING"])
    if json.loads(path.read_text()).get("unfused"):
        attention.__dict__["_variable_length"] = attention.__dict__["_by_document"] = unfused
    install = compat.install

    def steered() -> None:
        install()
        actor: Any = import_module("wideseek_rl.trainers.megatron.actor")
        actor.PolicyActor = _steered(actor.PolicyActor, path)

    # Not before: what NeMo prints when it is imported must not get into the channel.
    compat.__dict__["install"] = steered
    ranks.main()


if __name__ == "__main__":
    main()
