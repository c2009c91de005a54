"""LoRA adapters: what trains, what is saved, what an engine gets, how a run resumes."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file, save_file  # pyright: ignore[reportUnknownVariableType]
from torch import Tensor

from wideseek_core import CheckpointError, ConfigError
from wideseek_rl import (
    DemoSet,
    LossConfig,
    OptimizerConfig,
    SFTConfig,
    TorchTrainerConfig,
    TrainedTurn,
    TrainingSample,
    build_samples,
    open_trainer,
)
from wideseek_rl.engines.builtin.config import BuiltinEngineConfig
from wideseek_rl.engines.builtin.engine import TorchEngine
from wideseek_rl.models.decoder import Decoder
from wideseek_rl.models.hf_format import save_model
from wideseek_rl.models.lora_config import LoraConfig
from wideseek_rl.models.open import TrainableModel, network, open_model
from wideseek_rl.models.policy import ModelConfig, PolicyModel
from wideseek_rl.models.transformers_model import wrap
from wideseek_rl.sync.in_process import InProcessSync
from wideseek_rl.testing import known, make_turn, tiny_model
from wideseek_rl.trainers.sft import held_out_loss, train_on_demos
from wideseek_rl.trainers.torch import TorchTrainer

peft: Any = pytest.importorskip("peft")
transformers: Any = pytest.importorskip("transformers")
transformers.utils.logging.disable_progress_bar()
transformers.utils.logging.set_verbosity_error()

LORA = LoraConfig(rank=3, alpha=6, target_modules=("q_proj", "down_proj"))
OPTIMIZER = OptimizerConfig(lr=1e-2, eps=1e-8, weight_decay=0)
IDS = torch.tensor([[3, 7, 5, 11, 2, 9, 4, 13]])


def config(lora: LoraConfig | None = LORA, **changes: Any) -> TorchTrainerConfig:
    return TorchTrainerConfig(optimizer=OPTIMIZER, lora=lora, **changes)


def samples() -> list[TrainingSample]:
    turns = [
        TrainedTurn(
            turn=make_turn([3, 7, 5, 11 + at], [2, 9, 4, 13], logprob=-2.8),
            weight=0.1,
            advantage=advantage,
        )
        for at, advantage in enumerate((1.0, -0.5))
    ]
    parts = [build_samples([turn], group=at) for at, turn in enumerate(turns)]
    return [sample for part in parts for sample in part]


def base_folder(folder: Path, kind: str = "decoder") -> Path:
    """A tiny model folder that our decoder computes, or transformers."""
    if kind == "decoder":
        save_model(tiny_model(), folder, None)
        return folder
    transformers.set_seed(0)
    shape: dict[str, Any] = {
        "vocab_size": 17,
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 8,
        "max_position_embeddings": 64,
    }
    inner = transformers.Gemma2ForCausalLM(transformers.Gemma2Config(**shape))
    inner.save_pretrained(folder)
    return folder


def trainer_of(folder: Path, settings: TorchTrainerConfig, **parts: Any) -> TorchTrainer:
    dtype = parts.pop("dtype", torch.float32)
    return TorchTrainer(open_model(folder, "cpu", dtype), settings, **parts)


@torch.no_grad()
def logits(model: TrainableModel) -> Tensor:
    lengths = torch.tensor([IDS.shape[1]])
    return model.logits(model.hidden(IDS, lengths))


def plain(trainer: TorchTrainer) -> dict[str, Tensor]:
    return dict(trainer.weights.tensors())


@pytest.mark.parametrize("kind", ["decoder", "transformers"])
def test_an_update_changes_the_adapters_alone(tmp_path: Path, kind: str) -> None:
    base = base_folder(tmp_path / "base", kind)
    before = dict(network(open_model(base, "cpu", torch.float32)).named_parameters())
    trainer = trainer_of(base, config())
    for name, tensor in plain(trainer).items():  # new adapters change nothing
        assert torch.equal(tensor, before[name]), name
    metrics = trainer.update(samples())
    assert metrics.updates == 1
    assert known(metrics.changed) > 0.9
    after = plain(trainer)
    assert list(after) == list(before)
    changed = {name for name in after if not torch.equal(after[name], before[name])}
    assert changed == {name for name in before if "q_proj" in name or "down_proj" in name}
    module = network(trainer.model)
    for name, parameter in module.named_parameters():
        assert parameter.requires_grad == (".lora_" in name)
        if not parameter.requires_grad:
            assert torch.equal(parameter, before[name.replace(".base_layer", "")])
    merged = {info.name: info.shape for info in trainer.weights.metadata()}
    assert merged == {name: tuple(tensor.shape) for name, tensor in before.items()}


@pytest.mark.parametrize("kind", ["decoder", "transformers"])
def test_a_checkpoint_loads_in_peft_and_merged_in_transformers(tmp_path: Path, kind: str) -> None:
    base = base_folder(tmp_path / "base", kind)
    trainer = trainer_of(base, config())
    trainer.update(samples())
    trainer.update(samples())
    wanted = logits(trainer.model)
    trainer.save(tmp_path)
    merged = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    assert torch.allclose(merged(input_ids=IDS).logits, wanted, atol=1e-5)
    model = transformers.AutoModelForCausalLM.from_pretrained(base)
    adapted = peft.PeftModel.from_pretrained(model, tmp_path / "adapter")
    assert torch.allclose(adapted(input_ids=IDS).logits, wanted, atol=1e-5)
    ours = PolicyModel(ModelConfig(model=str(base), adapter=tmp_path, device="cpu"))
    assert torch.allclose(logits(ours.module), wanted, atol=1e-5)
    assert all(parameter.requires_grad for parameter in ours.module.parameters())


def test_a_library_adapter_is_merged_and_trained_further(tmp_path: Path) -> None:
    base = base_folder(tmp_path / "base")
    transformers.set_seed(1)
    library = peft.get_peft_model(
        transformers.AutoModelForCausalLM.from_pretrained(base),
        peft.LoraConfig(
            r=3,
            lora_alpha=6,
            target_modules=["q_proj", "down_proj"],
            init_lora_weights=False,
            use_rslora=True,
        ),
    )
    library.save_pretrained(tmp_path / "library")
    wanted = library(input_ids=IDS).logits
    model = PolicyModel(ModelConfig(model=str(base), adapter=tmp_path / "library", device="cpu"))
    assert torch.allclose(logits(model.module), wanted, atol=1e-5)
    loss = LossConfig(kl=0.1)
    trainer = trainer_of(base, config(), loss=loss, adapter=model.adapter)
    assert torch.allclose(logits(trainer.model), wanted, atol=1e-5)
    first, second = trainer.update(samples()), trainer.update(samples())
    assert first.reference_kl == pytest.approx(0, abs=1e-6)  # the reference has the adapter too
    assert known(second.reference_kl) > 1e-6
    trainer.save(tmp_path)
    assert json.loads((tmp_path / "adapter/adapter_config.json").read_text())["use_rslora"] is True


def test_the_weights_stay_bfloat16_and_the_adapters_are_float32(tmp_path: Path) -> None:
    base = base_folder(tmp_path / "base")
    trainer = trainer_of(base, config(), dtype=torch.bfloat16)
    trainer.update(samples())
    kinds = {name: p.dtype for name, p in trainer.model.named_parameters()}
    assert {kind for name, kind in kinds.items() if ".lora_" in name} == {torch.float32}
    assert {kind for name, kind in kinds.items() if ".lora_" not in name} == {torch.bfloat16}
    assert {tensor.dtype for tensor in plain(trainer).values()} == {torch.bfloat16}
    trainer.save(tmp_path)
    adapter = load_file(tmp_path / "adapter/adapter_model.safetensors")
    assert {tensor.dtype for tensor in adapter.values()} == {torch.float32}
    name = "model.layers.0.self_attn.q_proj"
    up, down = (adapter[f"base_model.model.{name}.lora_{side}.weight"] for side in "BA")
    raw = load_file(base / "model.safetensors")[f"{name}.weight"].bfloat16()
    wanted = (raw.float() + up @ down * 2).bfloat16()
    assert torch.equal(plain(trainer)[f"{name}.weight"], wanted)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_a_resumed_run_continues_exactly(tmp_path: Path, dropout: float) -> None:
    base = base_folder(tmp_path / "base")
    settings = config(LORA.model_copy(update={"dropout": dropout}), updates_per_step=2)
    loss = LossConfig(kl=0.1)
    straight = trainer_of(base, settings, loss=loss)
    straight.update(samples())
    straight.save(tmp_path)
    resumed = trainer_of(base, settings, loss=loss)
    resumed.load(tmp_path)
    found: list[dict[str, Any]] = []
    for number, trainer in enumerate((straight, resumed)):
        transformers.set_seed(number)  # what others draw has no influence
        found.append(asdict(trainer.update(samples())) | {"seconds": 0})
    assert found[0] == found[1]
    for name, tensor in plain(straight).items():
        assert torch.equal(tensor, plain(resumed)[name]), name


def test_inputs_are_dropped_in_updates_alone(tmp_path: Path) -> None:
    base = base_folder(tmp_path / "base")
    trainers = [
        trainer_of(base, config(LORA.model_copy(update={"dropout": value}))) for value in (0, 0.5)
    ]
    for trainer in trainers:
        trainer.update(samples())
        trainer.update(samples())
    exact, dropped = (plain(trainer) for trainer in trainers)
    assert any(not torch.equal(exact[name], dropped[name]) for name in exact)
    first, again = trainers[1].logprobs(samples()), trainers[1].logprobs(samples())
    assert all((one == two).all() for one, two in zip(first, again, strict=True))


async def test_an_engine_of_this_process_samples_with_merged_weights(tmp_path: Path) -> None:
    base = base_folder(tmp_path / "base")
    tokenizer(base)
    model = PolicyModel(ModelConfig(model=str(base), device="cpu"))
    module = model.module
    assert isinstance(module, Decoder)
    engine = TorchEngine(module, BuiltinEngineConfig())
    before = {name: tensor.clone() for name, tensor in model.module.state_dict().items()}
    async with open_trainer(config(), LossConfig(), model) as trainer:
        sync = InProcessSync(engine, trainer.weights)
        for version in (1, 2):
            async with sync.updating() as commit:
                await trainer.update(samples())
                commit(version)
        wanted = dict(trainer.weights.tensors())
        await trainer.save(tmp_path)
    assert engine.version == 2
    found = model.module.state_dict()
    assert all(torch.equal(found[name], wanted[name]) for name in found)
    name = "model.layers.0.self_attn.q_proj.weight"
    assert not torch.equal(found[name], before[name])
    # What was trained sits on the weights that were given, not on those merged before.
    again = PolicyModel(ModelConfig(model=str(base), adapter=tmp_path / "adapter", device="cpu"))
    assert torch.equal(again.module.state_dict()[name], wanted[name])


def test_servers_are_given_a_folder_with_the_adapter_merged(tmp_path: Path) -> None:
    base = base_folder(tmp_path / "base")
    assert PolicyModel(ModelConfig(model=str(base))).complete_folder == base
    trainer = trainer_of(base, config())
    trainer.update(samples())
    trainer.save(tmp_path)
    tokenizer(base)
    model = PolicyModel(ModelConfig(model=str(base), adapter=tmp_path / "adapter"))
    found = load_file(model.complete_folder / "model.safetensors")
    assert all(torch.equal(found[name], tensor) for name, tensor in plain(trainer).items())
    assert (model.complete_folder / "tokenizer.json").is_file()


def tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("{}", "utf-8")


def test_demonstrations_train_adapters_too() -> None:
    demos = DemoSet.from_rows(
        ([(start + n) % 16 + 1 for n in range(8)], [n >= 4 for n in range(8)])
        for start in range(40)
    )
    lora = LoraConfig(rank=4, alpha=8, dropout=0.05)
    settings = SFTConfig(
        optimizer=OptimizerConfig(lr=2e-2, eps=1e-8), epochs=40, batch_tokens=80, lora=lora
    )
    model = tiny_model()
    before = {name: p.clone() for name, p in model.named_parameters()}
    start = held_out_loss(model, demos, settings)
    train_on_demos(model, demos, settings)
    assert held_out_loss(model, demos, settings) < start - 0.2
    for name, parameter in model.named_parameters():
        if ".lora_" not in name:
            assert torch.equal(parameter, before[name.replace(".base_layer", "")])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"target_modules": ("q_proj", "qkv_proj")},
            "no linear layer 'qkv_proj'; it has down_proj",
        ),
        ({"rank": 4}, "lora.rank is 4, but 3 in"),
        ({"alpha": 3.5}, "lora.alpha is 3.5, but 6 in"),
        ({"target_modules": ("q_proj",)}, "of other layers, say model.layers.0.mlp.down_proj"),
    ],
)
def test_what_does_not_fit_the_model_or_the_adapter_is_one_line(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    base = base_folder(tmp_path / "base")
    trainer_of(base, config()).save(tmp_path)
    lora = LORA.model_copy(update=changes)
    start = None if "qkv_proj" in lora.target_modules else tmp_path / "adapter"
    with pytest.raises(ConfigError, match=message):
        trainer_of(base, config(lora), adapter=start)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"use_dora": True}, "use_dora=True is not supported"),
        ({"bias": "all"}, "bias='all' is not supported"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save="),
        ({"peft_type": "IA3"}, "peft_type is 'IA3', not LORA"),
        ({"r": 2}, "has shape"),
        ({"target_modules": ["q_proj"]}, "unknown tensor"),
        ({"target_modules": ["q_proj", "down_proj", "up_proj"]}, "no tensor"),
        ({"target_modules": ["nothing"]}, "not for this model"),
        ({"r": "many"}, "adapter_config.json"),
    ],
)
def test_a_strange_adapter_is_refused(
    tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    base = base_folder(tmp_path / "base")
    trainer_of(base, config()).save(tmp_path)
    file = tmp_path / "adapter/adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | settings))
    model = PolicyModel(ModelConfig(model=str(base), adapter=tmp_path, device="cpu"))
    with pytest.raises(CheckpointError, match=message):
        _ = model.module


def test_damaged_adapters_are_refused(tmp_path: Path) -> None:
    base = base_folder(tmp_path / "base")
    trainer = trainer_of(base, config())
    trainer.save(tmp_path)
    file = tmp_path / "adapter/adapter_model.safetensors"
    tensors = load_file(file)
    tensors["base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"][0, 0] = torch.nan
    save_file(tensors, file)
    with pytest.raises(CheckpointError, match="not finite"):
        trainer.load(tmp_path)
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(CheckpointError, match="not a whole safetensors file"):
        trainer.load(tmp_path)
    file.unlink()
    with pytest.raises(CheckpointError, match="no such file"):
        trainer.load(tmp_path)
    with pytest.raises(ConfigError, match=r"policy.adapter: no adapter_config.json in"):
        PolicyModel(ModelConfig(model=str(base), adapter=base))


def test_settings_that_exclude_each_other_are_refused() -> None:
    with pytest.raises(ValidationError, match="can't have an adapter"):
        LoraConfig(target_modules=("q_proj", "lm_head"))
    with pytest.raises(ValidationError, match=r"set lora.dropout=0 or recompute=none"):
        config(LoraConfig(dropout=0.1), recompute="mlp")


def test_wrapped_models_name_their_layers_as_the_checkpoint_does(tmp_path: Path) -> None:
    base = base_folder(tmp_path / "base", "transformers")
    trainer = trainer_of(base, config())
    trainer.save(tmp_path)
    names = load_file(tmp_path / "adapter/adapter_model.safetensors")
    assert all(name.startswith("base_model.model.model.layers.") for name in names)
    inner = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    assert torch.allclose(logits(wrap(inner, tmp_path / "model")), logits(trainer.model), atol=1e-6)
