"""What training asks of a language model, whoever computes it."""

from collections.abc import Callable, Mapping
from typing import Protocol, TypeVar

from torch import Tensor

from wideseek_rl.models.layout import SequenceLayout

Result = TypeVar("Result")


class CausalModel(Protocol):
    """Hidden states, then logits where they are wanted."""

    @property
    def shares_prefixes(self) -> bool:
        """Whether a layout may hold trees, or else only samples side by side."""
        ...

    @property
    def packs(self) -> bool:
        """Whether samples of one sequence see nothing of each other."""
        ...

    @property
    def plain_head(self) -> bool:
        """Whether logits are the product of hidden states and `output_weight`, and no more."""
        ...

    def hidden(self, ids: Tensor, lengths: Tensor, layout: SequenceLayout | None = None) -> Tensor:
        """Last hidden states of right-padded ids, `[B, T] -> [B, T, D]`."""
        ...

    def logits(self, hidden: Tensor) -> Tensor:
        """Unnormalized log-probabilities of the next token, `[N, D] -> [N, V]`."""
        ...

    def published(self, name: str, tensor: Tensor) -> Mapping[str, Tensor]:
        """What a checkpoint holds of a parameter: tensors by their names there."""
        ...

    def __call__(
        self,
        ids: Tensor,
        lengths: Tensor,
        layout: SequenceLayout | None,
        head: Callable[[Tensor, Tensor], Result],
    ) -> Result:
        """`head(hidden states, output matrix)`, while the weights of a sharded model are there."""
        ...
