"""AdamW in one pass over memory against torch's."""

import importlib.util
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from wideseek_rl import OptimizerConfig
from wideseek_rl.models.decoder import Decoder
from wideseek_rl.testing import tiny_model
from wideseek_rl.trainers.adamw import advance_plainly, gradient_norm, numbers
from wideseek_rl.trainers.masters import MasterAdamW
from wideseek_rl.trainers.optimizer_state import Counts, load_optimizer, save_optimizer

CONFIG = OptimizerConfig(lr=1e-2, eps=1e-8, weight_decay=0.1, grad_clip=1.0)
DTYPES = [torch.float32, torch.bfloat16, torch.float16]


def gradients(model: nn.Module, seed: int, size: float, passes: int = 1) -> None:
    """Random gradients, in the precision of the weights."""
    generator = torch.Generator().manual_seed(seed)
    for weight in model.parameters():
        made = torch.randn(weight.shape, generator=generator) * size
        weight.grad = made.to(weight.dtype) / passes


def pair(dtype: torch.dtype) -> tuple[tuple[Decoder, MasterAdamW], tuple[Decoder, MasterAdamW]]:
    """The same model twice: with torch's optimizer, and with steps in one pass."""
    models = tiny_model().to(dtype), tiny_model().to(dtype)
    first, second = MasterAdamW(models[0], CONFIG), MasterAdamW(models[1], CONFIG, advance_plainly)
    return (models[0], first), (models[1], second)


def masters(optimizer: MasterAdamW) -> Tensor:
    return torch.cat([master.detach().flatten() for _, master, _ in optimizer.named_masters()])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [1e-4, 1.0])
def test_one_pass_steps_as_torch_does(dtype: torch.dtype, size: float) -> None:
    (first, wanted), (second, found) = pair(dtype)
    for number in range(4):
        scale = 2.0**number
        for model in (first, second):
            gradients(model, number, size * scale)
        steps = wanted.step(1e-2 / (number + 1), scale), found.step(1e-2 / (number + 1), scale)
        assert steps[1].norm == pytest.approx(steps[0].norm, rel=1e-5)
        assert steps[1].changed == pytest.approx(steps[0].changed, abs=0.01)
        assert torch.allclose(masters(found), masters(wanted), rtol=1e-5, atol=1e-6)
        wanted.zero_grad()
        found.zero_grad()
    for weight, (_, master, copied) in zip(second.parameters(), found.named_masters(), strict=True):
        assert copied == (dtype != torch.float32)
        assert torch.equal(weight, master.to(dtype))


