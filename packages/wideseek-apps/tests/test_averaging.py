"""`wideseek average` as a user runs it."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file  # pyright: ignore[reportUnknownVariableType]

from wideseek_agents.profile import ModelProfile, read_profile, write_profile
from wideseek_apps.main import main

NAME = "base_model.model.layers.0.q_proj.lora_{}.weight"


def adapter(folder: Path, value: float) -> Path:
    folder.mkdir(parents=True)
    tensors = {NAME.format("A"): torch.full((1, 4), value), NAME.format("B"): torch.ones(3, 1)}
    save_file(tensors, folder / "adapter_model.safetensors")
    settings = {"peft_type": "LORA", "r": 1, "lora_alpha": 1}
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    return folder


def test_adapters_are_averaged_with_what_they_were_taught(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = adapter(tmp_path / "one", 1.0)
    other = adapter(tmp_path / "checkpoint" / "adapter", 4.0)
    profile = ModelProfile(languages=("en",), window=900)
    write_profile(other, profile)
    settings = [f"adapters=[{one},{tmp_path / 'checkpoint'}]", f"folder={tmp_path / 'mean'}"]
    main(["average", *settings, "weights=[0.5,0.25]"])
    assert "rank 1 keeps 100.0 %" in capsys.readouterr().out
    tensors = load_file(tmp_path / "mean" / "adapter_model.safetensors")
    product = tensors[NAME.format("B")] @ tensors[NAME.format("A")]
    assert torch.allclose(product, torch.full((3, 4), 1.5))
    assert read_profile(tmp_path / "mean") == profile


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        (["adapters=[{0}/one]"], "adapters"),
        (["adapters=[{0}/one,{0}/none]"], "adapters: no adapter_config.json in"),
        (["adapters=[{0}/one,{0}/one]", "weights=[1]"], "1 weight for 2 adapters"),
        (["adapters=[{0}/one,{0}/one]", "folder={0}/one"], "is one of the adapters"),
        (["adapters=[{0}/one,{0}/one]", "rank=0"], "rank"),
    ],
)
def test_what_cannot_be_averaged_is_one_line(
    settings: list[str], line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    adapter(tmp_path / "one", 1.0)
    given = [f"folder={tmp_path / 'mean'}", *(text.format(tmp_path) for text in settings)]
    with pytest.raises(SystemExit) as ended:
        main(["average", *given])
    shown = capsys.readouterr().err
    assert ended.value.code not in (0, None)
    assert line in shown
    assert len(shown.strip().splitlines()) == 1
    assert not (tmp_path / "mean").exists()
