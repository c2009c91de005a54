"""How layers are compiled: settings of torch's compiler that hold while a model runs."""

from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from typing import Any

MAX_LENGTHS = 8
"""Lengths to which packed sequences are padded under flex attention. Its kernels are a third slower
where they don't know the length, so each one is compiled for itself, once."""

MEMORY_BUDGET = 0.99
"""A part of what the compiler would keep for the backward pass. Any below 1 lets it compute cheap
results again: products of the feed-forward gate, normalized states and the like, a quarter of the
memory of a layer for a hundredth of its time. Nothing near it makes it repeat matrix products."""


@contextmanager
def compiling(*, cheap_again: bool) -> Generator[None]:
    """For forward passes of compiled layers, in whatever thread they run: settings are a thread's.

    With `cheap_again` layers that are compiled inside compute cheap results again.
    Layers share their code: one entry for each length, with and without gradient, and for each way
    of recomputing. At the limit they would run uncompiled.
    """
    import torch._dynamo
    import torch._functorch.config

    dynamo: Any = torch._dynamo.config  # pyright: ignore[reportPrivateUsage]
    functorch: Any = torch._functorch.config  # pyright: ignore[reportPrivateUsage]
    with ExitStack() as stack:
        limit = max(dynamo.recompile_limit, 8 * MAX_LENGTHS)
        stack.enter_context(dynamo.patch(recompile_limit=limit))
        budget = MEMORY_BUDGET if cheap_again else 1.0
        stack.enter_context(functorch.patch(activation_memory_budget=budget))
        yield
