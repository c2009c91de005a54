"""What compiled layers keep, and that their settings hold in every thread."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from wideseek_rl.models.compiling import MAX_LENGTHS, compiling
from wideseek_rl.models.config import DecoderConfig
from wideseek_rl.models.decoder import Decoder
from wideseek_rl.models.rope import rotation

dynamo: Any = torch._dynamo  # pyright: ignore[reportPrivateUsage]
CONFIG = DecoderConfig(
    vocab_size=17, hidden_size=16, layers=1, heads=2, kv_heads=1, head_dim=8, ffn_size=48
)


def kept(model: Decoder, settings: Any) -> tuple[int, list[Tensor]]:
    """Bytes that a compiled layer keeps for its backward pass, and the gradients."""
    dynamo.reset()
    layer: Any = model.model.layers[0]
    compiled: Any = cast(Any, torch).compile(
        layer, backend="aot_eager_decomp_partition", dynamic=False
    )
    x = torch.randn(1, 64, 16, generator=torch.Generator().manual_seed(0))
    x = x.bfloat16().requires_grad_()
    turned = rotation(CONFIG, torch.arange(64))
    sizes: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    with settings, torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        states = compiled(x, turned.cos, turned.sin, None)
    gradients = torch.autograd.grad(states.square().sum(), [x, *layer.parameters()])
    return sum(sizes.values()), list(gradients)


@pytest.mark.filterwarnings("ignore")  # those of the compiler
def test_cheap_results_are_computed_again() -> None:
    model = Decoder(CONFIG).bfloat16()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    everything, wanted = kept(model, compiling(cheap_again=False))
    less, found = kept(model, compiling(cheap_again=True))
    # The product of the gate, three times as large as the states, and two normalized states.
    assert everything - less >= 5 * 64 * 16 * 2
    torch.testing.assert_close(found, wanted, atol=0.05, rtol=0.05)


def test_settings_hold_in_the_thread_that_runs_and_end_with_it() -> None:
    def inside() -> tuple[int, int]:
        with compiling(cheap_again=True):
            within = dynamo.config.recompile_limit
        return within, dynamo.config.recompile_limit

    before = dynamo.config.recompile_limit
    with ThreadPoolExecutor(1) as pool:
        within, after = pool.submit(inside).result()
    assert within >= 8 * MAX_LENGTHS > before
    assert after == before


def test_a_larger_limit_of_the_user_stays() -> None:
    with dynamo.config.patch(recompile_limit=1000), compiling(cheap_again=True):
        assert dynamo.config.recompile_limit == 1000


@pytest.fixture(autouse=True)
def fresh() -> None:
    dynamo.reset()
