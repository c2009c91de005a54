"""A LoRA adapter that was trained here, served unchanged by vLLM or SGLang on a GPU.

    python tests/benchmarks/gpu_adapter.py OUT --kind vllm --model FOLDER --adapter FOLDER

Samples from the server with and without the adapter, and compares the log-probabilities with those
of the same model and adapter as the trainer computes them, in float32. Writes
OUT/adapter-KIND.json.
"""

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer

from wideseek_agents.engines import VllmServersConfig, open_servers
from wideseek_core import Sampling
from wideseek_core.endpoint import EndpointConfig
from wideseek_core.http import HttpClient
from wideseek_core.ports import free_port
from wideseek_rl.engines.control.commands import sglang_command, vllm_command
from wideseek_rl.engines.control.config import LaunchConfig, ServerPlacement
from wideseek_rl.engines.control.process import running_server
from wideseek_rl.engines.control.protocol import parsed_version
from wideseek_rl.models.hf_format import load_model
from wideseek_rl.models.lora import open_adapter

NAME = "trained"
TOKENS = 64
JSON = {"Content-Type": "application/json"}
QUESTIONS = (
    "List the moons of Neptune with their sizes.",
    "Which rivers of Peru are longer than 500 km?",
    "Name three lakes of Finland and their areas.",
    "What is the capital of Mali, and why?",
    "Write a short story about a comet.",
    "Explain how a sewing machine works.",
    "Which films did Akira Kurosawa direct after 1970?",
    "Which mountains of Chile are volcanoes?",
)
Sample = Callable[[Sequence[int], int], Awaitable[tuple[list[int], list[float]]]]


@dataclass(frozen=True)
class Start:
    """How a server is started."""

    kind: str
    model: Path
    adapter: Path
    out: Path
    dtype: str

    def command(self, port: int, launch: LaunchConfig) -> tuple[str, ...]:
        place = ServerPlacement(
            model=self.model, log=self.log, port=port, seed=1, devices=None, transfer="ipc"
        )
        if self.kind == "vllm":
            release = "" if launch.program else version("vllm")
            return vllm_command(launch, place, parsed_version(release))
        return sglang_command(launch, place)

    @property
    def log(self) -> Path:
        return self.out / f"adapter-{self.kind}.log"

    def launch(self, program: tuple[str, ...]) -> LaunchConfig:
        """Options for a small share of a GPU that others use, too."""
        environment = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
        if self.kind == "vllm":
            extra = (
                "--enable-lora",
                "--max-lora-rank",
                "16",
                "--kv-cache-memory-bytes",
                str(2**31),
            )
            extra += ("--lora-modules", f"{NAME}={self.adapter}")
            environment["VLLM_USE_FLASHINFER_SAMPLER"] = "0"
        else:
            extra = ("--enable-lora", "--lora-paths", f"{NAME}={self.adapter}")
            extra += ("--max-loras-per-batch", "2", "--lora-backend", "triton")
            extra += ("--attention-backend", "triton", "--sampling-backend", "pytorch")
            extra += ("--grammar-backend", "none", "--mm-feature-transport", "cpu")
            extra += ("--max-total-tokens", "60000")
            environment["SGLANG_IS_FLASHINFER_AVAILABLE"] = "false"
        return LaunchConfig(
            context_tokens=2048,
            max_running=64,
            memory_share=0.05 if self.kind == "vllm" else 0.75,
            cuda_graphs=False,
            dtype=self.dtype,  # pyright: ignore[reportArgumentType]
            float32_head=self.kind == "sglang",
            deterministic=False,
            extra_args=extra,
            environment=environment,
            program=program,
            start_timeout_s=300,
        )


def through_vllm(url: str, served: str, vocabulary: int) -> Sample:
    """Samples through our pool: an adapter is a model name of the server."""

    async def sample(ids: Sequence[int], seed: int) -> tuple[list[int], list[float]]:
        config = VllmServersConfig(base_urls=(url,), route="completions", model=served)
        async with open_servers(config, vocab_size=vocabulary) as pool:
            sampling = Sampling(max_tokens=TOKENS, seed=seed)
            made = await pool.generate(ids, session=str(seed), sampling=sampling)
        return list(made.ids), list(made.logprobs)

    return sample


