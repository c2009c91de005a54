"""Models that the transformers library computes: damaged folders, packing, passes made again."""

import json
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from safetensors.torch import (
    load_file,  # pyright: ignore[reportUnknownVariableType]
    save_file,  # pyright: ignore[reportUnknownVariableType]
)

from wideseek_core import CheckpointError, ConfigError
from wideseek_rl import TorchTrainerConfig
from wideseek_rl.models.lora_config import LoraConfig
from wideseek_rl.models.open import open_model
from wideseek_rl.models.policy import ModelConfig, PolicyModel
from wideseek_rl.testing import known, make_sample
from wideseek_rl.trainers.protocol import UpdateMetrics
from wideseek_rl.trainers.torch import TorchTrainer

transformers: Any = pytest.importorskip("transformers")
transformers.utils.logging.disable_progress_bar()
transformers.utils.logging.set_verbosity_error()

TINY = {
    "vocab_size": 61,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
}
MIXTRAL = TINY | {"intermediate_size": 24, "num_key_value_heads": 2, "num_local_experts": 2}
GPT2 = {"vocab_size": 61, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}
OPT = TINY | {"ffn_dim": 24, "word_embed_proj_dim": 32}


def save_tiny(folder: Path, family: str, settings: dict[str, Any], task: str = "CausalLM") -> None:
    torch.manual_seed(0)  # pyright: ignore[reportUnknownMemberType]
    config = getattr(transformers, f"{family}Config")(**settings)
    model = getattr(transformers, f"AutoModelFor{task}").from_config(config)
    model.save_pretrained(folder)


def change_config(folder: Path, **values: object) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def trained(folder: Path, **settings: Any) -> UpdateMetrics:
    trainer = TorchTrainer(
        open_model(folder, "cpu", torch.float32), TorchTrainerConfig.model_validate(settings)
    )
    samples = [make_sample(range(3, 15)), make_sample(range(40, 20, -2), advantage=-1.0)]
    return trainer.update(samples)


DAMAGE: dict[str, tuple[torch.Tensor | None, str]] = {
    "lm_head.weight": (None, "1 tensor missing, first 'lm_head.weight'"),
    "model.norm.weight": (None, "1 tensor missing, first 'model.norm.weight'"),
    "model.embed_tokens.weight": (torch.ones(60, 32), r"has shape \[60, 32\], expected \[61, 32\]"),
    "model.layers.0.input_layernorm.weight": (torch.full((32,), torch.nan), "not finite"),
}
"""What takes the place of a tensor, and what is said then."""


@pytest.mark.parametrize("name", DAMAGE)
def test_weights_that_are_not_all_there_are_named(tmp_path: Path, name: str) -> None:
    save_tiny(tmp_path, "Mixtral", MIXTRAL)
    file = tmp_path / "model.safetensors"
    tensors = load_file(file)
    given, reason = DAMAGE[name]
    del tensors[name]
    save_file(tensors if given is None else {**tensors, name: given}, file, {"format": "pt"})
    with pytest.raises(CheckpointError, match=reason):
        open_model(tmp_path, "cpu", torch.float32)


def test_a_classifier_has_no_head_to_sample_with(tmp_path: Path) -> None:
    settings = TINY | {"intermediate_size": 24}
    save_tiny(tmp_path, "Llama", settings, "SequenceClassification")
    with pytest.raises(CheckpointError, match=r"missing, first 'lm_head\.weight'"):
        open_model(tmp_path, "cpu", torch.float32)


@pytest.mark.parametrize("size", [0, 9, 5000])
def test_a_cut_off_file_is_one_clear_error(tmp_path: Path, size: int) -> None:
    save_tiny(tmp_path, "Mixtral", MIXTRAL)
    file = tmp_path / "model.safetensors"
    file.write_bytes(file.read_bytes()[:size])
    with pytest.raises(CheckpointError, match="not loaded by transformers: ") as error:
        open_model(tmp_path, "cpu", torch.float32)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "values",
    [
        {"vocab_size": "many"},
        {"rope_parameters": [1, 2]},
        {"hidden_act": None},
        {"eos_token_id": "</s>"},
    ],
)
def test_settings_of_another_type_are_one_clear_error(tmp_path: Path, values: Any) -> None:
    save_tiny(tmp_path, "Mixtral", MIXTRAL)
    change_config(tmp_path, **values)
    with pytest.raises(CheckpointError, match="not loaded by transformers: ") as error:
        open_model(tmp_path, "cpu", torch.float32)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("family", "settings"), [("GPT2", GPT2), ("OPT", OPT)])
