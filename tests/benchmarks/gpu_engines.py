"""Engines on one GPU: log-probabilities, throughput, weight updates, memory, a lost replica.

    python tests/benchmarks/gpu_engines.py OUT --kind vllm --model FOLDER
    CUDA_VISIBLE_DEVICES=1 python tests/benchmarks/gpu_engines.py OUT --apart 0 --model none \
        --servers '1.7b;1.7b, float32 head;4b'

The second command puts the servers on GPU 0 and `LLM.generate` and the trainer's weights on GPU 1,
sends weights through NCCL, and compares throughput; `--routes arrays --bursts 5 --seconds 165`
measures one route more often and ends in time.

Starts servers through our control code, samples through our pool, and writes OUT/engines.json after
every part. FOLDER is a model in Hugging Face format; the larger ones have random weights.
"""

import argparse
import asyncio
import contextlib
import copy
import json
import os
import random
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

from wideseek_agents.engines import (
    EnginePool,
    SglangServersConfig,
    VllmServersConfig,
    open_servers,
)
from wideseek_core import Generated, Sampling
from wideseek_core.ports import free_port
from wideseek_rl.engines.control.commands import sglang_command, vllm_command
from wideseek_rl.engines.control.config import ControlConfig, LaunchConfig, ServerPlacement
from wideseek_rl.engines.control.process import running_server
from wideseek_rl.engines.control.protocol import ServerControl, parsed_version
from wideseek_rl.engines.control.sglang import SglangControl
from wideseek_rl.engines.control.vllm import VllmControl
from wideseek_rl.sync.config import SyncConfig
from wideseek_rl.sync.ipc import IpcTransport, SglangTensorWire, VllmIpcWire
from wideseek_rl.sync.nccl import NcclTransport, VllmNcclWire
from wideseek_rl.sync.senders import vllm_sender
from wideseek_rl.sync.servers import ServerSync
from wideseek_rl.sync.source import ModuleSource

START = time.monotonic()
GIB = 2**30
CONCURRENT, PROMPT_TOKENS, RESPONSE_TOKENS = 256, 256, 256
GRAPHS = {"cudagraph_capture_sizes": [1, 2, 4, 8, 16, 32, 64, 96, 128, 160, 192, 224, 256]}
"""Fewer than vLLM captures by itself, of servers and `LLM` alike, so that they start sooner."""
SHAPES = {
    "0.4b": {"hidden_size": 1024, "intermediate_size": 3072, "vocab_size": 4096},
    "1.7b": {"hidden_size": 2048, "intermediate_size": 6144, "vocab_size": 151_936},
    "4b": {
        "hidden_size": 2560,
        "intermediate_size": 9728,
        "vocab_size": 151_936,
        "num_hidden_layers": 36,
        "num_attention_heads": 32,
    },
}
QUESTIONS = [
    *(f"Name {count} rivers of {place}." for count in (2, 3) for place in ("Peru", "Chad", "Laos")),
    *(f"What is the capital of {place}, and why?" for place in ("Mali", "Oman", "Fiji", "Iran")),
    *(f"Write a short story about a {thing}." for thing in ("lamp", "boat", "mole", "comet")),
    "List the moons of Neptune with their sizes.",
    "Explain how a sewing machine works.",
]
OFFLINE = """
import json, sys, time
from vllm import LLM, SamplingParams
from vllm.inputs import TokensPrompt
llm = LLM(**json.loads(sys.argv[1]))
print("READY", flush=True)
for line in sys.stdin:
    job = json.loads(open(line.strip()).read())
    prompts = [TokensPrompt(prompt_token_ids=ids) for ids in job["prompts"]]
    params = [SamplingParams(max_tokens=job["tokens"], temperature=1.0, logprobs=0, seed=seed,
                             detokenize=False) for seed in job["seeds"]]
    start = time.perf_counter()
    made = llm.generate(prompts, params, use_tqdm=False)
    seconds = time.perf_counter() - start
    outs = [m.outputs[0] for m in made]
    ids = [list(o.token_ids) for o in outs]
    lps = [[step[t].logprob for step, t in zip(o.logprobs, o.token_ids)] for o in outs]
    open(line.strip() + ".out", "w").write(json.dumps({"s": seconds, "ids": ids, "lps": lps}))
    print("DONE", flush=True)
"""


