import logging
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file  # pyright: ignore[reportUnknownVariableType]
from torch import nn

from wideseek_core import CheckpointError, TrainError
from wideseek_rl import OptimizerConfig, TorchTrainerConfig, TrainingSample
from wideseek_rl.batch.samples import TrainedTurn, build_samples
from wideseek_rl.models.decoder import Decoder
from wideseek_rl.testing import known, make_turn, tiny_model
from wideseek_rl.trainers.loss_scale import LossScale
from wideseek_rl.trainers.masters import MasterAdamW
from wideseek_rl.trainers.optimizer_state import Counts, load_optimizer, save_optimizer
from wideseek_rl.trainers.torch import TorchTrainer

SMALL = OptimizerConfig(lr=1e-6, eps=1e-8)


def samples(count: int = 4) -> list[TrainingSample]:
    return [
        sample
        for n in range(count)
        for sample in build_samples(
            [
                TrainedTurn(
                    turn=make_turn([1, n + 3, 4], [n + 5, 6, 2], logprob=-2.83),
                    weight=0.1,
                    advantage=(-1.0) ** n,
                )
            ],
            group=n,
        )
    ]


def half_model(dtype: torch.dtype) -> Decoder:
    return tiny_model().to(dtype)


class Poisoned(Decoder):
    """Gives no numbers at a certain token, and right ones elsewhere."""

    def hidden(self, ids: torch.Tensor, *arguments: object) -> torch.Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        states = super().hidden(ids, *arguments)  # pyright: ignore[reportArgumentType]
        return torch.where((ids == 16)[..., None], torch.nan, states)


def branch(shared: int, tail: int) -> TrainingSample:
    """A sample that begins with 64 tokens; those with the same ones make a tree of branches."""
    turn = make_turn([*[shared] * 64, tail], [tail] * 4, logprob=-2.83)
    (sample,) = build_samples([TrainedTurn(turn=turn, weight=0.1, advantage=1.0)])
    return sample


def flat(model: nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().float().flatten() for p in model.parameters()])


def test_small_updates_of_bfloat16_weights_add_up() -> None:
    # At a learning rate of 1e-6 no single update reaches the next bfloat16 number.
    exact, rough = tiny_model(), half_model(torch.bfloat16)
    exact.load_state_dict({name: value.float() for name, value in rough.state_dict().items()})
    config = TorchTrainerConfig(optimizer=SMALL)
    trainers = TorchTrainer(exact, config), TorchTrainer(rough, config)
    start = flat(exact)
    for _ in range(40):
        assert all(known(trainer.update(samples()).changed) > 0.98 for trainer in trainers)
    moved = flat(exact) - start
    masters = torch.cat(
        [master.detach().flatten() for _, master, _ in trainers[1]._optimizer.named_masters()]  # pyright: ignore[reportPrivateUsage]
    )
    error = (masters - start) - moved
    assert float(error.square().sum()) < 0.01 * float(moved.square().sum())
    assert torch.equal(masters.bfloat16().float(), flat(rough))


