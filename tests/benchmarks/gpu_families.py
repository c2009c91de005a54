"""Tiny random models of many families on a GPU against the CPU; JSON lines on stdout and in $OUT.

`python tests/benchmarks/gpu_families.py [FAMILY...]` writes a checkpoint of each family, updates it
once in float32 on the CPU, in rows and with nothing computed again, and then on the GPU in rows and
packed, with and without layers that are computed again, in float32, with TF32 and in bfloat16.
`difference` is that of the gradient's norm, relative to the CPU's; what fails has an `error`. The
exit status is 1 if a difference in float32 exceeds one part in a thousand, or anything failed.
"""

import gc
import json
import math
import os
import sys
import tempfile
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from wideseek_rl import TorchTrainerConfig
from wideseek_rl.batch.samples import TrainingSample
from wideseek_rl.models.open import open_model
from wideseek_rl.testing import known
from wideseek_rl.trainers.torch import TorchTrainer

VOCABULARY = 311
SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 1024,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 48}
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("Llama", {}),
    "qwen2": ("Qwen2", {}),
    "qwen3": ("Qwen3", {"head_dim": 16}),
    "qwen3 moe": ("Qwen3Moe", {**EXPERTS, "head_dim": 16, "decoder_sparse_step": 1}),
    "mixtral": ("Mixtral", {"num_local_experts": 4}),
    "gemma": ("Gemma", {"head_dim": 16}),
    "gemma2": ("Gemma2", {"head_dim": 16, "sliding_window": 64}),
    "gemma3": ("Gemma3Text", {"head_dim": 16, "sliding_window": 64}),
    "phi3": ("Phi3", {}),
    "olmo2": ("Olmo2", {}),
    "granite": ("Granite", {"attention_multiplier": 0.25}),
    "gpt2": ("GPT2", {"n_embd": 64, "n_layer": 4, "n_head": 4, "n_positions": 1024}),
}
LENGTHS = (500, 131, 257)
WAYS = [
    *product((torch.float32,), ("rows", "packed"), ("none", "layer"), ("highest",)),
    (torch.float32, "packed", "layer", "high"),
    *product((torch.bfloat16,), ("packed",), ("none", "layer"), ("highest",)),
]
TOLERANCE = 1e-3


def report(**values: object) -> None:
    """One line of JSON."""
    line = json.dumps(values)
    print(line, flush=True)  # noqa: T201
    if "OUT" in os.environ:
        with Path(os.environ["OUT"], "families.jsonl").open("a") as file:
            file.write(line + "\n")


def save(folder: Path, family: str, settings: dict[str, Any]) -> None:
    """Random weights, larger than the library's, so that attention is not the same everywhere."""
    library: Any = transformers
    torch.manual_seed(0)  # pyright: ignore[reportUnknownMemberType]
    own = {name: value for name, value in SIZES.items() if family != "GPT2" or "token" in name}
    config = getattr(library, f"{family}Config")(**own | {"vocab_size": VOCABULARY} | settings)
    model = library.AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(std=0.1)
    model.save_pretrained(folder)


def samples() -> list[TrainingSample]:
    """Random tokens of which the second half trains."""
    rng = np.random.default_rng(0)
    found: list[TrainingSample] = []
    for number, length in enumerate(LENGTHS):
        weights = np.zeros(length, dtype=np.float32)
        weights[length // 2 :] = 1 / sum(LENGTHS)
        found.append(
            TrainingSample(
                ids=rng.integers(3, VOCABULARY, length, dtype=np.int32),
                weights=weights,
                advantages=np.full(length, 1.0 - number, dtype=np.float32),
                logprobs=np.full(length, -math.log(VOCABULARY), dtype=np.float32),
                group=number,
            )
        )
    return found


def gradient_norm(folder: Path, device: str, dtype: torch.dtype, **settings: Any) -> float:
    """Of two updates, so that a second pass through compiled kernels is made."""
    model = open_model(folder, device, dtype)
    trainer = TorchTrainer(
        model, TorchTrainerConfig.model_validate({"max_batch_tokens": 1024, **settings})
    )
    norm = known(trainer.update(samples()).grad_norm)
    trainer.update(samples())
    return norm


def measure(family: str, device: str) -> float:
    """Reports every way to train a family; the largest difference in float32, or infinity."""
    worst = 0.0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save(folder, *FAMILIES[family])
        exact = gradient_norm(folder, "cpu", torch.float32, attention="rows", compile=False)
        for dtype, attention, recompute, matmul in WAYS:
            kind = str(dtype).removeprefix("torch.")
            how = {"attention": attention, "recompute": recompute, "matmul": matmul}
            try:
                found = gradient_norm(folder, device, dtype, **how)
            except Exception as error:  # noqa: BLE001 of whatever library, and reported
                found, how["error"] = math.inf, f"{type(error).__name__}: {str(error)[:400]}"
            difference = abs(found / exact - 1)
            if (dtype == torch.float32 and matmul == "highest") or not math.isfinite(difference):
                worst = max(worst, difference)
            report(family=family, dtype=kind, **how, difference=float(f"{difference:.2g}"))
    gc.collect()
    torch._dynamo.reset()  # pyright: ignore
    return worst


def main(names: list[str]) -> int:
    """Reports every family named, or all."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    card = torch.cuda.get_device_name() if device == "cuda" else "CPU"
    report(device=card, torch=torch.__version__, transformers=transformers.__version__)
    worst = [measure(family, device) for family in names or FAMILIES]
    return int(not max(worst) < TOLERANCE)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