@dataclass
class Results:
    """What has been measured so far; written after every part."""

    path: Path

    def __post_init__(self) -> None:
        self.values: dict[str, Any] = {}

    def note(self, name: str, value: Any) -> None:
        self.values[name] = value
        line = f"[{time.monotonic() - START:6.1f}s] {name}: {json.dumps(value)}"
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
        self.path.write_text(json.dumps(self.values, indent=1) + "\n")

    async def part(
        self, name: str, work: Callable[[], Awaitable[None]], timeout_s: float = 150
    ) -> None:
        started = time.monotonic()
        try:
            await asyncio.wait_for(work(), timeout_s)
        except Exception as error:  # noqa: BLE001 - the other parts still count
            self.note(f"FAILED {name}", f"{type(error).__name__}: {error}"[:600])
            traceback.print_exc()
        self.note(f"seconds of {name}", round(time.monotonic() - started, 1))


def random_model(folder: Path, shape: dict[str, int]) -> Path:
    """A folder with the config and a tokenizer of a Qwen3 model of the shape; no weights."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    config = AutoConfig.for_model(
        "qwen3",
        **{"num_hidden_layers": 28, "num_attention_heads": 16, **shape},
        num_key_value_heads=8,
        head_dim=128,
        max_position_embeddings=40_960,
        tie_word_embeddings=True,
        eos_token_id=2,
        bos_token_id=0,
        pad_token_id=0,
        architectures=["Qwen3ForCausalLM"],
        dtype="bfloat16",
    )
    config.save_pretrained(folder)
    words = {f"t{number}": number for number in range(shape["vocab_size"])}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="t0"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()  # pyright: ignore
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="t2", pad_token="t0"
    ).save_pretrained(folder)
    return folder


def load(folder: Path, *, with_weights: bool) -> Any:
    """The model on the GPU: in float32 as a trainer holds it, or with random bfloat16 weights."""
    if with_weights:
        model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).cuda()
    else:
        with torch.device("cuda"):
            config = AutoConfig.from_pretrained(folder)
            model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    return model.eval().requires_grad_(False)


@torch.no_grad()
def gap(model: Any, prompt: Sequence[int], made: Generated, part: slice = slice(None)) -> float:
    """Mean |log-probability of the engine − of the trainer's model| over the response."""
    ids = torch.tensor([[*prompt, *made.ids]], device="cuda")
    logits = model(ids).logits[0, len(prompt) - 1 : -1].float()
    own = logits.log_softmax(-1).gather(-1, ids[0, len(prompt) :, None])[:, 0]
    difference = (own.cpu() - torch.tensor(made.logprobs)).abs()
    return float(difference[part].mean())


@torch.no_grad()
def change(model: Any, size: float) -> None:
    """Random noise on all weights."""
    for parameter in model.parameters():
        parameter.add_(size * parameter.std().nan_to_num(0.0) * torch.randn_like(parameter))
    torch.cuda.synchronize()


def prompts(
    count: int, length: int, vocabulary: int, seed: int, shared: int = 0
) -> list[list[int]]:
    """Random prompts, which begin alike for `shared` tokens."""
    source = random.Random(seed)
    beginning = [source.randrange(5, vocabulary) for _ in range(shared)]
    return [
        [*beginning, *(source.randrange(5, vocabulary) for _ in range(length - shared))]
        for _ in range(count)
    ]


@dataclass
class Server:
    """A server under our control, and the pool in front of it."""

    kind: str
    url: str
    pid: int
    control: ServerControl
    pool: EnginePool
    dtype: torch.dtype

    def sync(self, model: Any, **settings: Any) -> ServerSync:
        source = ModuleSource(model, self.dtype)
        wire = VllmIpcWire() if self.kind == "vllm" else SglangTensorWire()
        config = SyncConfig.model_validate(settings)
        return ServerSync(self.pool, [self.control], IpcTransport(source, wire), source, config)


