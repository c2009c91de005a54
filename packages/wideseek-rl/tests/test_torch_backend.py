import math
from pathlib import Path

import numpy as np
import pytest
import torch

from wideseek_core import CheckpointError, ConfigError, TrainError, Turn
from wideseek_rl import (
    LossConfig,
    OptimizerConfig,
    Qwen3,
    Row,
    TorchBackend,
    TorchBackendConfig,
    TrainedTurn,
    build_rows,
)
from wideseek_rl.testing import make_turn, tiny_model

FAST = OptimizerConfig(lr=1e-2, betas=(0.9, 0.95), eps=1e-8)


def rows_of(*turns: Turn, advantage: float = 1.0, group: int = 0) -> list[Row]:
    count = sum(len(turn.response_ids) for turn in turns)
    return build_rows(
        [TrainedTurn(turn=turn, weight=1 / count, advantage=advantage) for turn in turns],
        group=group,
    )


def weights(model: Qwen3) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def gradient(rows: list[Row], *, max_batch_tokens: int = 1000) -> torch.Tensor:
    """The gradient of one update, unclipped, as it reaches the optimizer."""
    model = tiny_model()
    config = TorchBackendConfig(
        optimizer=OptimizerConfig(grad_clip=1e9), max_batch_tokens=max_batch_tokens
    )
    TorchBackend(model, config).update(rows)
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
    merged = build_rows(credited())
    single = [row for turn in credited() for row in build_rows([turn])]
    assert (len(merged), len(single)) == (2, 4)
    difference = (gradient(merged) - gradient(single)).abs().max()
    assert float(difference) < 1e-5
    assert float(gradient(merged).abs().max()) > 1e-2


def test_micro_batches_have_the_gradient_of_one_batch() -> None:
    rows = build_rows(credited())
    difference = (gradient(rows) - gradient(rows, max_batch_tokens=1)).abs().max()
    assert float(difference) < 1e-6


def test_a_whole_update_by_hand() -> None:
    # Without weights every token has probability 1/17. Two tokens of weight 1/2 each:
    # the sampler gave 1/20, so r = 20/17 = 1.17647 within the clip range, A = −1: loss 1.17647;
    # the other row's sampler gave 1/10, r = 10/17 is clipped at 0.8, A = −0.5: loss 0.4.
    model = tiny_model()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    near = rows_of(make_turn([1], [5, 6], logprob=-math.log(20)), advantage=-1.0)
    far = rows_of(make_turn([1], [7, 8], logprob=-math.log(10)), advantage=-0.5)
    metrics = TorchBackend(model, TorchBackendConfig()).update(near + far)
    assert metrics.loss == pytest.approx(20 / 17 + 0.4, rel=1e-6)
    assert metrics.ratio == pytest.approx(15 / 17, rel=1e-6)
    assert (metrics.clipped_low, metrics.clipped_high) == (0.5, 0.0)
    assert metrics.mismatch == pytest.approx((math.log(20 / 17) + math.log(17 / 10)) / 2, rel=1e-6)
    assert metrics.entropy == pytest.approx(math.log(17), rel=1e-6)


def test_good_tokens_grow_likelier_and_bad_ones_rarer() -> None:
    model = tiny_model()
    good = make_turn([1, 3], [5], logprob=-2.83)
    bad = make_turn([1, 3], [6], logprob=-2.83)
    rows = rows_of(good) + rows_of(bad, advantage=-1.0)
    TorchBackend(model, TorchBackendConfig(optimizer=FAST)).update(rows)
    with torch.no_grad():
        logits = model.logits(model.hidden(torch.tensor([[1, 3]]), torch.tensor([2])))[0, -1]
    assert float(logits[5]) > float(logits[6])


def test_rows_without_advantage_do_not_run() -> None:
    model = tiny_model()
    before = weights(model)
    metrics = TorchBackend(model, TorchBackendConfig()).update(rows_of(make_turn(), advantage=0.0))
    assert (metrics.updates, metrics.rows, metrics.idle_rows, metrics.tokens_run) == (0, 0, 1, 0)
    assert torch.equal(weights(model), before)


def test_with_kl_rows_without_advantage_pull_towards_the_reference() -> None:
    model = tiny_model()
    config = TorchBackendConfig(optimizer=FAST, loss=LossConfig(kl=1.0))
    backend = TorchBackend(model, config)
    assert backend.update(rows_of(make_turn(logprob=-2.83))).reference_kl == pytest.approx(0)
    moved = backend.update(rows_of(make_turn(logprob=-2.83), advantage=0.0))
    assert moved.rows == 1
    assert moved.reference_kl > 0
    last = [backend.update(rows_of(make_turn(logprob=-2.83), advantage=0.0)) for _ in range(20)]
    assert last[-1].reference_kl < moved.reference_kl


def test_several_updates_share_out_the_questions() -> None:
    rows = [row for n in range(4) for row in rows_of(make_turn([1], [n + 3]), group=n)]
    config = TorchBackendConfig(optimizer=FAST, updates_per_step=2, recompute_logprobs=True)
    metrics = TorchBackend(tiny_model(), config).update(rows)
    assert metrics.updates == 2
    assert metrics.tokens_trained == 4
    assert metrics.kl > 0  # the second update sees weights that the first one moved