def through_sglang(url: str, served: str) -> Sample:
    """Samples through SGLang's own route, which names the adapter."""

    async def sample(ids: Sequence[int], seed: int) -> tuple[list[int], list[float]]:
        body: dict[str, Any] = {
            "input_ids": list(ids),
            "sampling_params": {"max_new_tokens": TOKENS, "temperature": 1.0},
            "return_logprob": True,
            "lora_path": NAME if served == NAME else None,
        }
        endpoint = EndpointConfig(base_url=url, timeout_s=120, deadline_s=120)
        async with HttpClient(url, endpoint) as client:
            content = json.dumps(body).encode()
            made = await client.request("POST", "/generate", headers=JSON, content=content)
            answer = json.loads(made.content)
        pairs = answer["meta_info"]["output_token_logprobs"]
        return [pair[1] for pair in pairs], [pair[0] for pair in pairs]

    return sample


@torch.no_grad()
def own(model: Any, prompt: Sequence[int], ids: Sequence[int]) -> torch.Tensor:
    """Log-probabilities of a response under the trainer's model."""
    row = torch.tensor([[*prompt, *ids]], device=next(model.parameters()).device)
    hidden = model.hidden(row, torch.tensor([row.shape[1]]))
    logits = model.logits(hidden)[0, len(prompt) - 1 : -1].float()
    return logits.log_softmax(-1).gather(-1, row[0, len(prompt) :, None])[:, 0].cpu()


async def compared(sample: Sample, prompts: list[list[int]], models: dict[str, Any]) -> Any:
    """Mean |difference| of the log-probabilities to those of each model, over all tokens."""
    made = await asyncio.gather(*(sample(ids, n) for n, ids in enumerate(prompts)))
    found: dict[str, Any] = {"tokens": sum(len(ids) for ids, _ in made)}
    for name, model in models.items():
        parts = [
            (own(model, prompt, ids) - torch.tensor(logprobs)).abs()
            for prompt, (ids, logprobs) in zip(prompts, made, strict=True)
        ]
        found[f"mean |difference| to {name}"] = round(float(torch.cat(parts).mean()), 5)
    return found


async def run(start: Start, program: tuple[str, ...]) -> None:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    results: dict[str, Any] = {"command": " ".join(sys.argv), "torch": torch.__version__}
    results |= {"dtype": start.dtype, "adapter": start.adapter.name}
    if device == "cuda":
        results |= {"card": torch.cuda.get_device_name(), start.kind: version(start.kind)}
    tokenizer = Tokenizer.from_file(str(start.model / "tokenizer.json"))
    asked = [
        tokenizer.encode(f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n").ids
        for question in QUESTIONS
    ]
    plain = load_model(start.model, device, torch.float32).eval()
    adapted = load_model(start.model, device, torch.float32)
    open_adapter(adapted, start.adapter)
    models = {"the model": plain, "the model with the adapter": adapted.eval()}
    launch, port = start.launch(program), free_port()
    url, began = f"http://127.0.0.1:{port}", time.monotonic()
    async with running_server(start.command(port, launch), url, start.log, launch):
        results["start, seconds"] = round(time.monotonic() - began, 1)
        for served in ("policy", NAME):
            if start.kind == "vllm":
                sample = through_vllm(url, served, plain.config.vocab_size)
            else:
                sample = through_sglang(url, served)
            results[f"served as {served!r}"] = await compared(sample, asked, models)
            path = start.out / f"adapter-{start.kind}.json"
            path.write_text(json.dumps(results, indent=1) + "\n")
    sys.stdout.write(json.dumps(results, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--kind", choices=("vllm", "sglang"), default="vllm")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--adapter", type=Path, required=True)
    parser.add_argument("--dtype", default="float16")
    parser.add_argument("--program", default="", help="another command that starts the server")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    model, adapter, out = (
        Path(os.path.abspath(p)) for p in (given.model, given.adapter, given.out)
    )
    start = Start(given.kind, model, adapter, out, given.dtype)
    asyncio.run(run(start, tuple(given.program.split())))


if __name__ == "__main__":
    main()
