"""Which tokens of a packed sequence see each other: several samples, or prefix trees of them.

Trees are laid out depth first, each node's tokens before its children's. Then the tokens that may
attend to token j, itself and its descendants, are one span `[j, ends[j])`, and so token i attends
to token j exactly if `j <= i < ends[j]`. Samples side by side are the case in which all tokens of
a sample end where the sample does. One integer a token describes every layout.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from wideseek_rl.models.documents import Documents

if TYPE_CHECKING:
    from torch.nn.attention.flex_attention import BlockMask


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SequenceLayout:
    """How the tokens of a batch see each other.

    Masks are made when they are first asked for, once for each window, and live as long as this.
    """

    positions: Tensor
    """`[B, T]`, of each token in its own sample."""
    ends: Tensor
    """`[B, T]`, one past the last place whose token may attend to this one."""
    kernel: Literal["mask", "flex"] = "mask"
    """`mask` is a dense mask for any device, `flex` skips the blocks in which nothing attends."""
    documents: Documents | None = None
    """Where the one sequence is documents side by side that are to be attended to one by one."""
    _patterns: "dict[int | None, Tensor | BlockMask]" = field(
        default_factory=lambda: {}, init=False, repr=False
    )

    def pattern(self, window: int | None = None) -> "Tensor | BlockMask | Documents":
        """What attention takes, of layers that look back at most `window` tokens if it is set."""
        if self.documents is not None and window is None:
            return self.documents
        found = self._patterns.get(window)
        if found is None:
            if self.kernel == "flex":
                from wideseek_rl.models.flex import block_mask

                found = block_mask(self.ends, self.positions, window)
            else:
                found = dense_mask(self.ends, self.positions, window)
            self._patterns[window] = found
        return found


def causal_layout(ids: Tensor) -> SequenceLayout:
    """The layout of right-padded rows `[B, T]`: plainly causal."""
    rows, width = ids.shape
    positions = torch.arange(width, device=ids.device).expand(rows, width)
    return SequenceLayout(positions=positions, ends=torch.full_like(positions, width))


def dense_mask(ends: Tensor, positions: Tensor, window: int | None) -> Tensor:
    """True where a token (second to last dimension) attends to another: `[B, 1, T, T]`."""
    places = torch.arange(ends.shape[1], device=ends.device)
    mask = (places[:, None] >= places) & (places[:, None] < ends[:, None, :])
    if window is not None:
        mask &= positions[:, :, None] - positions[:, None, :] < window
    return mask[:, None]
