"""Causal attention of packed documents, one after the other, by the kernel for plain sequences.

On Hopper GPUs cuDNN's kernel takes two thirds of the time of flex attention, but it prepares itself
for every length of a sequence. So each document is run at its length rounded up: what it reads
beyond its end are tokens of other documents, which none of its own may see, since they come later.
Their results are dropped, and their gradients are 0. Nothing is padded but a document that would
end after the sequence.

Kept as one operator so that compiled layers hold it in their graphs.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol, cast

import torch
from torch import Tensor

STEP = 128
"""Documents are run at a multiple of it. A kernel for a length takes about 0.15 s to prepare, once;
a larger step would make fewer of them and more work."""

MAX_HEAD = 128
"""Largest heads of cuDNN's kernel."""

FAR = 1e30
"""Log of a sum of exponentials beside which no score counts."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Documents:
    """The documents of one packed sequence."""

    bounds: Tensor
    """`[n, 2]` in the memory of the host, in order: first token of a document, and one past its
    last; 0, 0 in rows after the last document."""


class Kernel(Protocol):
    """Plain causal attention of one sequence."""

    def forward(self, q: Tensor, k: Tensor, v: Tensor, scale: float) -> tuple[Tensor, Tensor]:
        """`[1, H, T, d]`, and the log of the sum of exponentials, `[1, H, T]`."""
        ...

    def backward(
        self, of_out: Tensor, saved: tuple[Tensor, ...], scale: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Gradients of queries, keys and values; saved are these, the result and the logs."""
        ...


def documents_attention(
    q: Tensor, k: Tensor, v: Tensor, documents: Documents, scale: float | None = None
) -> Tensor:
    """Attention of `[1, H, T, d]` queries over `[1, Hkv, T, d]` keys and values.

    In the precision of the values, since autocast leaves normalized queries and keys in float32.
    """
    q, k = q.to(v.dtype), k.to(v.dtype)
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    return cast(Tensor, cast(Any, _attention)(q, k, v, documents.bounds, scale)[0])