def test_one_pass_takes_gradients_of_several_passes_from_the_masters() -> None:
    (first, wanted), (second, found) = pair(torch.bfloat16)
    for model, optimizer in ((first, wanted), (second, found)):
        for number in range(3):
            gradients(model, number, 0.1, passes=3)
            optimizer.accumulate()
    assert found.step(1e-2).norm == pytest.approx(wanted.step(1e-2).norm, rel=1e-5)
    assert torch.allclose(masters(found), masters(wanted), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("ahead", [False, True])
def test_one_pass_takes_what_the_last_of_several_passes_left_too(ahead: bool) -> None:
    (first, wanted), (second, found) = pair(torch.bfloat16)
    for model, optimizer in ((first, wanted), (second, found)):
        gradients(model, 0, 0.1)
        if ahead:
            optimizer.measure()
        optimizer.accumulate()
        gradients(model, 1, 0.1)
    assert found.step(1e-2).norm == pytest.approx(wanted.step(1e-2).norm, rel=1e-5)
    assert torch.allclose(masters(found), masters(wanted), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_one_pass_changes_nothing_for_a_gradient_that_is_not_finite(value: float) -> None:
    model = tiny_model().bfloat16()
    optimizer = MasterAdamW(model, CONFIG, advance_plainly)
    gradients(model, 0, 1.0)
    first = next(model.parameters())
    assert first.grad is not None
    first.grad[0, 0] = value
    before = masters(optimizer)
    assert not math.isfinite(optimizer.step(1e-2).norm)
    assert torch.equal(masters(optimizer), before)


def test_measuring_ahead_changes_no_step() -> None:
    (first, wanted), (second, found) = pair(torch.bfloat16)
    for number in range(3):
        gradients(first, number, 1.0)
        gradients(second, number, 1.0)
        found.measure()
        steps = wanted.step(1e-2), found.step(1e-2)
        assert steps[1].norm == pytest.approx(steps[0].norm, rel=1e-5)
        assert steps[1].changed == pytest.approx(steps[0].changed, abs=0.01) != 0
        wanted.zero_grad()
        found.zero_grad()
    gradients(second, 9, 100.0)
    found.measure()
    found.zero_grad()  # what was measured is of gradients that are gone
    gradients(first, 3, 1.0)
    gradients(second, 3, 1.0)
    assert found.step(1e-2).norm == pytest.approx(wanted.step(1e-2).norm, rel=1e-5)
    assert torch.allclose(masters(found), masters(wanted), rtol=1e-5, atol=1e-6)


def test_each_step_measures_its_own_gradients() -> None:
    model = tiny_model().bfloat16()
    optimizer = MasterAdamW(model, CONFIG, advance_plainly)
    gradients(model, 0, 1.0)
    first = optimizer.step(1e-2).norm
    for weight in model.parameters():
        assert weight.grad is not None
        weight.grad *= 4
    assert optimizer.step(1e-2).norm == pytest.approx(4 * first, rel=1e-3)


def test_weights_without_gradient_stay_and_count_no_steps() -> None:
    (first, wanted), (second, found) = pair(torch.bfloat16)
    for number in range(3):
        for model, optimizer in ((first, wanted), (second, found)):
            gradients(model, number, 1.0)
            if number == 1:
                next(model.parameters()).grad = None
            optimizer.step(1e-2)
            optimizer.zero_grad()
    assert torch.allclose(masters(found), masters(wanted), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("saved", [0, 1])
def test_either_way_continues_what_the_other_saved(tmp_path: Path, saved: int) -> None:
    """Steps are counted on the host in one way, and on the device of the weights in the other."""
    ways = pair(torch.bfloat16)
    for model, optimizer in ways:
        for number in range(2):
            gradients(model, number, 1.0)
            optimizer.step(1e-2)
            optimizer.zero_grad()
    save_optimizer(ways[saved][1], tmp_path / "optimizer", Counts(updates=2))
    load_optimizer(ways[1 - saved][1], tmp_path / "optimizer")
    for model, optimizer in ways:
        gradients(model, 2, 1.0)
        optimizer.step(1e-2)
    assert torch.allclose(masters(ways[0][1]), masters(ways[1][1]), rtol=1e-5, atol=1e-6)


def test_the_norm_of_bfloat16_gradients_is_not_rounded() -> None:
    found = [torch.full((300,), 1.0, dtype=torch.bfloat16), torch.ones(1, dtype=torch.bfloat16)]
    assert float(gradient_norm(found)) == pytest.approx(math.sqrt(301), rel=1e-6)
    assert float(gradient_norm([])) == 0


KERNEL = """
import torch
from wideseek_rl import OptimizerConfig
from wideseek_rl.trainers.adamw import advance_plainly, numbers
from wideseek_rl.trainers.adamw_kernel import advance
config = OptimizerConfig(lr=1e-2, eps=1e-8, weight_decay=0.1)
torch.manual_seed(0)
for dtype, atol in ((torch.float32, 0.0), (torch.bfloat16, 2e-2)):
    start, gradient = torch.randn(2500), torch.randn(2500).to(dtype)
    weights = [None if dtype == torch.float32 else start.to(dtype) for _ in range(2)]
    moments = torch.randn(2500), torch.rand(2500)
    states = [[tensor.clone() for tensor in (start, *moments)] for _ in range(2)]
    by = numbers(config, lr=1e-2, step=3, factor=0.5, decay=0.1)
    for state, weight, way in zip(states, weights, (advance, advance_plainly)):
        way(state[0], gradient, state[1], state[2], weight, by)
    for found, wanted in zip(*states):
        assert torch.allclose(found, wanted, rtol=1e-5, atol=1e-6), (found - wanted).abs().max()
    if weights[0] is not None:
        assert torch.allclose(weights[0].float(), weights[1].float(), rtol=1e-2, atol=atol)
"""


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is for Linux alone")
def test_the_kernel_computes_what_plain_torch_does() -> None:
    """In Triton's interpreter, which cuts bfloat16 numbers off in place of rounding them."""
    environment = {**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", KERNEL], env=environment, check=True)


def test_numbers_undo_the_start_of_the_moments_at_zero() -> None:
    by = numbers(CONFIG, lr=0.5, step=1, factor=1.0, decay=0.1)
    assert by.rate * by.mean_new == pytest.approx(0.5)
    assert by.root * math.sqrt(by.square_new) == pytest.approx(1.0)
    assert by.decayed == pytest.approx(0.05)
