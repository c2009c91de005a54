import os
import shutil
import sys
from pathlib import Path

import pytest

from wideseek_core import CheckpointError, ConfigError, Sampling
from wideseek_rl import (
    BuiltinEngineConfig,
    CheckpointStore,
    LossConfig,
    ModelConfig,
    OptimizerConfig,
    PolicyModel,
    TorchTrainerConfig,
    TrainedTurn,
    TrainerState,
    build_samples,
    open_engine,
    open_trainer,
    start_policy,
)
from wideseek_rl.engines.builtin.open import replica_count
from wideseek_rl.models.hf_format import save_model
from wideseek_rl.testing import make_turn, tiny_model


def test_small_models_are_replicated_on_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    model, cores = tiny_model(), set(range(3))

    def affinity(_pid: int) -> set[int]:
        return cores

    monkeypatch.setattr(os, "sched_getaffinity", affinity)
    assert replica_count(BuiltinEngineConfig(), model) == 3
    assert replica_count(BuiltinEngineConfig(processes=1), model) == 1
    assert replica_count(BuiltinEngineConfig(processes=0), model) == 0
    assert replica_count(BuiltinEngineConfig(), model, max_parameters=1000) == 0
    cores.update(range(64))
    assert replica_count(BuiltinEngineConfig(), model) == 8
    cores.intersection_update({0})
    assert replica_count(BuiltinEngineConfig(), model) == 0


async def test_a_policy_of_a_damaged_checkpoint_is_refused(tmp_path: Path) -> None:
    async def write(folder: Path) -> None:
        save_model(tiny_model(), folder / "model", None)
        (folder / "optimizer").write_bytes(b"moments")

    state = TrainerState(step=3, tasks="t")
    path = await CheckpointStore(tmp_path, keep_last=1).save(state, write)
    (path / "optimizer").write_bytes(b"other")  # not needed to sample
    for name in (path, path / "model"):
        model = PolicyModel(ModelConfig(model=str(name), device="cpu"))
        assert model.folder == path / "model"
        async with open_engine(BuiltinEngineConfig(processes=0), model) as engine:
            made = await engine.generate([1, 5], session="a", sampling=Sampling(max_tokens=3))
            assert made.ids
    weights = path / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    for name in (path, path / "model"):
        with pytest.raises(CheckpointError, match=r"model\.safetensors: damaged"):
            PolicyModel(ModelConfig(model=str(name)))


async def test_every_way_to_a_policy_of_a_checkpoint_is_checked(tmp_path: Path) -> None:
    async def write(folder: Path) -> None:
        save_model(tiny_model(), folder / "model", None)
        (folder / "adapter").mkdir()
        (folder / "adapter" / "adapter_config.json").write_text("{}")

    path = await CheckpointStore(tmp_path, keep_last=1).save(TrainerState(step=3, tasks="t"), write)
    link = tmp_path / "last"
    link.symlink_to(path / "model")
    plain = tmp_path / "plain"
    shutil.copytree(path / "model", plain)
    for adapter in (path, path / "adapter"):
        PolicyModel(ModelConfig(model=str(plain), adapter=adapter))
    (path / "adapter" / "adapter_config.json").write_text("{ }")
    for adapter in (path, path / "adapter"):
        with pytest.raises(CheckpointError, match=r"adapter_config\.json: damaged"):
            PolicyModel(ModelConfig(model=str(plain), adapter=adapter))
    PolicyModel(ModelConfig(model=str(link)))
    (path / "model" / "config.json").unlink()
    with pytest.raises(CheckpointError, match=r"config\.json: missing from the checkpoint"):
        PolicyModel(ModelConfig(model=str(link)))
    (path / "manifest.json").unlink()
    for name in (path, path / "model", link):
        with pytest.raises(CheckpointError, match=r"manifest\.json: missing"):
            PolicyModel(ModelConfig(model=str(name)))


@pytest.mark.parametrize("name", ["manifest.json", "state.json"])
@pytest.mark.parametrize("place", [".", "tiny"])
def test_files_of_other_programs_make_no_checkpoint(tmp_path: Path, name: str, place: str) -> None:
    save_model(tiny_model(), tmp_path / "tiny", None)
    (tmp_path / place / name).write_text('{"models": ["tiny"]}')
    assert PolicyModel(ModelConfig(model=str(tmp_path / "tiny"))).folder == tmp_path / "tiny"


async def test_a_trainer_of_this_process_lets_the_event_loop_have_the_interpreter_soon(
    tmp_path: Path,
) -> None:
    save_model(tiny_model(), tmp_path, None)
    model = PolicyModel(ModelConfig(model=str(tmp_path), device="cpu"))
    usual = sys.getswitchinterval()
    async with open_trainer(TorchTrainerConfig(), LossConfig(), model):
        assert sys.getswitchinterval() <= 0.001 < usual
    assert sys.getswitchinterval() == usual


def test_a_model_that_does_not_exist_is_named() -> None:
    with pytest.raises(ConfigError, match="no such folder: nowhere"):
        PolicyModel(ModelConfig(model="nowhere"))


async def test_engine_and_trainer_of_a_configuration_share_one_module(tmp_path: Path) -> None:
    save_model(tiny_model(), tmp_path, None)
    shutil.copy(start_policy() / "tokenizer.json", tmp_path)
    model = PolicyModel(ModelConfig(model=str(tmp_path), device="cpu"))
    sample = build_samples([TrainedTurn(turn=make_turn(), weight=1.0, advantage=1.0)])
    config = TorchTrainerConfig(optimizer=OptimizerConfig(lr=0.1))
    async with (
        open_engine(BuiltinEngineConfig(processes=0), model) as engine,
        open_trainer(config, LossConfig(), model) as trainer,
    ):
        before = await engine.generate([1, 5], session="a", sampling=Sampling(max_tokens=9))
        async with engine.sync(trainer).updating() as commit:
            await trainer.update(sample)
            commit(1)
        after = await engine.generate([1, 5], session="b", sampling=Sampling(max_tokens=9))
    assert (before.version, after.version) == (0, 1)
    assert before.logprobs != after.logprobs