def test_an_update_that_rounds_away_says_so(caplog: pytest.LogCaptureFixture) -> None:
    config = TorchTrainerConfig(optimizer=OptimizerConfig(lr=1e-12, eps=1e-8, weight_decay=0))
    with caplog.at_level(logging.WARNING):
        metrics = TorchTrainer(tiny_model(), config).update(samples())
    assert known(metrics.changed) < 0.2
    assert "of the weights that have a gradient" in caplog.text
    assert TorchTrainer(tiny_model(), TorchTrainerConfig(optimizer=SMALL)).update(
        samples()
    ).changed == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_masters_survive_saving_and_loading(tmp_path: Path, dtype: torch.dtype) -> None:
    config = TorchTrainerConfig(optimizer=SMALL)
    first = TorchTrainer(half_model(dtype), config)
    first.update(samples())
    first.save(tmp_path)
    second = TorchTrainer(half_model(dtype), config)
    second.load(tmp_path)
    for _ in range(10):
        assert first.update(samples()).loss == second.update(samples()).loss
    pairs = zip(first.model.parameters(), second.model.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert all(p.dtype == dtype for p in second.model.parameters())


def test_a_float32_checkpoint_resumes_in_bfloat16(tmp_path: Path) -> None:
    config = TorchTrainerConfig(optimizer=SMALL)
    first = TorchTrainer(tiny_model(), config)
    first.update(samples())
    first.save(tmp_path)
    second = TorchTrainer(half_model(torch.bfloat16), config)
    second.load(tmp_path)
    assert torch.equal(flat(second.model), flat(first.model).bfloat16().float())


def test_masters_of_another_model_are_refused(tmp_path: Path) -> None:
    config = TorchTrainerConfig(optimizer=SMALL)
    TorchTrainer(half_model(torch.bfloat16), config).save(tmp_path)
    other = TorchTrainer(tiny_model(vocabulary=19).bfloat16(), config)
    other.save(tmp_path / "other")
    (tmp_path / "other/optimizer.safetensors").write_bytes(
        (tmp_path / "optimizer.safetensors").read_bytes()
    )
    with pytest.raises(CheckpointError, match="does not fit"):
        other.load(tmp_path / "other")


@pytest.mark.parametrize("batch", [1000, 6])
def test_half_precision_gradients_are_summed_in_float32(batch: int) -> None:
    exact = tiny_model()
    rough = half_model(torch.bfloat16)
    exact.load_state_dict({name: value.float() for name, value in rough.state_dict().items()})
    config = TorchTrainerConfig(optimizer=SMALL, max_batch_tokens=batch, share_prefixes=False)
    norms = [TorchTrainer(model, config).update(samples(12)).grad_norm for model in (exact, rough)]
    assert norms[1] == pytest.approx(norms[0], rel=0.02)


def test_what_a_broken_sample_leaves_is_summed_in_float32(tmp_path: Path) -> None:
    """Two trees of a micro-batch: without one sample they have no masks in common any more."""

    def moments(samples: list[TrainingSample], name: str) -> dict[str, torch.Tensor]:
        """Of a first update, which are its gradient times a number."""
        model = Poisoned(tiny_model().config)
        model.load_state_dict(tiny_model().state_dict())
        optimizer = OptimizerConfig(lr=1e-6, eps=1e-8, grad_clip=1e9)
        config = TorchTrainerConfig(optimizer=optimizer, recompute_logprobs=True)  # nothing clipped
        trainer = TorchTrainer(model.bfloat16(), config)
        metrics = trainer.update(samples)
        broken = len(samples) == 4
        assert (metrics.masked_samples, metrics.micro_batches) == (int(broken), 1 + broken)
        trainer.save(tmp_path / name)
        state = load_file(tmp_path / name / "optimizer.safetensors")
        return {key: value for key, value in state.items() if key.startswith("exp_avg.")}

    first, second = [branch(3, 5), branch(3, 6)], [branch(4, 7)]
    found = moments([*first, *second, branch(4, 16)], "found")
    parts = moments(first, "first"), moments(second, "second")
    assert sum(int(value.count_nonzero()) for value in found.values()) > 1000
    for key, value in found.items():
        torch.testing.assert_close(value, parts[0][key] + parts[1][key], rtol=1e-5, atol=1e-9)


def test_float16_scales_the_loss_and_the_update_is_the_same() -> None:
    exact, rough = tiny_model(), half_model(torch.float16)
    exact.load_state_dict({name: value.float() for name, value in rough.state_dict().items()})
    config = TorchTrainerConfig(optimizer=SMALL)
    wanted = TorchTrainer(exact, config).update(samples())
    found = TorchTrainer(rough, config).update(samples())
    assert (wanted.loss_scale, found.loss_scale) == (1.0, 65_536.0)
    assert found.grad_norm == pytest.approx(wanted.grad_norm, rel=0.02)


def test_float16_autocast_scales_as_well() -> None:
    config = TorchTrainerConfig(optimizer=SMALL, autocast="float16", loss_scale=256)
    metrics = TorchTrainer(tiny_model(), config).update(samples())
    assert (metrics.updates, metrics.loss_scale) == (1, 256.0)


def test_an_overflowing_gradient_halves_the_scale_and_changes_nothing() -> None:
    model = half_model(torch.float16)
    before = flat(model)
    trainer = TorchTrainer(model, TorchTrainerConfig(optimizer=SMALL, loss_scale=2.0**40))
    metrics = trainer.update(samples())
    assert (metrics.updates, metrics.skipped, metrics.loss_scale) == (0, 1, 2.0**39)
    assert torch.equal(flat(model), before)
    while trainer.update(samples()).updates == 0:
        pass
    assert not torch.equal(flat(model), before) or metrics.skipped


def test_a_scale_that_can_fall_no_further_is_an_error() -> None:
    scale = LossScale(2.0)
    scale.overflowed()
    assert scale.value == 1.0
    with pytest.raises(TrainError, match="not finite"):
        scale.overflowed()


def test_a_scale_grows_after_many_good_updates() -> None:
    scale = LossScale(8.0)
    for _ in range(1000):
        scale.succeeded()
    assert scale.value == 16.0


def test_a_resumed_scale_counts_the_good_updates_before_it(tmp_path: Path) -> None:
    optimizer = MasterAdamW(tiny_model(), SMALL)
    counts = Counts(updates=1200, loss_scale=8.0, good=999, broken=0)
    save_optimizer(optimizer, tmp_path / "optimizer.safetensors", counts)
    found = load_optimizer(optimizer, tmp_path / "optimizer.safetensors")
    assert found == counts
    scale = LossScale(found.loss_scale or 1.0, found.good)
    scale.succeeded()
    assert (scale.value, scale.good) == (16.0, 0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_offloaded_states_give_the_same_updates_also_when_resumed(
    tmp_path: Path, dtype: torch.dtype
) -> None:
    optimizer = OptimizerConfig(lr=1e-3, eps=1e-8, weight_decay=0.1)
    ends: list[torch.Tensor] = []
    for offload in (False, True):
        config = TorchTrainerConfig(optimizer=optimizer, offload=offload, max_batch_tokens=6)
        trainer = TorchTrainer(half_model(dtype), config)
        trainer.update(samples())
        trainer.save(tmp_path / str(offload))
        resumed = TorchTrainer(half_model(dtype), config)
        resumed.load(tmp_path / str(offload))
        for each in (trainer, resumed):
            assert [each.update(samples()).micro_batches for _ in range(2)] == [4, 4]
            ends.append(flat(each.model))
    assert all(torch.equal(end, ends[0]) for end in ends)


def test_an_offloading_trainer_leaves_no_gradients() -> None:
    trainer = TorchTrainer(half_model(torch.bfloat16), TorchTrainerConfig(offload=True))
    trainer.update(samples())
    assert all(weight.grad is None for weight in trainer.model.parameters())


@pytest.mark.parametrize("resumed", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_all_that_is_kept_of_steps_moves_together(
    tmp_path: Path, dtype: torch.dtype, resumed: bool
) -> None:
    model = half_model(dtype)
    optimizer = MasterAdamW(model, SMALL)
    for weight in model.parameters():
        weight.grad = torch.ones_like(weight)
    optimizer.step(1e-3)
    if resumed:
        save_optimizer(optimizer, tmp_path / "optimizer", Counts(updates=1))
        load_optimizer(optimizer, tmp_path / "optimizer")
    optimizer.move("meta")  # a place with no values, but a place
    for (_, master, copied), weight in zip(
        optimizer.named_masters(), model.parameters(), strict=True
    ):
        assert master.device.type == ("meta" if copied else "cpu")
        assert master is weight or copied
        state = optimizer.inner.state[master]
        assert {key: one.device.type for key, one in state.items()} == dict.fromkeys(
            ("step", "exp_avg", "exp_avg_sq"), "meta"
        )
    groups = optimizer.inner.param_groups
    assert {id(one) for group in groups for one in group["params"]} == {
        id(master) for _, master, _ in optimizer.named_masters()
    }


def test_gradients_of_several_passes_are_summed_while_the_masters_are_elsewhere() -> None:
    model = half_model(torch.bfloat16)
    optimizer = MasterAdamW(model, SMALL)
    start = [master.detach().clone() for _, master, _ in optimizer.named_masters()]
    optimizer.move("meta")
    for value in (1.0, 2**-10):  # their sum is no bfloat16 number
        for weight in model.parameters():
            weight.grad = torch.full_like(weight, value)
        optimizer.accumulate()
    assert all(weight.grad is None for weight in model.parameters())
    optimizer.masters = [torch.nn.Parameter(values) for values in start]
    count = sum(weight.numel() for weight in model.parameters())
    assert optimizer.step(0.0).norm == pytest.approx((1 + 2**-10) * count**0.5, rel=1e-6)
