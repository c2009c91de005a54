import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file  # pyright: ignore[reportUnknownVariableType]

from wideseek_core import CheckpointError
from wideseek_rl.models.config import DecoderConfig, RopeConfig
from wideseek_rl.models.decoder import Decoder, Layer, new_model
from wideseek_rl.models.hf_config import config_from_json, config_to_json
from wideseek_rl.models.hf_format import load_model, read_config, save_model
from wideseek_rl.models.ops import linear


def shape(**changes: Any) -> DecoderConfig:
    settings: dict[str, Any] = {
        "vocab_size": 61,
        "hidden_size": 32,
        "layers": 2,
        "heads": 4,
        "kv_heads": 2,
        "head_dim": 16,
        "ffn_size": 48,
        "eos_ids": (2,),
        "pad_id": 0,
    }
    return DecoderConfig(**{**settings, **changes})


def uneven(config: DecoderConfig) -> Decoder:
    """A model whose norms matter."""
    model = new_model(config, 0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return model


def logits(model: Decoder, ids: torch.Tensor, lengths: list[int]) -> torch.Tensor:
    with torch.no_grad():
        return model.logits(model.hidden(ids, torch.tensor(lengths)))


@pytest.mark.parametrize("tied", [True, False])
def test_logits_equal_those_of_transformers(tmp_path: Path, tied: bool) -> None:
    transformers: Any = pytest.importorskip("transformers")
    model = uneven(shape(tied_embeddings=tied, rope=RopeConfig(theta=50_000.0)))
    save_model(model, tmp_path / "ours", None)
    transformers.utils.logging.disable_progress_bar()
    theirs = transformers.Qwen3ForCausalLM.from_pretrained(tmp_path / "ours", dtype=torch.float32)
    ids = torch.randint(0, 61, (3, 40), generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        wanted = theirs(ids).logits
    assert (logits(model, ids, [40, 40, 40]) - wanted).abs().max() < 1e-4
    theirs.save_pretrained(tmp_path / "theirs")
    again = load_model(tmp_path / "theirs", "cpu", torch.float32)
    assert again.config == model.config
    assert torch.equal(logits(again, ids, [40] * 3), logits(model, ids, [40] * 3))


def test_padding_does_not_change_real_positions() -> None:
    model = uneven(shape())
    ids = torch.randint(3, 61, (2, 12), generator=torch.Generator().manual_seed(2))
    padded = ids.clone()
    padded[1, 7:] = 0
    alone = logits(model, ids[1:, :7], [7])
    together = logits(model, padded, [12, 7])
    assert (together[1, :7] - alone[0]).abs().max() < 1e-5
    assert together[1, 7:].abs().max() == 0


def test_a_later_token_does_not_change_earlier_positions() -> None:
    model = uneven(shape())
    ids = torch.randint(3, 61, (1, 12), generator=torch.Generator().manual_seed(2))
    other = ids.clone()
    other[0, 8] = (ids[0, 8] + 1) % 61
    difference = (logits(model, ids, [12]) - logits(model, other, [12])).abs().amax(-1)[0]
    assert difference[:8].max() == 0
    assert difference[8:].min() > 1e-4


def test_recomputing_layers_gives_the_same_gradients() -> None:
    ids = torch.randint(3, 61, (2, 9), generator=torch.Generator().manual_seed(2))
    gradients: list[list[torch.Tensor]] = []
    for recompute in ("none", "cheap", "mlp", "layer", "mixed"):
        model = uneven(shape())
        model.recompute(recompute)
        hidden = model.hidden(ids, torch.tensor([9, 5]))
        torch.autograd.backward(model.logits(hidden).logsumexp(-1).sum())
        gradients.append([p.grad for p in model.parameters() if p.grad is not None])
    kept = gradients[0]
    assert len(kept) > 0
    for recomputed in gradients[1:]:
        assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(kept, recomputed, strict=True))


@pytest.mark.parametrize(
    ("every", "again"),
    [(1, [0, 1, 2, 3, 4, 5]), (2, [0, 2, 4]), (2.5, [0, 3, 5]), (3, [0, 3]), (9, [0])],
)
def test_every_nth_layer_is_computed_again(every: float, again: list[int]) -> None:
    model = Decoder(shape(layers=6))
    model.recompute("mlp", every=every)
    layers = [cast(Layer, layer) for layer in model.model.layers]
    assert [n for n, layer in enumerate(layers) if layer.recompute == "mlp"] == again
    model.recompute("mixed", every=every)
    whole = [0, 2, 4] if every == 1 else again
    kinds = ["layer" if number in whole else "mlp" for number in range(6)]
    assert [layer.recompute for layer in layers] == kinds


def test_products_and_their_gradients_equal_those_of_torch() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, 5, 24, generator=generator, requires_grad=True)
    weight = torch.randn(40, 24, generator=generator, requires_grad=True)
    factor = torch.randn(3, 5, 40, generator=generator)
    ours = torch.autograd.grad((linear(x, weight) * factor).sum(), (x, weight))
    wanted = torch.autograd.grad((F.linear(x, weight) * factor).sum(), (x, weight))
    assert torch.allclose(linear(x, weight), F.linear(x, weight), atol=1e-5)
    assert all(torch.allclose(a, b, atol=1e-4) for a, b in zip(ours, wanted, strict=True))