def test_recomputed_logprobs_make_the_first_ratio_one() -> None:
    config = TorchBackendConfig(recompute_logprobs=True)
    metrics = TorchBackend(tiny_model(), config).update(rows_of(make_turn(logprob=-0.1)))
    assert (metrics.ratio, metrics.kl) == (1.0, 0.0)
    assert metrics.mismatch > 1


def test_truncated_importance_weights_bound_the_mismatch() -> None:
    def loss(cap: float | None) -> float:
        config = TorchBackendConfig(recompute_logprobs=True, loss=LossConfig(importance_cap=cap))
        rows = rows_of(make_turn([1], [5], logprob=-9.0))
        return TorchBackend(tiny_model(), config).update(rows).loss

    assert loss(2.0) == pytest.approx(2 * loss(None))


def test_importance_weights_need_recomputed_logprobs() -> None:
    with pytest.raises(ConfigError, match="importance_cap needs recompute_logprobs"):
        TorchBackend(tiny_model(), TorchBackendConfig(loss=LossConfig(importance_cap=2.0)))


def test_a_mean_ratio_past_the_limit_stops_the_step() -> None:
    model = tiny_model()
    before = weights(model)
    rows = [
        row for n in range(2) for row in rows_of(make_turn([1], [n + 3], logprob=-9.0), group=n)
    ]
    metrics = TorchBackend(model, TorchBackendConfig(updates_per_step=2)).update(rows)
    assert (metrics.updates, metrics.stopped, metrics.tokens_trained) == (0, 1, 1)
    assert metrics.ratio > 5
    assert torch.equal(weights(model), before)


def test_a_gradient_that_is_not_finite_is_left_out_and_then_an_error() -> None:
    model = tiny_model()
    before = weights(model)
    (row,) = rows_of(make_turn(logprob=-2.83))
    broken = Row(
        ids=row.ids,
        weights=np.array([0, np.inf, np.inf], dtype=np.float32),
        advantages=row.advantages,
        logprobs=row.logprobs,
    )
    backend = TorchBackend(model, TorchBackendConfig())
    assert backend.update([broken]).skipped == 1
    assert backend.update([broken]).updates == 0
    assert torch.equal(weights(model), before)
    with pytest.raises(TrainError, match="3 times in a row"):
        backend.update([broken])


def test_a_loaded_backend_goes_on_with_equal_numbers(tmp_path: Path) -> None:
    config = TorchBackendConfig(optimizer=FAST)
    first = TorchBackend(tiny_model(), config)
    rows = build_rows(credited())
    first.update(rows)
    first.save(tmp_path)
    second = TorchBackend(tiny_model(seed=9), config)
    second.load(tmp_path)
    for _ in range(3):
        assert first.update(rows).loss == second.update(rows).loss
    assert torch.equal(weights(first.model), weights(second.model))


def test_a_checkpoint_of_another_model_is_refused(tmp_path: Path) -> None:
    TorchBackend(tiny_model(), TorchBackendConfig()).save(tmp_path)
    with pytest.raises(CheckpointError, match="model of another shape"):
        TorchBackend(tiny_model(vocabulary=19), TorchBackendConfig()).load(tmp_path)


def test_a_truncated_optimizer_file_is_refused(tmp_path: Path) -> None:
    backend = TorchBackend(tiny_model(), TorchBackendConfig())
    backend.update(rows_of(make_turn(logprob=-2.83)))
    backend.save(tmp_path)
    path = tmp_path / "optimizer.safetensors"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(CheckpointError, match=r"optimizer\.safetensors"):
        backend.load(tmp_path)


@pytest.mark.parametrize(
    "config", [TorchBackendConfig(autocast="bfloat16"), TorchBackendConfig(matmul="medium")]
)
def test_lower_precision_comes_close_to_float32(config: TorchBackendConfig) -> None:
    rows = build_rows(credited())
    exact = TorchBackend(tiny_model(), TorchBackendConfig()).update(rows)
    rough = TorchBackend(tiny_model(), config).update(rows)
    assert torch.get_float32_matmul_precision() == "highest"
    assert rough.loss == pytest.approx(exact.loss, rel=0.02)
    assert rough.grad_norm == pytest.approx(exact.grad_norm, rel=0.05)


def test_rows_of_sure_agents_are_left_out_up_to_the_threshold() -> None:
    sure = rows_of(make_turn([1, 4], [5, 6, 2], logprob=-0.05))
    unsure = rows_of(make_turn([1, 7], [8, 9, 2], logprob=-0.2))
    assert sure[0].surprise == pytest.approx(0.15)
    both = TorchBackend(tiny_model(), TorchBackendConfig()).update([*sure, *unsure])
    assert (both.rows, both.idle_rows) == (2, 0)
    some = TorchBackend(tiny_model(), TorchBackendConfig(min_surprise=0.3)).update([*sure, *unsure])
    assert (some.rows, some.idle_rows, some.tokens_trained) == (1, 1, 3)


def test_a_kl_term_trains_sure_agents_too() -> None:
    config = TorchBackendConfig(min_surprise=0.3, loss=LossConfig(kl=0.1))
    rows = rows_of(make_turn([1, 4], [5, 6, 2], logprob=-0.05))
    assert TorchBackend(tiny_model(), config).update(rows).rows == 1
