import json
import math
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from wideseek_core import CheckpointError, ConfigError, TrainError, Turn
from wideseek_rl import (
    CorrectionConfig,
    LossConfig,
    OptimizerConfig,
    TorchTrainerConfig,
    TrainedTurn,
    TrainingSample,
    UpdateMetrics,
    build_samples,
)
from wideseek_rl.models.decoder import Decoder
from wideseek_rl.testing import known, make_turn, tiny_model
from wideseek_rl.trainers.torch import TorchTrainer

FAST = OptimizerConfig(lr=1e-2, betas=(0.9, 0.95), eps=1e-8)


def samples_of(*turns: Turn, advantage: float = 1.0, group: int = 0) -> list[TrainingSample]:
    count = sum(len(turn.response_ids) for turn in turns)
    return build_samples(
        [TrainedTurn(turn=turn, weight=1 / count, advantage=advantage) for turn in turns],
        group=group,
    )


def weights(model: nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def gradient(samples: list[TrainingSample], *, max_batch_tokens: int = 1000) -> torch.Tensor:
    """The gradient of one update, unclipped, as it reaches the optimizer."""
    model = tiny_model()
    config = TorchTrainerConfig(
        optimizer=OptimizerConfig(grad_clip=1e9), max_batch_tokens=max_batch_tokens
    )
    TorchTrainer(model, config).update(samples)
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def conversation() -> list[Turn]:
    """Four turns of which three extend one another; the second context was rebuilt."""
    first = make_turn([1, 4, 5], [6, 7, 2], logprob=-2.0)
    second = make_turn([1, 4, 5, 6, 7, 2, 8, 9], [10, 2], logprob=-2.5)
    third = make_turn([1, 4, 5, 6, 7, 2, 8, 9, 10, 2, 3], [11, 12, 2], logprob=-3.0)
    return [first, second, third, make_turn([1, 8], [13, 2], logprob=-2.0)]


def credited() -> list[TrainedTurn]:
    return [
        TrainedTurn(turn=turn, weight=weight, advantage=advantage)
        for turn, weight, advantage in zip(
            conversation(), (0.1, 0.2, 0.05, 0.3), (1.0, -0.5, 2.0, -1.0), strict=True
        )
    ]


def test_merged_rows_have_the_gradient_of_one_row_per_turn() -> None:
    merged = build_samples(credited())
    single = [sample for turn in credited() for sample in build_samples([turn])]
    assert (len(merged), len(single)) == (2, 4)
    difference = (gradient(merged) - gradient(single)).abs().max()
    assert float(difference) < 1e-5
    assert float(gradient(merged).abs().max()) > 1e-2


def test_micro_batches_have_the_gradient_of_one_batch() -> None:
    samples = build_samples(credited())
    difference = (gradient(samples) - gradient(samples, max_batch_tokens=1)).abs().max()
    assert float(difference) < 1e-6


def test_a_whole_update_by_hand() -> None:
    # Without weights every token has probability 1/17. Two tokens of weight 1/2 each:
    # the sampler gave 1/20, so r = 20/17 = 1.17647 within the clip range, A = −1: loss 1.17647;
    # the other sample's sampler gave 1/10, r = 10/17 is clipped at 0.8, A = −0.5: loss 0.4.
    model = tiny_model()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    near = samples_of(make_turn([1], [5, 6], logprob=-math.log(20)), advantage=-1.0)
    far = samples_of(make_turn([1], [7, 8], logprob=-math.log(10)), advantage=-0.5)
    metrics = TorchTrainer(model, TorchTrainerConfig()).update(near + far)
    assert metrics.loss == pytest.approx(20 / 17 + 0.4, rel=1e-6)
    assert metrics.ratio == pytest.approx(15 / 17, rel=1e-6)
    assert (metrics.clipped_low, metrics.clipped_high) == (0.5, 0.0)
    assert metrics.mismatch == pytest.approx((math.log(20 / 17) + math.log(17 / 10)) / 2, rel=1e-6)
    assert metrics.entropy == pytest.approx(math.log(17), rel=1e-6)


def test_the_logits_of_an_update_are_divided_by_the_samplers_temperature() -> None:
    model = tiny_model()
    turn = make_turn([1, 4], [5, 6, 2], logprob=-math.log(17))
    ids = torch.tensor([[1, 4, 5, 6, 2]])
    with torch.no_grad():
        logits = model.logits(model.hidden(ids, torch.tensor([5])))[0, 1:4]
    logprobs = (logits / 0.25).log_softmax(-1).gather(-1, ids[0, 2:, None])[:, 0]
    loss = LossConfig(temperature=0.25, clip_low=0.99, clip_high=100.0, dual_clip=200.0)
    metrics = TorchTrainer(model, TorchTrainerConfig(), loss).update(samples_of(turn))
    expected = float((logprobs + math.log(17)).exp().mean())
    assert abs(expected - 1) > 0.01
    assert metrics.ratio == pytest.approx(expected, rel=1e-5)
    assert metrics.loss == pytest.approx(-expected, rel=1e-5)


def test_good_tokens_grow_likelier_and_bad_ones_rarer() -> None:
    model = tiny_model()
    good = make_turn([1, 3], [5], logprob=-2.83)
    bad = make_turn([1, 3], [6], logprob=-2.83)
    samples = samples_of(good) + samples_of(bad, advantage=-1.0)
    TorchTrainer(model, TorchTrainerConfig(optimizer=FAST)).update(samples)
    with torch.no_grad():
        logits = model.logits(model.hidden(torch.tensor([[1, 3]]), torch.tensor([2])))[0, -1]
    assert float(logits[5]) > float(logits[6])


@pytest.mark.parametrize("updates", [1, 2])
def test_the_mismatch_is_measured_against_the_sampler_before_the_first_update(updates: int) -> None:
    samples = [
        sample
        for n in range(2)
        for sample in samples_of(make_turn([1], [n + 3, 5], logprob=-1.0 - n), group=n)
    ]
    before = TorchTrainer(tiny_model(), TorchTrainerConfig()).logprobs(samples)
    config = TorchTrainerConfig(optimizer=FAST, updates_per_step=updates, recompute_logprobs=True)
    found = TorchTrainer(tiny_model(), config).update(samples)
    first = range(2) if updates == 1 else (0,)  # the samples of the first update
    distances = [abs(before[n][samples[n].weights != 0] - (-1.0 - n)) for n in first]
    assert found.updates == updates
    assert found.mismatch == pytest.approx(np.concatenate(distances).mean(), rel=1e-5)
    assert known(found.mismatch) > 0.1


def test_what_an_update_of_nothing_would_be_is_not_made_up() -> None:
    found = TorchTrainer(tiny_model(), TorchTrainerConfig()).update([])
    means = ("loss", "grad_norm", "changed", "lr", "ratio", "kl", "entropy", "mismatch")
    assert [getattr(found, name) for name in means] == [None] * len(means)
    assert (found.samples, found.micro_batches, found.tokens_trained) == (0, 0, 0)


def test_rows_without_advantage_do_not_run() -> None:
    model = tiny_model()
    before = weights(model)
    metrics = TorchTrainer(model, TorchTrainerConfig()).update(
        samples_of(make_turn(), advantage=0.0)
    )
    assert (
        metrics.updates,
        metrics.samples,
        metrics.zero_advantage_samples,
        metrics.tokens_run,
    ) == (
        0,
        0,
        1,
        0,
    )
    assert torch.equal(weights(model), before)


def test_with_kl_rows_without_advantage_pull_towards_the_reference() -> None:
    model = tiny_model()
    trainer = TorchTrainer(model, TorchTrainerConfig(optimizer=FAST), LossConfig(kl=1.0))
    assert trainer.update(samples_of(make_turn(logprob=-2.83))).reference_kl == pytest.approx(0)
    moved = trainer.update(samples_of(make_turn(logprob=-2.83), advantage=0.0))
    assert moved.samples == 1
    assert known(moved.reference_kl) > 0
    last = [trainer.update(samples_of(make_turn(logprob=-2.83), advantage=0.0)) for _ in range(20)]
    assert known(last[-1].reference_kl) < known(moved.reference_kl)


def test_several_updates_share_out_the_questions() -> None:
    samples = [sample for n in range(4) for sample in samples_of(make_turn([1], [n + 3]), group=n)]
    config = TorchTrainerConfig(optimizer=FAST, updates_per_step=2, recompute_logprobs=True)
    metrics = TorchTrainer(tiny_model(), config).update(samples)
    assert metrics.updates == 2
    assert metrics.tokens_trained == 4
    assert known(metrics.kl) > 0  # the second update sees weights that the first one moved


def test_recomputed_logprobs_make_the_first_ratio_one() -> None:
    config = TorchTrainerConfig(recompute_logprobs=True)
    metrics = TorchTrainer(tiny_model(), config).update(samples_of(make_turn(logprob=-0.1)))
    assert (metrics.ratio, metrics.kl) == (1.0, 0.0)
    assert known(metrics.mismatch) > 1


def test_truncated_importance_weights_bound_the_mismatch() -> None:
    def loss(cap: float | None) -> float:
        config = TorchTrainerConfig(recompute_logprobs=True)
        kind = "none" if cap is None else "tis"
        capped = LossConfig(correction=CorrectionConfig(kind=kind, high=cap))
        samples = samples_of(make_turn([1], [5], logprob=-9.0))
        return known(TorchTrainer(tiny_model(), config, capped).update(samples).loss)

    assert loss(2.0) == pytest.approx(2 * loss(None))


def test_importance_weights_need_recomputed_logprobs() -> None:
    loss = LossConfig(correction=CorrectionConfig(kind="tis"))
    with pytest.raises(ConfigError, match="kind=tis needs trainer"):
        TorchTrainer(tiny_model(), TorchTrainerConfig(), loss)


def test_a_mean_ratio_past_the_limit_stops_the_step() -> None:
    model = tiny_model()
    before = weights(model)
    samples = [
        sample
        for n in range(2)
        for sample in samples_of(make_turn([1], [n + 3], logprob=-9.0), group=n)
    ]
    metrics = TorchTrainer(model, TorchTrainerConfig(updates_per_step=2)).update(samples)
    assert (metrics.updates, metrics.stopped, metrics.tokens_trained) == (0, 1, 1)
    assert known(metrics.ratio) > 5
    assert torch.equal(weights(model), before)


def test_a_micro_batch_of_a_mean_ratio_past_the_limit_may_be_dropped_alone() -> None:
    def trained(*samples: TrainingSample) -> tuple[torch.Tensor, UpdateMetrics]:
        model = tiny_model()
        config = TorchTrainerConfig(ratio_stop="micro_batch", max_batch_tokens=1)
        metrics = TorchTrainer(model, config).update(samples)
        return weights(model), metrics

    (good,) = samples_of(make_turn([1], [3], logprob=-2.8))
    (runaway,) = samples_of(make_turn([1], [4, 5], logprob=-9.0))
    after, metrics = trained(good, runaway)
    assert (metrics.updates, metrics.stopped, metrics.dropped_tokens) == (1, 0, 2)
    assert (metrics.tokens_trained, metrics.micro_batches) == (1, 2)
    torch.testing.assert_close(after, trained(good)[0])
    untouched, metrics = trained(runaway)
    assert (metrics.updates, metrics.stopped, metrics.dropped_tokens) == (0, 0, 2)
    assert torch.equal(untouched, weights(tiny_model()))


@pytest.mark.parametrize(
    ("ratio", "recompute"), [("sequence", False), ("sequence", True), ("token", True)]
)
@pytest.mark.parametrize("sequence", ["turn", "sample"])
def test_sequences_are_whole_in_every_micro_batch_and_chunk(
    sequence: str, ratio: str, recompute: bool
) -> None:
    loss = LossConfig(
        ratio=ratio,  # pyright: ignore[reportArgumentType]
        sequence=sequence,  # pyright: ignore[reportArgumentType]
        correction=CorrectionConfig(kind="mis", high=1e9) if recompute else CorrectionConfig(),
        max_log_ratio=None,
    )
    gradients: list[torch.Tensor] = []
    for tokens, logits in ((1000, None), (1, 17 * 2)):
        model = tiny_model()
        config = TorchTrainerConfig(
            optimizer=OptimizerConfig(grad_clip=1e9),
            max_batch_tokens=tokens,
            max_logits=logits,
            recompute_logprobs=recompute,
            max_mean_ratio=1e9,
        )
        TorchTrainer(model, config, loss).update(build_samples(credited()))
        gradients.append(
            torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
        )
    assert float(gradients[0].abs().max()) > 0
    torch.testing.assert_close(*gradients, atol=1e-6, rtol=1e-4)


def test_a_gradient_that_is_not_finite_is_left_out_and_then_an_error(tmp_path: Path) -> None:
    model = tiny_model()
    before = weights(model)
    (sample,) = samples_of(make_turn(logprob=-2.83))
    huge = np.full(3, 3e38, dtype=np.float32)
    broken = replace(sample, weights=np.array([0, 3e38, 3e38], dtype=np.float32), advantages=huge)
    trainer = TorchTrainer(model, TorchTrainerConfig())
    assert trainer.update([broken]).skipped == 1
    assert trainer.update([broken]).updates == 0
    assert torch.equal(weights(model), before)
    trainer.save(tmp_path)
    resumed = TorchTrainer(tiny_model(), TorchTrainerConfig())
    resumed.load(tmp_path)  # counts those before it
    for each in (trainer, resumed):
        with pytest.raises(TrainError, match="3 times in a row"):
            each.update([broken])


class OutOfMemory:
    """Makes passes of a model fail, the first of them excepted."""

    def __init__(self, model: nn.Module, good: int) -> None:
        self.good = good
        self.hook = model.register_forward_pre_hook(self.before)

    def before(self, *_: object) -> None:
        self.good -= 1
        if self.good < 0:
            raise torch.OutOfMemoryError("CUDA out of memory")


def layer_of(trainer: TorchTrainer) -> nn.Module:
    assert isinstance(trainer.model, Decoder)
    return trainer.model.model.layers[0]


NO_PEFT = pytest.mark.skipif(find_spec("peft") is None, reason="needs wideseek-rl[lora]")


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"offload": True},
        pytest.param({"lora": {"rank": 2, "alpha": 4}}, marks=NO_PEFT),
    ],
)
def test_an_update_that_fails_in_a_pass_leaves_the_trainer_as_it_was(
    tmp_path: Path, settings: dict[str, Any]
) -> None:
    config = TorchTrainerConfig.model_validate(
        {"optimizer": FAST, "max_batch_tokens": 1, "recompute_logprobs": False, **settings}
    )
    samples = build_samples(credited())
    undisturbed, model = TorchTrainer(tiny_model(), config), tiny_model()
    trainer = TorchTrainer(model, config)
    for each in (undisturbed, trainer):
        each.update(samples)
    fault = OutOfMemory(layer_of(trainer), good=1)  # there are two micro-batches
    for _ in range(2):
        with pytest.raises(torch.OutOfMemoryError, match="CUDA out of memory"):
            trainer.update(samples)
        assert trainer.intact
        assert all(parameter.grad is None for parameter in model.parameters())
    fault.hook.remove()
    trainer.save(tmp_path)
    resumed = TorchTrainer(tiny_model(), config)
    resumed.load(tmp_path)
    wanted = undisturbed.update(samples)
    for each in (trainer, resumed):
        assert replace(each.update(samples), seconds=wanted.seconds) == wanted
        assert torch.equal(weights(each.model), weights(undisturbed.model))