@asynccontextmanager
async def served(
    kind: str, name: str, model: Path, out: Path, vocabulary: int, cache_gib: float, **launch: Any
) -> AsyncGenerator[Server]:
    """Starts a server and opens a pool over it."""
    extra = tuple(launch.pop("extra", ()))
    apart: int | None = launch.pop("apart", None)
    environment = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    if kind == "vllm":
        extra += ("--kv-cache-memory-bytes", str(int(cache_gib * GIB)))
        extra += ("--compilation-config", json.dumps(GRAPHS))
        environment |= {"VLLM_USE_FLASHINFER_SAMPLER": "0"}
        launch.setdefault("memory_share", 0.05)
    else:
        extra += ("--attention-backend", "triton", "--sampling-backend", "pytorch")
        extra += ("--grammar-backend", "none", "--mm-feature-transport", "cpu")
        per_token = 114_688 if vocabulary in (4096, 151_936) else 23_040
        extra += ("--max-total-tokens", str(int(cache_gib * GIB / per_token)))
        if launch.get("cuda_graphs", True):
            extra += ("--cuda-graph-max-bs-decode", "256", "--disable-prefill-cuda-graph")
        environment |= {"SGLANG_IS_FLASHINFER_AVAILABLE": "false"}
    config = LaunchConfig(
        context_tokens=8192,
        extra_args=extra,
        environment=environment,
        start_timeout_s=330,
        **launch,
    )
    place = ServerPlacement(
        model=model,
        devices=None if apart is None else (apart,),
        transfer="ipc" if apart is None else "nccl",
        log=out / f"{kind}-{name.replace(', ', '-').replace(' ', '-')}.log",
        port=free_port(),
        seed=len(name),
    )
    if kind == "vllm":
        command = vllm_command(config, place, parsed_version(version("vllm")))
    else:
        command = sglang_command(config, place)
    url = f"http://127.0.0.1:{place.port}"
    limits = ControlConfig(call_timeout_s=60, transfer_timeout_s=60)
    control = VllmControl(url, limits) if kind == "vllm" else SglangControl(url, limits)
    servers = VllmServersConfig if kind == "vllm" else SglangServersConfig
    async with running_server(command, url, place.log, config) as process:
        pools = servers(base_urls=(url,), max_running=CONCURRENT)
        async with open_servers(pools, vocab_size=vocabulary) as pool:
            dtype = torch.float16 if config.dtype == "float16" else torch.bfloat16
            yield Server(kind, url, process.pid, control, pool, dtype)


async def burst(
    pool: EnginePool, asked: list[list[int]], tokens: int, seeds: Sequence[int | None]
) -> tuple[float, list[Generated]]:
    """All prompts at once, each an agent of its own; seconds and responses."""
    started = time.perf_counter()
    made = await asyncio.gather(
        *(
            pool.generate(ids, session=str(n), sampling=Sampling(max_tokens=tokens, seed=seed))
            for n, (ids, seed) in enumerate(zip(asked, seeds, strict=True))
        )
    )
    return time.perf_counter() - started, list(made)


def rate(made: Sequence[Generated], seconds: float) -> int:
    return round(sum(len(one.ids) for one in made) / seconds)


