"""Estimates of memory and time against what was measured on H100s (docs/results)."""

import json
from pathlib import Path

import pytest

from wideseek_rl.cluster.estimate import (
    StepLoad,
    TrainerLoad,
    cached_tokens,
    engine_memory,
    step_time,
    trainer_memory,
)
from wideseek_rl.cluster.shapes import PUBLISHED, ModelShape, shape_of

SMALL, LARGE = PUBLISHED["qwen3-1.7b"], PUBLISHED["qwen3-4b"]


def load(**changes: object) -> TrainerLoad:
    given: dict[str, object] = {
        "kind": "torch",
        "ranks": 1,
        "tensor_parallel": 1,
        "batch_tokens": 32_768,
        "recompute": "layer",
    }
    return TrainerLoad(**{**given, **changes})  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("shape", "changes", "measured_gib"),
    [
        (SMALL, {"recompute": "layer"}, 31.3),
        (SMALL, {"recompute": "cheap"}, 71.1),
        (SMALL, {"recompute": "mlp", "recompute_every": 4}, 65.8),
        (SMALL, {"recompute": "cheap", "ranks": 2}, 59.0),
        (SMALL, {"recompute": "mlp", "recompute_every": 2, "ranks": 2}, 48.5),
        (LARGE, {"recompute": "mixed", "recompute_every": 4, "ranks": 2}, 64.2),
        (LARGE, {"recompute": "mixed", "ranks": 2}, 57.6),
        (LARGE, {"recompute": "layer", "ranks": 2}, 36.9),
        (SMALL, {"recompute": "layer", "kind": "nemo_aligner"}, 29.0),
        (SMALL, {"recompute": "mlp", "kind": "nemo_aligner"}, 59.4),
        (SMALL, {"recompute": "mlp", "recompute_layers": 18, "kind": "nemo_aligner"}, 71.3),
        (SMALL, {"recompute": "layer", "recompute_layers": 10, "kind": "nemo_aligner"}, 70.0),
    ],
)
def test_memory_of_the_trainer_is_what_was_measured(
    shape: ModelShape, changes: dict[str, object], measured_gib: float
) -> None:
    assert trainer_memory(shape, load(**changes)).total == pytest.approx(measured_gib, rel=0.08)


def test_each_rank_holds_what_is_gathered_and_not_reduced_yet() -> None:
    gradients_and_weights = (4 + 2) * LARGE.parameters / 2**30
    for ranks in (2, 4):
        plain, kept = (
            trainer_memory(LARGE, load(ranks=ranks, keep_gathered=kept, reduce_once=kept)).weights
            for kept in (False, True)
        )
        assert kept - plain == pytest.approx(gradients_and_weights)
    alone = trainer_memory(LARGE, load(keep_gathered=True, reduce_once=True))
    assert alone == trainer_memory(LARGE, load())


def test_nothing_is_computed_again_whatever_the_layers_that_it_would_apply_to() -> None:
    every, fourth = (
        trainer_memory(SMALL, load(recompute="none", recompute_every=n)).total for n in (1, 4)
    )
    assert every == fourth > trainer_memory(SMALL, load(recompute="cheap")).total


@pytest.mark.parametrize(
    ("changes", "bytes_of_a_parameter"), [({}, 12), ({"float32": True}, 8), ({"ranks": 2}, 8 / 2)]
)
def test_offloading_moves_moments_to_the_host_and_masters_that_are_copies(
    changes: dict[str, object], bytes_of_a_parameter: float
) -> None:
    kept, moved = (trainer_memory(LARGE, load(offload=flag, **changes)) for flag in (False, True))
    assert moved.host == pytest.approx(bytes_of_a_parameter * LARGE.parameters / 2**30)
    assert kept.weights - moved.weights == pytest.approx(moved.host)


@pytest.mark.parametrize(
    ("changes", "bytes_of_a_parameter"),
    [
        ({"tensor_parallel": 2}, 16 / 2),
        ({"tensor_parallel": 2, "pipeline_parallel": 2}, 16 / 4),
        ({"tensor_parallel": 2, "distributed_optimizer": True}, 8 / 2 + 8 / 8),
    ],
)
def test_ranks_of_nemo_aligner_share_weights_and_moments(
    changes: dict[str, object], bytes_of_a_parameter: float
) -> None:
    memory = trainer_memory(LARGE, load(kind="nemo_aligner", ranks=8, **changes))
    assert memory.weights * 2**30 == pytest.approx(bytes_of_a_parameter * LARGE.parameters)


@pytest.mark.parametrize(
    ("shape", "ranks", "measured_tokens_per_s"), [(SMALL, 1, 38_154), (LARGE, 2, 28_647)]
)
def test_speed_of_training_is_what_was_measured(
    shape: ModelShape, ranks: int, measured_tokens_per_s: float
) -> None:
    step = StepLoad(rollouts=1, sampled=1, trained=1e6, length=4681)
    time = step_time(shape, step, trainer=load(ranks=ranks), engine_gpus=1, overlapped=False)
    assert 1e6 / time.train == pytest.approx(measured_tokens_per_s, rel=0.1)


def test_overlapped_steps_take_as_long_as_their_longer_part() -> None:
    step = StepLoad(rollouts=1, sampled=1e6, trained=1e6, length=4000)
    apart, beside = (
        step_time(SMALL, step, trainer=load(), engine_gpus=1, overlapped=flag)
        for flag in (False, True)
    )
    assert apart.seconds == apart.sample + apart.train + apart.sync
    assert beside.seconds == max(apart.sample, apart.train) + apart.sync


def test_a_cache_of_a_large_share_is_what_vllm_reported() -> None:
    memory = engine_memory(SMALL, 1, 0.85)
    assert cached_tokens(SMALL, memory, 1) == pytest.approx(592_000, rel=0.06)


@pytest.mark.parametrize(
    ("name", "billions"),
    [("qwen3-0.6b", 0.596), ("qwen3-4b", 4.02), ("qwen3-8b", 8.19), ("qwen3-30b-a3b", 30.5)],
)
def test_published_shapes_have_their_number_of_parameters(name: str, billions: float) -> None:
    assert PUBLISHED[name].parameters == pytest.approx(billions * 1e9, rel=0.01)


def test_a_shape_comes_from_the_folder_or_from_the_name(tmp_path: Path) -> None:
    assert shape_of(Path("models/Qwen3-4B-Instruct-2507")) == LARGE
    assert shape_of(tmp_path / "mine") is None
    values = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    values |= {"intermediate_size": 96, "vocab_size": 300}
    (tmp_path / "config.json").write_text(json.dumps(values))
    shape = shape_of(tmp_path)
    assert shape is not None
    assert (shape.head_dim, shape.kv_heads, shape.ffn) == (16, 4, 96)
