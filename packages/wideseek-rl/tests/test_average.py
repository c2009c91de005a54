"""Averages of LoRA adapters, against the products of their matrices."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file  # pyright: ignore[reportUnknownVariableType]
from torch import Tensor

from wideseek_core import CheckpointError, ConfigError
from wideseek_rl.models.average import average_adapters

LAYERS = {"layers.0.q_proj": (7, 9), "layers.0.down_proj": (8, 6)}


def adapter(
    folder: Path, rank: int, *, seed: int, dtype: torch.dtype = torch.float32, **settings: Any
) -> Path:
    generator = torch.Generator().manual_seed(seed)
    tensors: dict[str, Tensor] = {}
    for name, (rows, columns) in LAYERS.items():
        for side, shape in (("A", (rank, columns)), ("B", (rows, rank))):
            values = torch.randn(shape, generator=generator).to(dtype)
            tensors[f"base_model.model.{name}.lora_{side}.weight"] = values
    folder.mkdir()
    save_file(tensors, folder / "adapter_model.safetensors")
    given = {"peft_type": "LORA", "r": rank, "lora_alpha": 2 * rank} | settings
    (folder / "adapter_config.json").write_text(json.dumps(given))
    return folder


def changes(folder: Path) -> dict[str, Tensor]:
    """What an adapter adds to each weight."""
    settings = json.loads((folder / "adapter_config.json").read_text())
    rank = settings["r"]
    scale = settings["lora_alpha"] / (math.sqrt(rank) if settings.get("use_rslora") else rank)
    tensors = load_file(folder / "adapter_model.safetensors")
    found: dict[str, Tensor] = {}
    for name in LAYERS:
        down, up = (tensors[f"base_model.model.{name}.lora_{side}.weight"] for side in "AB")
        assert down.shape[0] == up.shape[1] == rank
        found[name] = scale * up.double() @ down.double()
    return found


def size(value: Tensor) -> float:
    return math.sqrt(float(value.square().sum()))


def assert_equal(found: dict[str, Tensor], wanted: dict[str, Tensor], tolerance: float) -> None:
    for name, value in wanted.items():
        assert size(found[name] - value) <= tolerance * size(value)


def test_the_average_is_that_of_the_changes(tmp_path: Path) -> None:
    one = adapter(tmp_path / "one", 2, seed=1)
    other = adapter(tmp_path / "other", 3, seed=2, lora_alpha=5, use_rslora=True)
    found = average_adapters([one, other], tmp_path / "mean", weights=[0.25, 0.75], rank=5)
    first, second = changes(one), changes(other)
    wanted = {name: 0.25 * first[name] + 0.75 * second[name] for name in first}
    assert_equal(changes(tmp_path / "mean"), wanted, 1e-6)
    assert found.rank == 5
    assert found.kept == pytest.approx(1)


def test_a_lower_rank_is_the_best_of_that_rank(tmp_path: Path) -> None:
    folders = [adapter(tmp_path / str(seed), 3, seed=seed) for seed in range(3)]
    found = average_adapters(folders, tmp_path / "mean", weights=[1 / 3] * 3, rank=2)
    parts = [changes(folder) for folder in folders]
    kept = whole = 0.0
    linalg: Any = torch.linalg
    for name, value in changes(tmp_path / "mean").items():
        mean = sum((part[name] for part in parts), torch.zeros(())) / 3
        u, values, v = linalg.svd(mean, full_matrices=False)
        best = (u[:, :2] * values[:2]) @ v[:2]
        assert size(value - best) <= 1e-6 * size(mean)
        kept += float(values[:2].square().sum())
        whole += float(values.square().sum())
    assert 0.3 < found.kept < 0.99
    assert found.kept == pytest.approx(kept / whole)


def test_an_adapter_and_itself_make_the_same_one(tmp_path: Path) -> None:
    one = adapter(tmp_path / "one", 3, seed=1, dtype=torch.float16)
    found = average_adapters([one, one], tmp_path / "mean", weights=[0.5, 0.5], rank=3)
    assert_equal(changes(tmp_path / "mean"), changes(one), 1e-2)
    assert found.kept == pytest.approx(1)
    tensors = load_file(tmp_path / "mean" / "adapter_model.safetensors")
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float16}
    kept = json.loads((tmp_path / "mean" / "adapter_config.json").read_text())
    assert kept == {"peft_type": "LORA", "r": 3, "lora_alpha": 6, "use_rslora": False}


def test_a_rank_that_nothing_needs_adds_nothing(tmp_path: Path) -> None:
    one = adapter(tmp_path / "one", 2, seed=1)
    average_adapters([one, one], tmp_path / "mean", weights=[1.0, 1.0], rank=30)
    doubled = {name: 2 * value for name, value in changes(one).items()}
    assert_equal(changes(tmp_path / "mean"), doubled, 1e-6)


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"rank_pattern": {"q_proj": 4}}, "rank_pattern is not supported"),
        ({"use_dora": True}, "use_dora=True is not supported"),
        ({"r": 0}, "r is 0"),
        ({"lora_alpha": "x"}, "lora_alpha is 'x'"),
    ],
)
def test_other_adapters_are_refused(settings: dict[str, Any], line: str, tmp_path: Path) -> None:
    one = adapter(tmp_path / "one", 2, seed=1)
    other = adapter(tmp_path / "other", 2, seed=1, **settings)
    with pytest.raises(CheckpointError, match=line):
        average_adapters([one, other], tmp_path / "mean", weights=[0.5, 0.5], rank=2)
    assert not (tmp_path / "mean").exists()


def test_adapters_of_different_models_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = adapter(tmp_path / "one", 2, seed=1)
    monkeypatch.setitem(LAYERS, "layers.0.q_proj", (7, 10))
    wider = adapter(tmp_path / "wider", 2, seed=1)
    monkeypatch.setitem(LAYERS, "layers.0.o_proj", (4, 4))
    more = adapter(tmp_path / "more", 2, seed=1)
    for other, line in ((wider, "not for one model: .*q_proj"), (more, "has .*o_proj.*has not")):
        with pytest.raises(ConfigError, match=line):
            average_adapters([one, other], tmp_path / "mean", weights=[0.5, 0.5], rank=2)


def test_what_is_no_adapter_is_not_replaced(tmp_path: Path) -> None:
    one = adapter(tmp_path / "one", 2, seed=1)
    taken = tmp_path / "notes"
    taken.mkdir()
    (taken / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match="notes is there, and is no adapter"):
        average_adapters([one, one], taken, weights=[0.5, 0.5], rank=2)
    assert (taken / "notes.txt").read_text() == "mine"
    average_adapters([one, one], tmp_path / "mean", weights=[0.5, 0.5], rank=2)
    average_adapters([one, one], tmp_path / "mean", weights=[0.5, 0.5], rank=1)
    assert json.loads((tmp_path / "mean" / "adapter_config.json").read_text())["r"] == 1