def test_an_update_that_fails_after_an_optimizer_step_can_not_be_undone(tmp_path: Path) -> None:
    config = TorchTrainerConfig(optimizer=FAST, updates_per_step=2, recompute_logprobs=False)
    samples = [*samples_of(make_turn(), group=0), *samples_of(make_turn(), group=1)]
    model = tiny_model()
    trainer = TorchTrainer(model, config)
    assert trainer.update(samples).updates == 2
    trainer.save(tmp_path)
    fault = OutOfMemory(layer_of(trainer), good=1)  # of the passes of two optimizer steps
    with pytest.raises(torch.OutOfMemoryError):
        trainer.update(samples)
    assert not trainer.intact
    fault.hook.remove()
    trainer.load(tmp_path)
    assert trainer.intact


@dataclass
class Stops(TorchDispatchMode):
    """Has no memory for one operation of torch."""

    name: str

    def __post_init__(self) -> None:
        super().__init__()  # pyright: ignore[reportUnknownMemberType]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if self.name in str(func):
            raise torch.OutOfMemoryError(f"CUDA out of memory in {func}")
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    ("operation", "intact"),
    [("embedding", True), ("_foreach_norm", True), ("adamw", False), ("_foreach_copy_", False)],
)
def test_weights_are_intact_until_the_optimizer_step_begins(operation: str, intact: bool) -> None:
    model = tiny_model().to(torch.bfloat16)
    trainer = TorchTrainer(model, TorchTrainerConfig(optimizer=FAST))
    before = weights(model)
    with Stops(operation), pytest.raises(torch.OutOfMemoryError, match=operation):
        trainer.update(build_samples(credited()))
    assert trainer.intact == intact
    assert torch.equal(weights(model), before)  # as far as bfloat16 shows