class CudnnKernel:
    """That of cuDNN, for half precision."""

    def forward(self, q: Tensor, k: Tensor, v: Tensor, scale: float) -> tuple[Tensor, Tensor]:
        """As `Kernel` says."""
        attend: Any = torch.ops.aten._scaled_dot_product_cudnn_attention
        found = attend(q, k, v, None, True, 0.0, True, False, scale=scale)
        return found[0], found[1].reshape(q.shape[:3])

    def backward(
        self, of_out: Tensor, saved: tuple[Tensor, ...], scale: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """As `Kernel` says."""
        q, k, v, out, logs = saved
        unused = torch.zeros((), dtype=torch.long, device=q.device)
        back: Any = torch.ops.aten._scaled_dot_product_cudnn_attention_backward
        length = q.shape[2]
        return back(
            of_out, q, k, v, out, logs.unsqueeze(-1), unused, unused, None, None, None,
            length, length, 0.0, True, scale=scale,
        )  # fmt: skip


class PlainKernel:
    """Of plain torch, for any device and precision."""

    def forward(self, q: Tensor, k: Tensor, v: Tensor, scale: float) -> tuple[Tensor, Tensor]:
        """As `Kernel` says."""
        scores = self._scores(q, k, scale)
        logs = scores.logsumexp(-1)
        shares = (scores - logs[..., None]).exp()
        return (shares @ self._all(v, q)).to(q.dtype), logs

    def backward(
        self, of_out: Tensor, saved: tuple[Tensor, ...], scale: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """As `Kernel` says."""
        q, k, v, out, logs = saved
        shares = (self._scores(q, k, scale) - logs[..., None]).exp()
        of_out = of_out.to(shares.dtype)
        of_shares = of_out @ self._all(v, q).mT
        means = (of_out * out).sum(-1, keepdim=True)
        of_scores = shares * (of_shares - means) * scale
        of_k = self._shared(of_scores.mT @ q.to(shares.dtype), k)
        of_v = self._shared(shares.mT @ of_out, v)
        return (of_scores @ self._all(k, q)).to(q.dtype), of_k, of_v

    def _scores(self, q: Tensor, k: Tensor, scale: float) -> Tensor:
        scores = self._wide(q) @ self._all(k, q).mT * scale
        later = torch.ones(scores.shape[-2:], dtype=torch.bool, device=q.device).triu(1)
        return scores.masked_fill(later, float("-inf"))

    def _all(self, k: Tensor, q: Tensor) -> Tensor:
        return self._wide(k).repeat_interleave(q.shape[1] // k.shape[1], dim=1)

    def _shared(self, gradient: Tensor, k: Tensor) -> Tensor:
        return cast(Any, gradient.unflatten(1, (k.shape[1], -1))).sum(2).to(k.dtype)

    def _wide(self, x: Tensor) -> Tensor:
        return x if x.dtype == torch.float64 else x.float()


def kernel_for(q: Tensor) -> Kernel:
    """The fastest one."""
    cudnn = q.device.type == "cuda" and one_by_one_pays("cuda", q.dtype, q.shape[-1])
    return CudnnKernel() if cudnn else PlainKernel()


def one_by_one_pays(device: str, dtype: torch.dtype, head_dim: int) -> bool:
    """Whether a kind of device has a kernel that needs no memory for all pairs of tokens.

    On a CPU masks need that memory as well.
    """
    if device == "cpu":
        return True
    half = dtype in (torch.bfloat16, torch.float16)
    return device == "cuda" and half and head_dim <= MAX_HEAD and head_dim % 8 == 0


@torch.library.custom_op("wideseek::documents_attention", mutates_args=())
def _attention(
    q: Tensor, k: Tensor, v: Tensor, bounds: Tensor, scale: float
) -> tuple[Tensor, Tensor]:
    kernel = kernel_for(q)
    out = _new(q, bounds)
    logs = torch.full(q.shape[:3], FAR, dtype=torch.float32, device=q.device)
    for first, last, reach in _spans(bounds):
        parts = [_part(x, first, reach) for x in (q, k, v)]
        found, sums = kernel.forward(parts[0], parts[1], parts[2], scale)
        length = last - first
        out[:, :, first:last] = found[:, :, :length]
        logs[:, :, first:last] = sums[:, :, :length]
    return out, logs


@cast(Any, _attention).register_fake
def _(q: Tensor, k: Tensor, v: Tensor, bounds: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    return torch.empty_like(q), q.new_empty(q.shape[:3], dtype=torch.float32)


@torch.library.custom_op("wideseek::documents_attention_backward", mutates_args=())
def _backward(
    of_out: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    out: Tensor,
    logs: Tensor,
    bounds: Tensor,
    scale: float,
) -> tuple[Tensor, Tensor, Tensor]:
    kernel = kernel_for(q)
    results = _new(q, bounds), _new(k, bounds), _new(v, bounds)
    for first, last, reach in _spans(bounds):
        length = last - first
        saved = [_part(x, first, reach) for x in (q, k, v, out)]
        sums = logs.new_full((1, q.shape[1], reach), FAR)
        sums[:, :, :length] = logs[:, :, first:last]
        found = kernel.backward(_rows(of_out, first, last, reach), (*saved, sums), scale)
        for result, values in zip(results, found, strict=True):
            result[:, :, first:last] = values[:, :, :length]
    return results


@cast(Any, _backward).register_fake
def _(
    of_out: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    out: Tensor,
    logs: Tensor,
    bounds: Tensor,
    scale: float,
) -> tuple[Tensor, Tensor, Tensor]:
    return torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    q, k, v, bounds, ctx.scale = inputs
    ctx.save_for_backward(q, k, v, *output, bounds)


def _gradients(ctx: Any, of_out: Tensor, of_logs: Tensor) -> tuple[Tensor | None, ...]:
    *saved, bounds = ctx.saved_tensors
    return (*cast(Any, _backward)(of_out, *saved, bounds, ctx.scale), None, None)


cast(Any, _attention).register_autograd(_gradients, setup_context=_save)


def _spans(bounds: Tensor) -> Iterator[tuple[int, int, int]]:
    """First token of each document, one past its last, and the length that it is run at."""
    for first, last in cast(list[tuple[int, int]], cast(Any, bounds).tolist()):
        if last > first:
            yield first, last, -(-(last - first) // STEP) * STEP


def _new(like: Tensor, bounds: Tensor) -> Tensor:
    """A tensor that is 0 where there is no document, and is to be set elsewhere."""
    made, end = torch.empty_like(like), 0
    for first, last, _ in _spans(bounds):
        made[:, :, end:first] = 0
        end = last
    made[:, :, end:] = 0
    return made


def _part(x: Tensor, first: int, reach: int) -> Tensor:
    """Tokens from `first` on, with strides that do not depend on the length of the sequence."""
    heads, size = x.shape[1], x.shape[3]
    if first + reach > x.shape[2]:
        return _rows(x, first, x.shape[2], reach)
    part = x[:, :, first : first + reach]
    if part.stride()[1:] != (size, heads * size, 1):
        return _rows(x, first, first + reach, reach)
    strides = (reach * heads * size, size, heads * size, 1)
    return part.as_strided((1, heads, reach, size), strides)


def _rows(x: Tensor, first: int, last: int, reach: int) -> Tensor:
    """A copy of some tokens with zeros after them, heads beside each other in memory."""
    made = x.new_empty(1, reach, x.shape[1], x.shape[3])
    made[:, : last - first] = x.transpose(1, 2)[:, first:last]
    made[:, last - first :] = 0
    return made.transpose(1, 2)
