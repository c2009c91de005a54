"""A rank of NeMo-Aligner that a benchmark steers between updates and that reports its memory.

Run in the place of `wideseek_rl.trainers.megatron.ranks`, in the same way. `$STEERING` names a file
whose JSON says what is computed again in the updates that follow, whether attention holds all pairs
of tokens instead of ours, and whether kernels are timed. Each rank writes the GiB that its last
update took beside it, and the milliseconds of its kernels.
"""

import json
import os
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.autograd import DeviceType  # pyright: ignore[reportPrivateImportUsage]
from torch.profiler import ProfilerActivity, profile

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


def _kernels(found: Any) -> dict[str, list[float]]:
    """Milliseconds and calls of the kernels that took longest."""
    times: dict[str, list[float]] = {}
    events: list[Any] = found.events() or []
    for event in events:
        if event.device_type == DeviceType.CUDA:
            times.setdefault(event.name[:70], []).append(event.device_time / 1e3)
    ordered = sorted(times.items(), key=lambda item: -sum(item[1]))
    return {name: [round(sum(ms), 2), len(ms)] for name, ms in ordered[:45]}


def _steered(actor: Any, path: Path) -> type:
    """The actor, with what it computes again as the file says."""
    model: Any = import_module("wideseek_rl.trainers.megatron.model")
    own = path.with_name(f"{path.name}.rank{os.environ['RANK']}")
    profiles: list[Any] = []

    def prepare_for_training(self: Any) -> None:
        given = json.loads(path.read_text())
        model.set_recompute(model.bare(self.model), given["recompute"], given["layers"])
        model.set_attention(model.bare(self.model), given["attention"])
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        actor.prepare_for_training(self)
        if given.get("profile") and torch.cuda.is_available():
            profiles.append(profile(activities=[ProfilerActivity.CUDA]).__enter__())

    def finish_training(self: Any) -> None:
        actor.finish_training(self)
        peak = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0
        own.write_text(f"{peak / 2**30:.1f}")
        if profiles:
            profiles[0].__exit__(None, None, None)
            own.with_name(f"{own.name}.kernels.json").write_text(json.dumps(_kernels(*profiles)))
            profiles.clear()

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