def test_what_a_failed_update_counted_is_taken_back(tmp_path: Path) -> None:
    (sample,) = samples_of(make_turn(logprob=-2.83))
    huge = np.full(3, 3e38, dtype=np.float32)
    broken = replace(sample, weights=np.array([0, 3e38, 3e38], dtype=np.float32), advantages=huge)
    trainer = TorchTrainer(tiny_model(), TorchTrainerConfig())
    for _ in range(2):
        trainer.update([broken])
    for _ in range(2):  # the second one as the first
        with pytest.raises(TrainError, match="3 times in a row"):
            trainer.update([broken])
        assert trainer.intact
    trainer.save(tmp_path)
    resumed = TorchTrainer(tiny_model(), TorchTrainerConfig())
    resumed.load(tmp_path)
    with pytest.raises(TrainError, match="3 times in a row"):
        resumed.update([broken])


def test_a_loaded_trainer_continues_with_equal_numbers(tmp_path: Path) -> None:
    config = TorchTrainerConfig(optimizer=FAST)
    first = TorchTrainer(tiny_model(), config)
    samples = build_samples(credited())
    first.update(samples)
    first.save(tmp_path)
    second = TorchTrainer(tiny_model(seed=9), config)
    second.load(tmp_path)
    for _ in range(3):
        assert first.update(samples).loss == second.update(samples).loss
    assert torch.equal(weights(first.model), weights(second.model))


