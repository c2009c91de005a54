"""Products with a fixed matrix, by the fastest way the device has.

On CPUs a matrix is packed once for oneDNN, which multiplies up to twice as fast as the BLAS behind
`torch.nn.functional.linear` (that one picks slow kernels on CPUs of other makers than its own).
"""

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

TYPICAL_ROWS = 64
"""What matrices are packed for; other numbers of rows work as well."""


class Matrix:
    """An `[out, in]` matrix that never changes."""

    def __init__(self, weight: Tensor) -> None:
        self.weight = weight
        self._packed = _pack(weight)

    def __call__(self, x: Tensor) -> Tensor:
        """`[n, in] -> [n, out]`."""
        x = x.to(self.weight.dtype)
        if self._packed is None:
            return F.linear(x, self.weight)
        multiply: Any = torch.ops.mkldnn._linear_pointwise
        return cast(Tensor, multiply(x, self._packed, None, "none", [], ""))


def _pack(weight: Tensor) -> Tensor | None:
    if weight.device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return None
    pack: Any = torch.ops.mkldnn._reorder_linear_weight
    return cast(Tensor, pack(weight.contiguous(), TYPICAL_ROWS))
