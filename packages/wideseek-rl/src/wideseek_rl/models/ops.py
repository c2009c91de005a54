"""Matrix products, attention and probabilities by the fastest way the device has.

On CPUs float32 products go to oneDNN, which is up to twice as fast as the BLAS behind
`torch.nn.functional.linear` (that one picks slow kernels on CPUs of other makers than its own). The
results are those of float32 arithmetic either way.
"""

from typing import TYPE_CHECKING, Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from wideseek_rl.models.documents import Documents, documents_attention

if TYPE_CHECKING:
    from torch.nn.attention.flex_attention import BlockMask

GPU_KERNELS = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]
"""Without cuDNN's, which prepares itself anew, slowly, for every length of a sequence."""

MIN_LOGPROB = -80.0
"""In nats. What is less likely is never drawn and adds nothing to an entropy; a little further
down, float32 probabilities are denormal, and CPUs compute those ten times slower."""

TYPICAL_ROWS = 64
"""What matrices are packed for; other numbers of rows work as well."""


class PackedLinear:
    """An `[out, in]` matrix and perhaps a bias that never change, packed for products."""

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        self.weight = weight.contiguous()
        self._bias = None if bias is None else bias.to(weight.dtype, copy=True)
        self._packed: Tensor | None = None
        if weight.device.type == "cpu" and torch.backends.mkldnn.is_available():
            pack: Any = torch.ops.mkldnn._reorder_linear_weight
            self._packed = pack(self.weight, TYPICAL_ROWS)

    def __call__(self, x: Tensor) -> Tensor:
        """`[n, in] -> [n, out]`, in the matrix's dtype."""
        x = x.to(self.weight.dtype)
        if self._packed is None:
            return F.linear(x, self.weight, self._bias)
        product = _onednn(x, self._packed)
        return product if self._bias is None else product.add_(self._bias)


def linear(x: Tensor, weight: Tensor) -> Tensor:
    """`[..., in] -> [..., out]` for a weight `[out, in]`; differentiable."""
    plain = (
        x.device.type != "cpu"
        or x.dtype != torch.float32
        or weight.dtype != torch.float32
        or torch.is_autocast_enabled("cpu")
        or not torch.backends.mkldnn.is_available()
        or torch.compiler.is_compiling()
    )
    if plain or x.numel() == 0:
        return F.linear(x, weight)
    product = cast(Tensor, cast(Any, _Product).apply(x.reshape(-1, x.shape[-1]), weight))
    return product.view(*x.shape[:-1], weight.shape[0])


def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: "Tensor | BlockMask | Documents | None" = None,
    scale: float | None = None,
) -> Tensor:
    """Softmax attention, causal if there is no mask.

    Args:
        q: `[B, H, T, d]`
        k: `[B, Hkv, S, d]`; each head is shared by `H / Hkv` queries.
        v: like `k`.
        mask: `[T, S]`, true where a query may attend, or the blocks of flex attention, or the
            documents of one packed sequence.
        scale: of the scores; `d ** -0.5` if None.

    Returns:
        `[B, H, T, d]`.
    """
    causal = mask is None
    if isinstance(mask, Documents):
        return documents_attention(q, k, v, mask, scale)
    if mask is not None and not isinstance(mask, Tensor):
        from wideseek_rl.models.flex import flex

        return flex(q, k, v, mask, scale)
    if q.device.type == "cpu":
        return F.scaled_dot_product_attention(
            q, k, v, mask, is_causal=causal, scale=scale, enable_gqa=True
        )
    # Few GPU kernels know shared heads together with masks or float32.
    group = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(group, dim=1), v.repeat_interleave(group, dim=1)
    with sdpa_kernel(GPU_KERNELS):
        return F.scaled_dot_product_attention(q, k, v, mask, is_causal=causal, scale=scale)


class Linear(nn.Linear):
    """A layer that multiplies by `linear`; its bias, if any, starts at 0."""

    def __init__(self, inputs: int, outputs: int, *, bias: bool = False) -> None:
        super().__init__(inputs, outputs, bias=bias)  # pyright: ignore[reportUnknownMemberType]
        if bias:
            nn.init.zeros_(self.bias)

    def forward(self, input: Tensor) -> Tensor:
        """`[..., in] -> [..., out]`."""
        product = linear(input, self.weight)
        # A layer without bias has None there, whatever the type of the attribute says.
        bias = cast("Tensor | None", self.bias)
        return product if bias is None else product + bias.to(product.dtype)


class _Product(torch.autograd.Function):
    """`x @ weight.T` with both gradients as products of the same kind."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx.save_for_backward(x, weight)
        return _onednn(x, weight)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        x, weight = cast(tuple[Tensor, Tensor], ctx.saved_tensors)
        of_x = of_weight = None
        if ctx.needs_input_grad[0]:
            of_x = _onednn(gradient, weight.t())
        if ctx.needs_input_grad[1]:
            of_weight = _onednn(gradient.t(), x.t())
        return of_x, of_weight


def _onednn(x: Tensor, weight: Tensor) -> Tensor:
    multiply: Any = torch.ops.mkldnn._linear_pointwise
    return cast(Tensor, multiply(x, weight, None, "none", [], ""))