@pytest.mark.parametrize(
    "changed",
    [
        {"attention": "packed"},
        {"attention": "documents"},
        {"max_logits": 17},
        {"max_logits": 17, "attention": "packed", "max_batch_tokens": 7},
    ],
)
def test_what_a_resumed_run_may_change_leaves_its_updates_as_they_were(
    tmp_path: Path, changed: dict[str, object]
) -> None:
    config = TorchTrainerConfig(optimizer=FAST, attention="rows")
    assert set(changed) <= config.RESUMABLE_KEYS
    first = TorchTrainer(tiny_model(), config)
    samples = build_samples(credited())
    first.update(samples)
    first.save(tmp_path)
    resumed = TorchTrainer(tiny_model(seed=9), config.model_copy(update=changed))
    resumed.load(tmp_path)
    for _ in range(2):
        wanted, found = first.update(samples), resumed.update(samples)
        assert found.loss == pytest.approx(wanted.loss, rel=1e-4)
        assert found.grad_norm == pytest.approx(wanted.grad_norm, rel=1e-4)
        assert found.lr == wanted.lr


def test_a_checkpoint_of_another_model_is_refused(tmp_path: Path) -> None:
    TorchTrainer(tiny_model(), TorchTrainerConfig()).save(tmp_path)
    with pytest.raises(CheckpointError, match=r"embed_tokens.*\[17, 16\].*\[19, 16\]"):
        TorchTrainer(tiny_model(vocabulary=19), TorchTrainerConfig()).load(tmp_path)


