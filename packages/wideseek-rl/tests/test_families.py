"""Tiny random models of each family against the transformers library."""

import json
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from safetensors.torch import (
    save_model as save_shared,  # pyright: ignore[reportUnknownVariableType]
)

from wideseek_core import CheckpointError
from wideseek_rl import OptimizerConfig, TorchTrainerConfig, TrainingSample
from wideseek_rl.batch.samples import TrainedTurn, build_samples
from wideseek_rl.models.decoder import Decoder
from wideseek_rl.models.open import TrainableModel, open_model
from wideseek_rl.models.transformers_model import TransformersModel
from wideseek_rl.testing import make_turn
from wideseek_rl.trainers.torch import TorchTrainer

transformers: Any = pytest.importorskip("transformers")
transformers.utils.logging.disable_progress_bar()
transformers.utils.logging.set_verbosity_error()

TINY = {
    "vocab_size": 61,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "eos_token_id": 2,
    "pad_token_id": 0,
    "bos_token_id": 1,
}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 10_000.0,
    "factor": 8.0,
    "original_max_position_embeddings": 16,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
}
LINEAR = {"rope_type": "linear", "rope_theta": 10_000.0, "factor": 4.0}
YARN = {
    "rope_type": "yarn",
    "rope_theta": 10_000.0,
    "factor": 4.0,
    "original_max_position_embeddings": 16,
}
OURS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("Llama", {"rms_norm_eps": 1e-5}),
    "smollm2": ("Llama", {"tie_word_embeddings": True, "head_dim": 16}),
    "llama with biases": ("Llama", {"attention_bias": True, "mlp_bias": True}),
    "llama3 rope": ("Llama", {"rope_parameters": LLAMA3}),
    "linear rope": ("Llama", {"rope_parameters": LINEAR}),
    "mistral": ("Mistral", {"sliding_window": None}),
    "mistral with a window": ("Mistral", {"sliding_window": 8}),
    "qwen2": ("Qwen2", {"tie_word_embeddings": True}),
    "qwen2 with a window": (
        "Qwen2",
        {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 1},
    ),
    "qwen3": ("Qwen3", {"head_dim": 16}),
    "qwen3 with biases": ("Qwen3", {"head_dim": 16, "attention_bias": True}),
    "yarn rope": ("Qwen3", {"head_dim": 16, "rope_parameters": YARN}),
}
THEIRS: dict[str, tuple[str, dict[str, Any]]] = {
    "qwen3 moe": (
        "Qwen3Moe",
        {
            "head_dim": 16,
            "num_experts": 4,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 24,
            "decoder_sparse_step": 1,
        },
    ),
    "gemma": ("Gemma", {"head_dim": 16}),
    "gemma2": ("Gemma2", {"head_dim": 16, "sliding_window": 8}),
}


def save_tiny(folder: Path, family: str, changes: dict[str, Any]) -> Any:
    """A random model of the library in a folder; also returned."""
    torch.manual_seed(0)  # pyright: ignore[reportUnknownMemberType]
    config = getattr(transformers, f"{family}Config")(**{**TINY, **changes})
    model = getattr(transformers, f"{family}ForCausalLM")(config).eval()
    with torch.no_grad():  # biases and norms that matter
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    model.save_pretrained(folder)
    return model