def test_one_seed_makes_one_model() -> None:
    first, same, other = (new_model(shape(), seed).output_weight for seed in (1, 1, 2))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)
    assert 0.018 < first.std().item() < 0.022


@pytest.mark.parametrize(
    "wrong", [{"heads": 3}, {"head_dim": 15}, {"layers": 0}, {"vocab_size": -1}]
)
def test_impossible_shapes_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"head|size"):
        shape(**wrong)


@pytest.mark.parametrize("eos", [(), (2,), (2, 5)])
def test_configs_survive_writing_and_reading(eos: tuple[int, ...]) -> None:
    config = shape(eos_ids=eos, rope=RopeConfig(theta=1e6), tied_embeddings=False)
    assert config_from_json(config_to_json(config, "float32")) == config


def test_both_spellings_of_the_rotary_base_are_read() -> None:
    older = config_to_json(shape(rope=RopeConfig(theta=123.0)), "float32")
    newer = dict(older)
    del older["rope_parameters"], newer["rope_theta"]
    assert config_from_json(older).rope.theta == config_from_json(newer).rope.theta == 123.0


def test_end_ids_of_the_generation_config_count_too(tmp_path: Path) -> None:
    save_model(new_model(shape(), 0), tmp_path / "m", None)
    (tmp_path / "m/generation_config.json").write_text('{"eos_token_id": [7, 2]}')
    assert read_config(tmp_path / "m").eos_ids == (2, 7)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"architectures": ["GemmaForCausalLM"]}, "GemmaForCausalLM"),
        ({"hidden_size": None}, "config.json"),
        ({"hidden_act": "gelu"}, "hidden_act"),
        ({"quantization_config": {}}, "quantization_config"),
        ({"rope_parameters": {"rope_type": "longrope", "rope_theta": 1.0}}, "longrope"),
        ({"num_key_value_heads": 3}, "3 key-value heads"),
    ],
)
def test_configs_that_are_not_supported_are_refused(
    tmp_path: Path, change: dict[str, Any], reason: str
) -> None:
    save_model(new_model(shape(), 0), tmp_path / "m", None)
    file = tmp_path / "m/config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    with pytest.raises(CheckpointError, match=reason):
        load_model(tmp_path / "m", "cpu", torch.float32)


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "qwen3"}')
    with pytest.raises(CheckpointError, match=r"config\.json: missing key 'num_attention_heads'"):
        read_config(tmp_path)


def test_a_saved_model_is_loaded_unchanged_with_its_tokenizer(tmp_path: Path) -> None:
    model = uneven(shape())
    source = tmp_path / "source"
    source.mkdir()
    (source / "tokenizer.json").write_text("{}")
    (source / "chat_template.jinja").write_text("hello")
    (source / "wideseek-prompts/mine/en").mkdir(parents=True)
    (source / "wideseek-prompts/mine/en/lead.md").write_text("You lead.")
    for _ in range(2):  # the second time over what is there
        save_model(model, tmp_path / "m", source / "tokenizer.json")
    again = load_model(tmp_path / "m", "cpu", torch.float32)
    assert again.config == model.config
    assert all(
        torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True)
    )
    assert all(parameter.requires_grad for parameter in again.parameters())
    assert (tmp_path / "m/chat_template.jinja").read_text() == "hello"
    assert (tmp_path / "m/wideseek-prompts/mine/en/lead.md").read_text() == "You lead."
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m", "source"]