def test_a_truncated_optimizer_file_is_refused(tmp_path: Path) -> None:
    trainer = TorchTrainer(tiny_model(), TorchTrainerConfig())
    trainer.update(samples_of(make_turn(logprob=-2.83)))
    trainer.save(tmp_path)
    path = tmp_path / "optimizer.safetensors"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(CheckpointError, match=r"optimizer\.safetensors"):
        trainer.load(tmp_path)


def test_a_loaded_trainer_continues_its_learning_rate_schedule(tmp_path: Path) -> None:
    config = TorchTrainerConfig(optimizer=OptimizerConfig(lr=1.0, warmup_updates=10))
    samples = samples_of(make_turn(logprob=-2.83))
    first = TorchTrainer(tiny_model(), config)
    rates = [first.update(samples).lr for _ in range(2)]
    first.save(tmp_path)
    second = TorchTrainer(tiny_model(), config)
    second.load(tmp_path)
    rates += [second.update(samples).lr, first.update(samples).lr]
    assert rates == pytest.approx([0.1, 0.2, 0.3, 0.3])


def test_log_probs_of_trained_tokens_are_those_of_the_loss() -> None:
    trainer = TorchTrainer(tiny_model(), TorchTrainerConfig(recompute_logprobs=True))
    samples = build_samples(credited())
    for sample, values in zip(samples, trainer.logprobs(samples), strict=True):
        assert values.shape == sample.ids.shape
        assert np.array_equal(values != 0, sample.weights != 0)
        exact = replace(sample, logprobs=values)
        assert trainer.logprobs([exact])[0].tolist() == values.tolist()
    exact = [
        replace(s, logprobs=v) for s, v in zip(samples, trainer.logprobs(samples), strict=True)
    ]
    assert trainer.update(exact).mismatch == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    "config", [TorchTrainerConfig(autocast="bfloat16"), TorchTrainerConfig(matmul="medium")]
)
def test_lower_precision_comes_close_to_float32(config: TorchTrainerConfig) -> None:
    samples = build_samples(credited())
    exact = TorchTrainer(tiny_model(), TorchTrainerConfig()).update(samples)
    rough = TorchTrainer(tiny_model(), config).update(samples)
    assert torch.get_float32_matmul_precision() == "highest"
    assert rough.loss == pytest.approx(exact.loss, rel=0.02)
    assert rough.grad_norm == pytest.approx(exact.grad_norm, rel=0.05)


