"""One pass of AdamW over a tensor on a GPU: everything is read and written once.

Kept apart since importing Triton takes time, and machines without a GPU may lack it.
"""

# Triton has no types, and refuses annotations of kernels that are none of its own.
# pyright: reportMissingTypeStubs=false, reportInvalidTypeForm=false
# pyright: reportUnknownParameterType=false, reportUnknownVariableType=false
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportMissingImports=false, reportUntypedFunctionDecorator=false

from typing import Any

import torch
import triton
from torch import Tensor

tl: Any = triton.language
BLOCK = 2048
"""Elements of one program of the kernel."""


def advance(
    master: Tensor,
    gradient: Tensor,
    mean: Tensor,
    square: Tensor,
    weight: Tensor | None,
    numbers: tuple[float, ...],
) -> None:
    """Moves a float32 master and its moments by one step, and rounds it to `weight`.

    All tensors are contiguous and of one shape; the gradient and the weight may be of lower
    precision. `numbers` are those of `wideseek_rl.trainers.adamw.Numbers`, in their order.
    """
    count = master.numel()
    grid = (triton.cdiv(count, BLOCK),)
    launch: Any = _advance
    target = master if weight is None else weight
    given = master, gradient, mean, square, target
    with torch.cuda.device_of(master):  # Triton launches on the current GPU, wherever tensors are
        launch[grid](*given, *numbers, count, weight is not None, BLOCK)


@triton.jit
def _advance(
    master: tl.tensor,
    gradient: tl.tensor,
    mean: tl.tensor,
    square: tl.tensor,
    weight: tl.tensor,
    factor: tl.tensor,
    mean_kept: tl.tensor,
    mean_new: tl.tensor,
    square_kept: tl.tensor,
    square_new: tl.tensor,
    root: tl.tensor,
    eps: tl.tensor,
    rate: tl.tensor,
    decayed: tl.tensor,
    count: tl.tensor,
    publish: tl.constexpr,
    block: tl.constexpr,
) -> None:
    at = tl.program_id(0).to(tl.int64) * block + tl.arange(0, block)
    inside = at < count
    g = tl.load(gradient + at, mask=inside, other=0.0).to(tl.float32) * factor
    m = tl.load(mean + at, mask=inside, other=0.0) * mean_kept + g * mean_new
    v = tl.load(square + at, mask=inside, other=0.0) * square_kept + g * g * square_new
    w = tl.load(master + at, mask=inside, other=0.0)
    w = w - decayed * w - rate * m / (tl.sqrt(v) * root + eps)
    tl.store(mean + at, m, mask=inside)
    tl.store(square + at, v, mask=inside)
    tl.store(master + at, w, mask=inside)
    if publish:
        tl.store(weight + at, w.to(weight.dtype.element_ty), mask=inside)