def test_a_failed_save_leaves_the_old_model(tmp_path: Path) -> None:
    save_model(new_model(shape(), 0), tmp_path / "m", None)
    before = (tmp_path / "m/model.safetensors").read_bytes()
    with pytest.raises(CheckpointError, match="no such tokenizer"):
        save_model(new_model(shape(), 1), tmp_path / "m", tmp_path / "none.json")
    assert (tmp_path / "m/model.safetensors").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_weights_can_be_saved_in_half_the_size(tmp_path: Path) -> None:
    model = new_model(shape(), 0)
    save_model(model, tmp_path / "m", None, torch.bfloat16)
    again = load_model(tmp_path / "m", "cpu", torch.float32)
    assert torch.equal(again.output_weight, model.output_weight.bfloat16().float())
    assert json.loads((tmp_path / "m/config.json").read_text())["torch_dtype"] == "bfloat16"


def sharded(folder: Path) -> dict[str, torch.Tensor]:
    """Turns a saved model into two shards and an index; returns its tensors."""
    tensors = dict(new_model(shape(), 0).state_dict())
    (folder / "model.safetensors").unlink()
    names = sorted(tensors)
    halves = {"a.safetensors": names[:9], "b.safetensors": names[9:]}
    for file, part in halves.items():
        save_file({name: tensors[name] for name in part}, folder / file)
    index = {name: file for file, part in halves.items() for name in part}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    return tensors


def test_sharded_weights_are_read(tmp_path: Path) -> None:
    save_model(new_model(shape(), 0), tmp_path, None)
    tensors = sharded(tmp_path)
    loaded = load_model(tmp_path, "cpu", torch.float32).state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in tensors.items())
    (tmp_path / "b.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"no such file: .*b\.safetensors"):
        load_model(tmp_path, "cpu", torch.float32)


def test_truncated_weights_are_refused(tmp_path: Path) -> None:
    save_model(new_model(shape(), 0), tmp_path / "m", None)
    file = tmp_path / "m/model.safetensors"
    whole = file.read_bytes()
    for length in (0, 5, 200, len(whole) - 1):
        file.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match=r"model\.safetensors: not a whole"):
            load_model(tmp_path / "m", "cpu", torch.float32)


def test_weights_of_another_shape_or_name_are_refused(tmp_path: Path) -> None:
    save_model(new_model(shape(), 0), tmp_path / "m", None)
    save_model(new_model(shape(ffn_size=64), 0), tmp_path / "wide", None)
    save_model(new_model(shape(layers=3), 0), tmp_path / "deep", None)
    for other, reason in (("wide", r"\[32, 64\].*\[32, 48\]"), ("deep", r"unknown.*layers\.2")):
        shutil.copy(tmp_path / other / "model.safetensors", tmp_path / "m")
        with pytest.raises(CheckpointError, match=reason):
            load_model(tmp_path / "m", "cpu", torch.float32)
    shutil.copy(tmp_path / "m/config.json", tmp_path / "m/kept.json")
    shutil.copy(tmp_path / "deep/config.json", tmp_path / "m")
    save_model(new_model(shape(), 0), tmp_path / "short", None)
    shutil.copy(tmp_path / "short/model.safetensors", tmp_path / "m")
    with pytest.raises(CheckpointError, match=r"11 tensors missing, first 'model\.layers\.2"):
        load_model(tmp_path / "m", "cpu", torch.float32)


@pytest.mark.parametrize("text", ["", "[1]", "{", '{"a": '])
def test_a_config_that_is_not_json_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"config\.json"):
        read_config(tmp_path)
    with pytest.raises(CheckpointError, match="no such file"):
        read_config(tmp_path / "none")


def test_loading_a_model_does_not_load_torchs_compiler(tmp_path: Path) -> None:
    save_model(new_model(shape(), 0), tmp_path / "model", None)
    script = """
import pathlib, sys, torch
from wideseek_rl.models.hf_format import load_model
before = set(sys.modules)
load_model(pathlib.Path(sys.argv[1]), "cpu", torch.float32)
sys.exit("torch._dynamo" in set(sys.modules) - before)
"""
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "model")], check=True)