class Offline:
    """vLLM's own `LLM.generate` in another process, on request."""

    def __init__(self, model: Path, cache_gib: float, out: Path) -> None:
        options = {
            "model": str(model),
            "load_format": "dummy",
            "max_model_len": 8192,
            "max_num_seqs": CONCURRENT,
            "gpu_memory_utilization": 0.05,
            "kv_cache_memory_bytes": int(cache_gib * GIB),
            "logprobs_mode": "processed_logprobs",
            "enable_prefix_caching": True,
            "generation_config": "vllm",
            "compilation_config": GRAPHS,
            "seed": 1,
        }
        self._folder = out
        self._process = subprocess.Popen(
            [
                *("env", "HF_HUB_OFFLINE=1", "VLLM_USE_FLASHINFER_SAMPLER=0"),
                *(sys.executable, "-c", OFFLINE, json.dumps(options)),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=(out / "offline.log").open("w"),
            text=True,
            start_new_session=True,
        )

    async def wait(self, word: str) -> None:
        assert self._process.stdout is not None
        while (line := await asyncio.to_thread(self._process.stdout.readline)).strip() != word:
            if not line:
                raise RuntimeError("the offline engine has ended")

    async def burst(
        self, asked: list[list[int]], tokens: int, seeds: Sequence[int | None]
    ) -> dict[str, Any]:
        assert self._process.stdin is not None
        job = Path("offline-job.json").absolute()
        job.write_text(json.dumps({"prompts": asked, "tokens": tokens, "seeds": list(seeds)}))
        self._process.stdin.write(f"{job}\n")
        self._process.stdin.flush()
        await self.wait("DONE")
        return json.loads(Path(f"{job}.out").read_text())

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


async def agreement(results: Results, name: str, server: Server, model: Any) -> None:
    """Log-probabilities of the engine and of the trainer's model, for the same tokens."""
    tokenizer = PreTrainedTokenizerFast.from_pretrained(model.config.name_or_path)
    asked = [
        tokenizer.encode(f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n")
        for question in QUESTIONS
    ]
    _, made = await burst(server.pool, asked, 64, range(len(asked)))
    gaps = [gap(model, ids, one) for ids, one in zip(asked, made, strict=True)]
    tokens = sum(len(one.ids) for one in made)
    value = {"mean": round(sum(gaps) / len(gaps), 5), "tokens": tokens}
    results.note(f"{name}: |logprob - trainer|", value)
    cold = [Sampling(max_tokens=32, seed=n, temperature=0.6, top_p=0.95) for n in range(4)]
    warm = await asyncio.gather(
        *(server.pool.generate(asked[n], session=f"w{n}", sampling=s) for n, s in enumerate(cold))
    )
    sums = [sum(one.logprobs) / max(len(one.logprobs), 1) for one in warm]
    results.note(f"{name}: mean logprob at temperature 0.6, top_p 0.95", round(sum(sums) / 4, 3))
    stop = made[0].ids[5]
    sampling = Sampling(max_tokens=64, seed=0, stop_ids=(stop,))
    cut = await server.pool.generate(asked[0], session="0", sampling=sampling)
    results.note(f"{name}: a stop id ends a response and is in it", cut.ids[-1] == stop)
    again = await server.pool.generate(
        asked[0], session="0", sampling=Sampling(max_tokens=64, seed=0)
    )
    same = sum(a == b for a, b in zip(again.ids, made[0].ids, strict=False))
    results.note(f"{name}: equal tokens of 64 for an equal seed, alone and in a batch", same)


@dataclass(frozen=True)
class Bursts:
    """How throughput is measured."""

    count: int
    routes: tuple[str, ...]
    deadline: float
    """Monotonic time at which no further burst begins."""


async def throughput(
    results: Results,
    server: Server,
    several: Server | None,
    offline: Offline | None,
    bursts: Bursts,
) -> None:
    """256 agents at once through the pool, in turn with `LLM.generate` on the same prompts."""
    vocabulary = SHAPES["1.7b"]["vocab_size"]
    seeds = list(range(CONCURRENT))
    async with AsyncExitStack() as stack:
        pools: dict[str, EnginePool] = {"pool": server.pool}
        if server.kind == "vllm":
            pools = {
                f"pool, route {route}": await stack.enter_async_context(
                    open_servers(
                        VllmServersConfig.model_validate(
                            {"base_urls": (url,), "route": route, "max_running": CONCURRENT}
                        ),
                        vocab_size=vocabulary,
                    )
                )
                for route, url in ((route, server.url) for route in bursts.routes)
            }
        if several is not None:
            pools["pool, 4 API processes"] = several.pool
        for pool in pools.values():
            await burst(pool, prompts(32, 64, vocabulary, seed=90), 16, seeds[:32])
        if offline is not None:
            await offline.burst(prompts(32, 64, vocabulary, seed=90), 16, seeds[:32])
        rates: dict[str, list[int]] = {name: [] for name in (*pools, "LLM.generate")}
        for turn in range(bursts.count):
            if time.monotonic() > bursts.deadline:
                results.note("bursts left out for time", bursts.count - turn)
                break
            # Salted with the version, so that no route finds the prompts of another in the cache.
            for number, (name, pool) in enumerate(pools.items()):
                pool.version = 1000 + 10 * turn + number
                asked = prompts(CONCURRENT, PROMPT_TOKENS, vocabulary, seed=100 + turn)
                seconds, made = await burst(pool, asked, RESPONSE_TOKENS, seeds)
                rates[name].append(rate(made, seconds))
                if number == 0 and offline is not None:
                    other = await offline.burst(asked, RESPONSE_TOKENS, seeds)
                    tokens = sum(map(len, other["ids"]))
                    rates["LLM.generate"].append(round(tokens / other["s"]))
                    compare(results, made, other)
            results.note("output tokens/s, 256 agents, 256 in + 256 out, seeded", rates)
    before = await cached_tokens(server)
    asked = prompts(CONCURRENT, PROMPT_TOKENS, vocabulary, seed=400, shared=224)
    seconds, made = await burst(server.pool, asked, 64, seeds)
    hits = (await cached_tokens(server)) - before
    share = {"cached": hits, "of": CONCURRENT * PROMPT_TOKENS, "tokens/s": rate(made, seconds)}
    results.note("prefix hits, 224 of 256 tokens shared", share)


class NcclUpdates:
    """Weight updates of an idle server on another GPU; the group stays from round to round."""

    def __init__(self, results: Results, name: str, server: Server, model: Any) -> None:
        self._results, self._name, self._server, self._model = results, name, server, model
        source = ModuleSource(model, torch.bfloat16)
        self._transport = NcclTransport(source, VllmNcclWire(), vllm_sender(), timeout_s=60)
        self._sync = ServerSync(server.pool, [server.control], self._transport, source)

    async def round(self, label: str, count: int) -> None:
        """Changes of all weights, each sent, verified and sampled from."""
        asked = prompts(1, 64, self._model.config.vocab_size, seed=7)[0]
        sampling = Sampling(max_tokens=96, seed=3)
        pool, rows, gaps = self._server.pool, list[dict[str, float]](), list[dict[str, float]]()
        for _ in range(count):
            change(self._model, 0.05)
            stale = await pool.generate(asked, session="n", sampling=sampling)
            done = await self._sync.publish(pool.version + 1)
            made = await pool.generate(asked, session="n", sampling=sampling)
            row = {"pause to resume": done.paused_s, "sent": done.sent_s}
            row["verified"] = done.verified_s
            rows.append({key: round(value, 3) for key, value in row.items()})
            found = {
                "stale": gap(self._model, asked, stale),
                "synced": gap(self._model, asked, made),
            }
            gaps.append({key: round(value, 4) for key, value in found.items()})
            self._results.note(f"{self._name}: updates by NCCL, idle, {label}", rows)
            self._results.note(f"{self._name}: mean |logprob - trainer| around them, {label}", gaps)
        reported = await self._server.control.checksums()
        self._results.note(f"{self._name}: tensors verified each time", len(reported.by_name))

    async def against_float32(self) -> None:
        """Log-probabilities against the same weights computed in float32."""
        exact = copy.deepcopy(self._model).float()
        asked = prompts(16, 64, self._model.config.vocab_size, seed=37)
        _, made = await burst(self._server.pool, asked, 64, range(len(asked)))
        gaps = [gap(exact, ids, one) for ids, one in zip(asked, made, strict=True)]
        value = {"mean": round(sum(gaps) / len(gaps), 5), "largest of a response": max(gaps)}
        value["tokens"] = sum(len(one.ids) for one in made)
        self._results.note(f"{self._name}: |logprob - float32 with the same weights|", value)

    async def close(self) -> None:
        await self._transport.close()


def compare(results: Results, made: Sequence[Generated], other: dict[str, Any]) -> None:
    """Ids and log-probabilities of both, up to the first token that differs."""
    equal = total = 0
    differences: list[float] = []
    for one, ids, logprobs in zip(made, other["ids"], other["lps"], strict=True):
        total += len(ids)
        for a, b, p, q in zip(one.ids, ids, one.logprobs, logprobs, strict=False):
            if a != b:
                break
            equal += 1
            differences.append(abs(p - q))
    mean = sum(differences) / max(len(differences), 1)
    value = {"equal tokens": equal, "of": total, "mean |difference|": round(mean, 6)}
    results.note("pool against LLM.generate, same prompts and seeds", value)


async def cached_tokens(server: Server) -> int:
    """Prompt tokens found in the prefix cache so far."""
    if server.kind == "sglang":
        return server.pool.counts.cached_tokens
    import httpx2

    async with httpx2.AsyncClient() as client:
        text = (await client.get(f"{server.url}/metrics")).text
    lines = [line for line in text.splitlines() if line.startswith("vllm:prefix_cache_hits_total")]
    return round(sum(float(line.rsplit(" ", 1)[1]) for line in lines))


async def updates(results: Results, name: str, server: Server, model: Any) -> None:
    """Weight updates of an idle server, each with all checksums compared."""
    vocabulary = model.config.vocab_size
    asked = prompts(1, 64, vocabulary, seed=7)[0]
    sampling = Sampling(max_tokens=96, seed=3)
    sync = server.sync(model)
    first = await sync.publish(server.pool.version + 1)
    rows: list[dict[str, float]] = []
    gaps: list[dict[str, float]] = []
    for _ in range(4):
        change(model, 0.05)
        stale = await server.pool.generate(asked, session="s", sampling=sampling)
        done = await sync.publish(server.pool.version + 1)
        fresh = await server.pool.generate(asked, session="s", sampling=sampling)
        gaps.append(
            {
                "stale": round(gap(model, asked, stale), 3),
                "synced": round(gap(model, asked, fresh), 4),
                "version": fresh.version,
            }
        )
        rows.append(
            {
                "pause to resume": round(done.paused_s, 3),
                "sent": round(done.sent_s, 3),
                "verified": round(done.verified_s, 3),
            }
        )
    weights = sum(p.numel() * p.element_size() for p in model.parameters()) / 1e9
    results.note(f"{name}: weight updates, idle", {"GB": round(weights, 2), "seconds": rows})
    results.note(f"{name}: first update, seconds", round(first.paused_s, 3))
    results.note(f"{name}: mean |logprob - trainer| around updates", gaps)
    reported = await server.control.checksums()
    results.note(f"{name}: tensors verified in every update", len(reported.by_name))


async def update_under_load(results: Results, name: str, server: Server, model: Any) -> None:
    """Updates while 256 requests run: nothing is lost, and every token knows its weights."""
    vocabulary = model.config.vocab_size
    asked = prompts(CONCURRENT, 128, vocabulary, seed=17)
    old = {key: value.clone() for key, value in model.state_dict().items()}
    running = asyncio.create_task(burst(server.pool, asked, 640, range(CONCURRENT)))
    await asyncio.sleep(1.5)
    before = server.pool.counts.continued
    change(model, 0.05)
    version_before = server.pool.version
    done = await server.sync(model).publish(version_before + 1)
    _, made = await running
    mixed = [n for n, one in enumerate(made) if len(one.versions) == 2][:6]
    new_parts: list[float] = []
    for n in mixed:
        new_parts.append(gap(model, asked[n], made[n], slice(made[n].versions[0].end, None)))
    new = {key: value.clone() for key, value in model.state_dict().items()}
    model.load_state_dict(old)
    old_parts = [gap(model, asked[n], made[n], slice(0, made[n].versions[0].end)) for n in mixed]
    model.load_state_dict(new)
    results.note(
        f"{name}: an update under 256 running requests",
        {
            "pause to resume": round(done.paused_s, 3),
            "responses": len(made),
            "of two versions": sum(len(one.versions) == 2 for one in made),
            "continued": server.pool.counts.continued - before,
            "lost": sum(not one.ids for one in made),
            "gap of old tokens to old weights": round(sum(old_parts) / max(len(mixed), 1), 4),
            "gap of new tokens to new weights": round(sum(new_parts) / max(len(mixed), 1), 4),
        },
    )


def used_mib() -> int:
    """Memory of the first visible GPU that any process uses."""
    free, total = torch.cuda.mem_get_info()
    return (total - free) // 2**20


async def memory(results: Results, name: str, server: Server, model: Any) -> None:
    """GPU memory that a server gives back during an update, and the weights afterwards."""
    asked = prompts(1, 64, model.config.vocab_size, seed=7)[0]
    sync = server.sync(model, release="all")
    awake = used_mib()
    started = time.perf_counter()
    async with sync.updating() as commit:
        released_s = time.perf_counter() - started
        asleep = used_mib()
        change(model, 0.01)
        commit(server.pool.version + 1)
        started = time.perf_counter()
    restored_s = time.perf_counter() - started
    made = await server.pool.generate(asked, session="m", sampling=Sampling(max_tokens=64, seed=1))
    results.note(
        f"{name}: memory released during an update",
        {
            "MiB before": awake,
            "MiB released": awake - asleep,
            "MiB after": used_mib(),
            "release s": round(released_s, 3),
            "restore and update s": round(restored_s, 3),
            "gap afterwards": round(gap(model, asked, made), 4),
        },
    )


async def lost_replica(results: Results, first: Server, second: Server, vocabulary: int) -> None:
    """Two replicas; one is killed while both are busy."""
    servers = VllmServersConfig if first.kind == "vllm" else SglangServersConfig
    config = servers(
        base_urls=(first.url, second.url), probe_interval_s=0.5, max_running=CONCURRENT
    )
    asked = prompts(128, 64, vocabulary, seed=27)
    async with open_servers(config, vocab_size=vocabulary) as pool:
        running = asyncio.create_task(burst(pool, asked, 512, range(128)))
        await asyncio.sleep(1.0)
        share = {url: state for url, state in pool.states.items()}
        os.killpg(second.pid, signal.SIGKILL)
        seconds, made = await running
        results.note(
            "one of two replicas killed under 128 requests",
            {
                "answered": len(made),
                "resent": pool.counts.resent,
                "deaths": pool.counts.deaths,
                "states": [*share.values(), *pool.states.values()],
                "seconds": round(seconds, 2),
            },
        )


async def run(
    kind: str, out: Path, folder: Path, chosen: Sequence[str], apart: int | None, bursts: Bursts
) -> None:
    results = Results(out / f"engines-{kind}.json")
    results.note(
        "machine",
        {
            "card": torch.cuda.get_device_name(),
            "torch": torch.__version__,
            "transformers": version("transformers"),
            kind: version(kind),
            "command": " ".join(sys.argv),
        },
    )
    shapes = {name: random_model(Path(f"shape-{name}").absolute(), s) for name, s in SHAPES.items()}
    is_there = (folder / "config.json").exists()
    small_vocabulary = AutoConfig.from_pretrained(folder).vocab_size if is_there else 0
    with_offline = kind == "vllm" and "1.7b" in chosen
    offline = Offline(shapes["1.7b"], 15.5, out) if with_offline else None
    dummy = ("--load-format", "dummy")
    plan: dict[str, tuple[Path, int, float, dict[str, Any]]] = {
        "small": (folder, small_vocabulary, 5, {"sleep": True}),
        "replica": (folder, small_vocabulary, 1.5, {"cuda_graphs": False, "dtype": "float16"}),
        "1.7b": (shapes["1.7b"], SHAPES["1.7b"]["vocab_size"], 15.5, {"extra": dummy}),
        "0.4b": (shapes["0.4b"], 4096, 2, {"extra": dummy, "cuda_graphs": False}),
    }
    plain = {"extra": dummy, "cuda_graphs": False}
    plan["1.7b, float32 head"] = (*plan["1.7b"][:2], 2, {**plain, "float32_head": True})
    plan["4b"] = (shapes["4b"], SHAPES["4b"]["vocab_size"], 2, dict(plain))
    for name in ("1.7b", "4b"):
        plan[name][3]["float32_head"] = False  # as LLM.generate computes
    for _, _, _, launch in plan.values():
        launch["apart"] = apart
    if kind == "vllm":
        apis = {"extra": dummy, "api_processes": 4}
        plan["1.7b, 4 API processes"] = (*plan["1.7b"][:3], apis)
    else:
        plan["replica"][3].pop("dtype")
        for name, (_, _, _, launch) in plan.items():
            launch["deterministic"] = name == "replica"
            launch["float32_head"] = name == "small"
            launch["memory_share"] = 0.75  # the limit of tokens is what counts
    stack = AsyncExitStack()
    try:
        async with asyncio.TaskGroup() as group:
            starting = {
                name: group.create_task(
                    start(stack, results, kind, name, model, out, vocabulary, gib, launch)
                )
                for name, (model, vocabulary, gib, launch) in plan.items()
                if name in chosen
            }
            if offline is not None:
                group.create_task(results.part("start of LLM", lambda: offline.wait("READY"), 400))
            updates = Updating()
            if apart is not None:
                updates = await first_rounds(results, starting, shapes)
        servers = {name: task.result() for name, task in starting.items()}
        results.note("all engines ready after, seconds", round(time.monotonic() - START, 1))
        if apart is None:
            await measure(results, servers, offline, folder, shapes, bursts)
        else:
            await measure_apart(results, servers, offline, updates, bursts)
    finally:
        if offline is not None:
            offline.close()
        await stack.aclose()
        results.note("total seconds", round(time.monotonic() - START, 1))


async def start(
    stack: AsyncExitStack,
    results: Results,
    kind: str,
    name: str,
    model: Path,
    out: Path,
    vocabulary: int,
    gib: float,
    launch: dict[str, Any],
) -> Server | None:
    try:
        return await stack.enter_async_context(
            served(kind, name, model, out, vocabulary, gib, **launch)
        )
    except Exception as error:  # noqa: BLE001 - the other servers still count
        results.note(f"FAILED start of {name}", str(error)[-1500:])
        return None


@dataclass
class Updating:
    """The trainer's models of a second GPU, and what sends them to servers, by server."""

    models: dict[str, Any] = field(default_factory=dict[str, Any])
    updates: dict[str, NcclUpdates] = field(default_factory=dict[str, NcclUpdates])


async def first_rounds(
    results: Results,
    starting: Mapping[str, "asyncio.Task[Server | None]"],
    shapes: dict[str, Path],
) -> Updating:
    """Updates of servers that are ready while others start: slower than later, but early."""
    found = Updating({name: load(shapes[name], with_weights=False) for name in ("1.7b", "4b")})
    for name in (name for name in starting if name != "1.7b"):
        server = await starting[name]
        if server is not None:
            model = found.models[name.partition(",")[0]]
            found.updates[name] = one = NcclUpdates(results, name, server, model)
            work = partial(one.round, "while other engines start", 2)
            await results.part(f"NCCL {name}", work, 60)
    return found


async def last_round(results: Results, name: str, updates: NcclUpdates) -> None:
    """Updates, and the gap before another server's updates change the model."""
    await results.part(f"NCCL {name}", partial(updates.round, "all started", 4), 30)
    if name != "4b":
        await results.part(f"float32 {name}", updates.against_float32, 20)
    await updates.close()


async def measure_apart(
    results: Results,
    servers: dict[str, Server | None],
    offline: Offline | None,
    updating: Updating,
    bursts: Bursts,
) -> None:
    """What wants a second GPU. Bursts come before the server's weights change."""
    large = servers.get("1.7b")
    for name, one in updating.updates.items():
        await last_round(results, name, one)
    if large is not None and offline is not None:
        await results.part(
            "throughput", lambda: throughput(results, large, None, offline, bursts), 120
        )
    if offline is not None:
        offline.close()
    if large is not None:
        one = NcclUpdates(results, "1.7b", large, updating.models["1.7b"])
        await last_round(results, "1.7b", one)


async def measure(
    results: Results,
    servers: dict[str, Server | None],
    offline: Offline | None,
    folder: Path,
    shapes: dict[str, Path],
    bursts: Bursts,
) -> None:
    small = servers.get("small")
    if small is not None:
        model = load(folder, with_weights=True)
        await results.part("agreement", lambda: agreement(results, folder.name, small, model))
        half = servers.get("replica")
        if half is not None:
            what = "float16" if half.dtype is torch.float16 else "a deterministic server"
            name = f"{folder.name} in {what}"
            await results.part("agreement 2", lambda: agreement(results, name, half, model))
            await results.part("updates 2", lambda: updates(results, name, half, model))
        await results.part("updates", lambda: updates(results, folder.name, small, model))
        await results.part("load", lambda: update_under_load(results, folder.name, small, model))
        await results.part("memory", lambda: memory(results, folder.name, small, model))
    large = servers.get("1.7b")
    if large is not None:
        several = servers.get("1.7b, 4 API processes")
        await results.part(
            "throughput", lambda: throughput(results, large, several, offline, bursts)
        )
    if offline is not None:
        offline.close()
    for name in ("0.4b", "1.7b", "1.7b, 4 API processes"):
        server = servers.get(name)
        if server is not None:
            shaped = load(shapes[name.partition(",")[0]], with_weights=False)
            await results.part(
                f"updates {name}", lambda s=server, m=shaped, n=name: updates(results, n, s, m)
            )
            if name != "0.4b":
                await results.part(
                    f"load {name}",
                    lambda s=server, m=shaped, n=name: update_under_load(results, n, s, m),
                )
            del shaped
            torch.cuda.empty_cache()
    replica = servers.get("replica")
    if small is not None and replica is not None:
        vocabulary = AutoConfig.from_pretrained(folder).vocab_size
        await results.part("lost", lambda: lost_replica(results, small, replica, vocabulary))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--kind", choices=("vllm", "sglang"), default="vllm")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--servers", default="small;replica;1.7b;0.4b", help="which to start")
    parser.add_argument("--apart", type=int, help="GPU of the servers, if it is another one")
    parser.add_argument("--bursts", type=int, default=3, help="how often throughput is measured")
    parser.add_argument("--routes", default="arrays;generate;completions", help="of vLLM's servers")
    parser.add_argument("--seconds", type=float, default=540, help="when bursts have to end")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    chosen = given.servers.split(";")
    bursts = Bursts(given.bursts, tuple(given.routes.split(";")), START + given.seconds)
    asyncio.run(run(given.kind, given.out, given.model.absolute(), chosen, given.apart, bursts))


if __name__ == "__main__":
    main()