def reloaded(folder: Path) -> Any:
    return transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def logits(model: TrainableModel, ids: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return model.logits(model.hidden(ids, torch.full((len(ids),), ids.shape[1])))


def some_ids(rows: int = 2, width: int = 40) -> torch.Tensor:
    return torch.randint(3, 61, (rows, width), generator=torch.Generator().manual_seed(2))


def some_samples() -> list[TrainingSample]:
    turns = [
        make_turn([1, 9, 8, 7, 6], [4, 5, 2], logprob=-4.1),
        make_turn([1, 9, 8, 7, 6], [5, 2], logprob=-4.1),
        make_turn([1, 3], [6, 6, 2], logprob=-4.1),
    ]
    return [
        sample
        for turn, advantage in zip(turns, (1.0, -1.0, 0.5), strict=True)
        for sample in build_samples([TrainedTurn(turn=turn, weight=0.2, advantage=advantage)])
    ]


@pytest.mark.parametrize("name", OURS | THEIRS)
def test_a_published_model_trains_a_step_and_goes_back(tmp_path: Path, name: str) -> None:
    theirs = save_tiny(tmp_path / "theirs", *(OURS | THEIRS)[name])
    model = open_model(tmp_path / "theirs", "cpu", torch.float32)
    assert isinstance(model, Decoder if name in OURS else TransformersModel)
    ids = some_ids()
    with torch.no_grad():
        assert (logits(model, ids) - theirs(ids).logits).abs().max() < 1e-4
    config = TorchTrainerConfig(optimizer=OptimizerConfig(lr=1e-2))
    trainer = TorchTrainer(model, config)
    assert trainer.update(some_samples()).updates == 1
    trainer.save(tmp_path)
    again = reloaded(tmp_path / "model")
    with torch.no_grad():
        trained = again(ids).logits
    assert (logits(model, ids) - trained).abs().max() < 1e-4
    assert (trained - theirs(ids).logits).abs().max() > 1e-3
    resumed = TorchTrainer(open_model(tmp_path / "theirs", "cpu", torch.float32), config)
    resumed.load(tmp_path)
    assert (logits(resumed.model, ids) - trained).abs().max() < 1e-4


@pytest.mark.parametrize("name", ["smollm2", "qwen2", "mistral with a window"])
def test_gradients_equal_those_of_transformers(tmp_path: Path, name: str) -> None:
    theirs = save_tiny(tmp_path, *OURS[name])
    model = open_model(tmp_path, "cpu", torch.float32)
    ids = some_ids(1)
    torch.autograd.backward(theirs(ids).logits.logsumexp(-1).sum())
    torch.autograd.backward(model.logits(model.hidden(ids, torch.tensor([40]))).logsumexp(-1).sum())
    wanted = dict(theirs.named_parameters())
    for key, parameter in model.named_parameters():
        difference = (cast(torch.Tensor, parameter.grad) - wanted[key].grad).norm()
        assert difference < 1e-5 * wanted[key].grad.norm() + 1e-6, key


def test_a_tied_model_may_hold_its_head_alone(tmp_path: Path) -> None:
    theirs = save_tiny(tmp_path, *OURS["smollm2"])
    save_shared(theirs, str(tmp_path / "model.safetensors"))
    model = open_model(tmp_path, "cpu", torch.float32)
    with torch.no_grad():
        assert (logits(model, some_ids()) - theirs(some_ids()).logits).abs().max() < 1e-4


def test_other_rotary_embeddings_run_through_transformers(tmp_path: Path) -> None:
    theirs = save_tiny(tmp_path, "Llama", {})
    file = tmp_path / "config.json"
    raw = json.loads(file.read_text())
    raw["rope_parameters"] = {"rope_type": "dynamic", "rope_theta": 10_000.0, "factor": 2.0}
    file.write_text(json.dumps(raw))
    model = open_model(tmp_path, "cpu", torch.float32)
    assert isinstance(model, TransformersModel)
    with torch.no_grad():  # equal within the original context
        assert (logits(model, some_ids()) - theirs(some_ids()).logits).abs().max() < 1e-4


def test_a_model_that_nobody_knows_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"architectures": ["NoSuchModel"], "model_type": "x"}')
    with pytest.raises(CheckpointError, match="not loaded by transformers"):
        open_model(tmp_path, "cpu", torch.float32)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"eos_token_id": "</s>"}, "'</s>' is no token id"),
        ({"eos_token_id": [2, None]}, "is no token id"),
        ({"rope_parameters": {"rope_type": "llama3", "rope_theta": 1e4}}, "missing key 'factor'"),
    ],
)
def test_settings_that_cannot_be_meant_are_named(
    tmp_path: Path, values: dict[str, Any], reason: str
) -> None:
    save_tiny(tmp_path, "Llama", {})
    file = tmp_path / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | values))
    with pytest.raises(CheckpointError, match=reason):
        open_model(tmp_path, "cpu", torch.float32)


def test_an_end_id_of_another_type_is_named(tmp_path: Path) -> None:
    save_tiny(tmp_path, "Llama", {})
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": "</s>"}')
    with pytest.raises(CheckpointError, match=r"generation_config.json: eos_token_id: '</s>'"):
        open_model(tmp_path, "cpu", torch.float32)