def test_rows_of_sure_agents_are_left_out_up_to_the_threshold() -> None:
    sure = samples_of(make_turn([1, 4], [5, 6, 2], logprob=-0.05))
    unsure = samples_of(make_turn([1, 7], [8, 9, 2], logprob=-0.2))
    assert sure[0].nll == pytest.approx(0.15)
    both = TorchTrainer(tiny_model(), TorchTrainerConfig()).update([*sure, *unsure])
    assert (both.samples, both.zero_advantage_samples) == (2, 0)
    some = TorchTrainer(tiny_model(), TorchTrainerConfig(min_nll=0.3)).update([*sure, *unsure])
    assert (some.samples, some.zero_advantage_samples, some.tokens_trained) == (1, 1, 3)


def test_a_kl_term_trains_sure_agents_too() -> None:
    config, loss = TorchTrainerConfig(min_nll=0.3), LossConfig(kl=0.1)
    samples = samples_of(make_turn([1, 4], [5, 6, 2], logprob=-0.05))
    assert TorchTrainer(tiny_model(), config, loss).update(samples).samples == 1


def test_the_learning_rate_schedule_resumes_where_it_was(tmp_path: Path) -> None:
    optimizer = OptimizerConfig(lr=1e-2, warmup_updates=8, decay="linear", decay_updates=100)
    config = TorchTrainerConfig(optimizer=optimizer, updates_per_step=2)
    samples = [sample for n in range(4) for sample in samples_of(make_turn([1], [n + 3]), group=n)]
    first = TorchTrainer(tiny_model(), config)
    assert first.update(samples).lr == pytest.approx(1e-2 * (2 / 8) * 0.99)
    first.save(tmp_path)
    resumed = TorchTrainer(tiny_model(), config)
    resumed.load(tmp_path)
    # Two more updates, the third and the fourth of the run.
    assert resumed.update(samples).lr == pytest.approx(1e-2 * (4 / 8) * 0.97)


def test_traces_are_written_of_the_chosen_updates(tmp_path: Path) -> None:
    config = TorchTrainerConfig(profile=(1,), profile_folder=tmp_path / "traces")
    trainer = TorchTrainer(tiny_model(), config)
    for _ in range(3):
        trainer.update(samples_of(make_turn(logprob=-2.83)))
    (trace,) = (tmp_path / "traces").iterdir()
    assert trace.name == "update_000001.json"
    assert json.loads(trace.read_text())["traceEvents"]


def test_a_step_is_traced_whichever_of_its_updates_is_chosen(tmp_path: Path) -> None:
    config = TorchTrainerConfig(profile=(3,), profile_folder=tmp_path, updates_per_step=2)
    samples = [sample for n in range(4) for sample in samples_of(make_turn([1], [n + 3]), group=n)]
    trainer = TorchTrainer(tiny_model(), config)
    for _ in range(3):
        trainer.update(samples)
    assert [trace.name for trace in tmp_path.iterdir()] == ["update_000002.json"]