def test_nothing_is_dropped_where_layers_are_computed_again(
    tmp_path: Path, family: str, settings: dict[str, Any]
) -> None:
    save_tiny(tmp_path, family, settings)
    plain, again = trained(tmp_path), trained(tmp_path, recompute="layer")
    assert known(again.grad_norm) == pytest.approx(known(plain.grad_norm), rel=1e-5)
    assert known(again.mismatch) == pytest.approx(known(plain.mismatch), rel=1e-5)


def test_models_that_mix_samples_of_a_sequence_run_in_rows(tmp_path: Path) -> None:
    save_tiny(tmp_path / "apart", "Mixtral", MIXTRAL)
    packed, rows = (trained(tmp_path / "apart", attention=kind) for kind in ("packed", "rows"))
    assert known(packed.grad_norm) == pytest.approx(known(rows.grad_norm), rel=1e-5)
    save_tiny(tmp_path / "mixed", "Mamba", {**TINY, "state_size": 4})
    assert trained(tmp_path / "mixed").updates == 1
    with pytest.raises(ConfigError, match=r"trainer.attention=packed: .* set rows"):
        trained(tmp_path / "mixed", attention="packed")


def test_adapters_of_a_mixture_of_experts_can_be_read_back(tmp_path: Path) -> None:
    pytest.importorskip("peft")
    save_tiny(tmp_path / "base", "Mixtral", MIXTRAL)
    lora = LoraConfig(rank=2, target_modules=("q_proj", "o_proj"))
    trainer = TorchTrainer(
        open_model(tmp_path / "base", "cpu", torch.float32), TorchTrainerConfig(lora=lora)
    )
    samples = [make_sample(range(3, 15))]
    trainer.update(samples)
    trainer.save(tmp_path)
    settings = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert settings["target_modules"] == ["o_proj", "q_proj"]
    assert settings["target_parameters"] is None
    policy = ModelConfig(model=str(tmp_path / "base"), adapter=tmp_path, device="cpu")
    merged = TorchTrainer(PolicyModel(policy).module, TorchTrainerConfig())
    (wanted,), (found,) = trainer.logprobs(samples), merged.logprobs(samples)
    assert found.tolist() == pytest.approx(wanted.tolist(), abs=1e-5)


@pytest.mark.parametrize("adapted", [False, True])
def test_servers_get_what_a_checkpoint_holds(tmp_path: Path, adapted: bool) -> None:
    save_tiny(tmp_path / "base", "Mixtral", MIXTRAL)
    lora = LoraConfig(rank=2, target_modules=("q_proj",)) if adapted else None
    if adapted:
        pytest.importorskip("peft")
    trainer = TorchTrainer(
        open_model(tmp_path / "base", "cpu", torch.float32), TorchTrainerConfig(lora=lora)
    )
    trainer.update([make_sample(range(3, 15))])
    trainer.save(tmp_path)
    saved = load_file(tmp_path / "model" / "model.safetensors")
    sent = list(trainer.weights.tensors())
    described = [(info.name, info.shape) for info in trainer.weights.metadata()]
    assert described == [(name, tuple(tensor.shape)) for name, tensor in sent]
    assert {name for name, _ in sent} == set(saved)
    assert "model.layers.0.block_sparse_moe.experts.1.w2.weight" in saved
    assert all(torch.equal(tensor, saved[name]) for name, tensor in sent)


@pytest.mark.parametrize("family", ["Mixtral", "Llama"])
def test_layers_that_are_computed_again_compute_as_they_did(tmp_path: Path, family: str) -> None:
    """A kernel that is compiled for other settings may keep other tensors, which is an error."""
    import torch._functorch.config

    compiler: Any = torch._functorch.config  # pyright: ignore[reportPrivateUsage]
    save_tiny(tmp_path, family, MIXTRAL if family == "Mixtral" else TINY)
    model = open_model(tmp_path, "cpu", torch.float32)
    config = TorchTrainerConfig(matmul="high", recompute="layer", compile=family == "Mixtral")
    trainer = TorchTrainer(model, config)
    seen: list[tuple[str, float]] = []

    def look(*_: object) -> None:
        seen.append((torch.get_float32_matmul_precision(), compiler.activation_memory_budget))

    modules: Any = cast(Any, model).named_modules()
    norms = [module for name, module in modules if name.endswith("input_layernorm")]
    for norm in norms:
        norm.register_forward_pre_hook(look)
    trainer.update([make_sample(range(3, 15))])
    assert len(norms) == 2
    assert seen == [("high", 1.0)] * 4
    assert torch.get_float32_matmul_precision() == "highest"
