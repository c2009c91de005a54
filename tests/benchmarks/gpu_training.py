"""The torch trainer on GPUs: gradients, speed, memory; JSON lines on stdout and in $OUT.

`python tests/benchmarks/gpu_training.py [--shape 1.7b] PART...` on one GPU, where PART is

    gradients   compiled bfloat16 layers against eager float32 ones on the same packed trees
    step        seconds of an update on one packed window of 32,768 tokens, model FLOPs used and
                memory; then with other documents of other lengths every time
    variants    `step` once for each `--variant`, one after the other on one card, with the kernels
                of each unless `--short`
    documents   attention of documents one by one against flex attention: errors, milliseconds, and
                what the first call at each length takes
    rows        the same on rows of equal length
    eager       the same window through transformers, eager, with recomputed layers
    flex        tile sizes of flex attention

Weights are random and no prompt is left out, so every token but the first of a document trains.
With `torchrun --nproc-per-node N` the parts `step` and `variants` run sharded over N GPUs. Whatever
their number, an update takes `--passes` windows of each of them, so that several are compared with
one by the same command, say `--passes 4 --short variants --variant once:reduce_gradients=once`.

A variant is a list of settings of the trainer, `name:key=value,key=value`. Settings that are none
of the trainer's: `kept=1` keeps cheap results with any `recompute`, `apart=true` has an
optimizer whose parts each go over all of the memory, `equal=true` takes four equal documents.
"""

import argparse
import functools
import gc
import json
import os
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from wideseek_rl import OptimizerConfig, TorchTrainerConfig
from wideseek_rl.batch.samples import TrainingSample
from wideseek_rl.models import compiling
from wideseek_rl.models.config import DecoderConfig, RopeConfig
from wideseek_rl.models.decoder import Decoder
from wideseek_rl.testing import known
from wideseek_rl.trainers.ranks import DistributedRanks, Ranks
from wideseek_rl.trainers.torch import TorchTrainer

PEAK_FLOPS = 989e12
"""Of an H100, dense bfloat16."""

WINDOW = 32_768
DOCUMENTS = (7681, 2047, 5121, 3583, 8190, 2562, 3584)
RANKS = int(os.environ.get("WORLD_SIZE", "1"))
RANK = int(os.environ.get("LOCAL_RANK", "0"))
DEVICE = torch.device(f"cuda:{RANK}" if torch.cuda.is_available() else "cpu")
SHAPES = {
    "tiny": (3, 128, 4, 2, 32, 256, 512),
    "wide": (4, 2048, 16, 8, 128, 6144, 32_768),
    "1.7b": (28, 2048, 16, 8, 128, 6144, 151_936),
    "4b": (36, 2560, 32, 8, 128, 9728, 151_936),
}


def report(part: str, **values: object) -> None:
    """One line of JSON, kept in $OUT where that is set."""
    if RANK:
        return
    line = json.dumps({"part": part, **values}, default=str)
    print(line, flush=True)  # noqa: T201
    if "OUT" in os.environ:
        with Path(os.environ["OUT"], "results.jsonl").open("a") as file:
            file.write(line + "\n")


def shape(name: str) -> DecoderConfig:
    """A decoder of the Qwen3 family."""
    layers, hidden, heads, kv_heads, dim, ffn, vocabulary = SHAPES[name]
    return DecoderConfig(
        vocab_size=vocabulary,
        hidden_size=hidden,
        layers=layers,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=dim,
        ffn_size=ffn,
        rope=RopeConfig(theta=1e6),
        max_positions=40_960,
    )


def random_model(config: DecoderConfig, dtype: torch.dtype) -> Decoder:
    """Random weights, made where they are used."""
    with torch.device("meta"):
        model = Decoder(config)
    model = model.to_empty(device=DEVICE).to(dtype)
    torch.manual_seed(0)  # pyright: ignore[reportUnknownMemberType]
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(std=0.02)
            else:
                parameter.fill_(1.0)
    return model


def flops(config: DecoderConfig, lengths: Sequence[int]) -> float:
    """Model FLOPs of a forward and backward pass over causal documents, nothing recomputed."""
    attention = config.hidden_size * config.head_dim * 2 * (config.heads + config.kv_heads)
    layer = attention + 3 * config.hidden_size * config.ffn_size
    matrices = config.layers * layer + config.hidden_size * config.vocab_size
    pairs = sum(6 * length**2 * config.heads * config.head_dim for length in lengths)
    return 6.0 * matrices * sum(lengths) + pairs * config.layers


def documents(lengths: Sequence[int], vocabulary: int, seed: int = 0) -> list[TrainingSample]:
    """Samples of random tokens that all train, with log-probabilities near those of the model."""
    rng = np.random.default_rng(seed)
    samples: list[TrainingSample] = []
    for number, length in enumerate(lengths):
        weights = np.full(length, 1 / sum(lengths), dtype=np.float32)
        weights[0] = 0
        samples.append(
            TrainingSample(
                ids=rng.integers(0, vocabulary, length, dtype=np.int32),
                weights=weights,
                advantages=np.full(length, rng.normal(), dtype=np.float32),
                logprobs=np.full(length, -np.log(vocabulary), dtype=np.float32),
                group=number,
            )
        )
    return samples


def random_lengths(seed: int, total: int) -> list[int]:
    """Document lengths of about a sixteenth to a quarter of the window."""
    rng, lengths = random.Random(seed), list[int]()
    while (left := total - sum(lengths)) > total // 4:
        lengths.append(rng.randint(total // 16, min(total // 4, left - total // 16)))
    return [*lengths, left]


def forest(config: DecoderConfig, groups: int, members: int, length: int) -> list[TrainingSample]:
    """Groups of samples that share their first half."""
    samples: list[TrainingSample] = []
    for group in range(groups):
        first, *rest = documents([length] * (members + 1), config.vocab_size, seed=group)
        for sample in rest:
            sample.ids[: length // 2] = first.ids[: length // 2]
            sample.weights[: length // 2] = 0
            samples.append(sample)
    return samples


@dataclass(frozen=True, slots=True)
class Timed:
    """Seconds of updates, and what they used."""

    seconds: list[float]
    first: float
    peak_gib: float
    graphs: int
    passes: int = 1
    """Forward and backward passes of each GPU in an update."""


def timed(
    trainer: TorchTrainer, batches: Sequence[list[TrainingSample]], warm: int, windows: int = 1
) -> Timed:
    """Updates one after the other; the first `warm` ones compile and are not counted.

    Each GPU has so many windows in an update.
    """
    counters: Any = torch._dynamo.utils.counters  # pyright: ignore
    seconds: list[float] = []
    first, graphs, passes = 0.0, 0, 1
    if DEVICE.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    for number, batch in enumerate(batches):
        started = time.perf_counter()
        metrics = trainer.update(batch)
        if DEVICE.type == "cuda":
            torch.cuda.synchronize()
        elapsed = time.perf_counter() - started
        assert metrics.updates == 1, metrics
        passes = known(metrics.micro_batches) // RANKS
        assert passes == windows, f"{passes} windows on a GPU, not {windows}"
        if number == 0:
            first = elapsed
        if number == warm - 1:
            graphs = counters["stats"]["unique_graphs"]
        if number >= warm:
            seconds.append(elapsed)
    peak = torch.cuda.max_memory_allocated() / 2**30 if DEVICE.type == "cuda" else 0.0
    return Timed(seconds, first, peak, counters["stats"]["unique_graphs"] - graphs, passes)


def speed(
    part: str, config: DecoderConfig, lengths: Sequence[Sequence[int]], found: Timed, **more: object
) -> None:
    """Reports tokens a second and the part of the GPU's FLOPs that the model's are."""
    median = statistics.median(found.seconds)
    tokens = statistics.mean(sum(one) for one in lengths)
    work = statistics.mean(flops(config, one) for one in lengths)
    report(
        part,
        seconds=round(median, 4),
        spread=[round(min(found.seconds), 4), round(max(found.seconds), 4)],
        tokens_per_s=round(tokens / median),
        mfu=round(work / median / PEAK_FLOPS / RANKS, 4),
        peak_gib=round(found.peak_gib, 1),
        first_s=round(found.first, 1),
        new_graphs=found.graphs,
        passes_a_gpu=found.passes,
        gpus=RANKS,
        **more,
    )


def settings(**changes: Any) -> TorchTrainerConfig:
    """The configuration of the timed trainers."""
    return TorchTrainerConfig.model_validate(
        {
            "optimizer": OptimizerConfig(lr=1e-6, grad_clip=1.0),
            "max_batch_tokens": WINDOW,
            "share_prefixes": False,
            "matmul": "high",
            **changes,
        }
    )


def clean() -> None:
    """Frees what the part before left behind."""
    gc.collect()
    if DEVICE.type == "cuda":
        torch.cuda.empty_cache()
    torch._dynamo.reset()


def bench_gradients(arguments: argparse.Namespace) -> None:
    """Compiled bfloat16 on packed trees against eager float32 on rows, and float32 on both."""
    config = shape("tiny" if arguments.shape == "tiny" else "wide")
    length = 150 if arguments.shape == "tiny" else 1100
    samples = forest(config, groups=2, members=4, length=length)
    rough = random_model(config, torch.bfloat16)
    exact = random_model(config, torch.float32)
    with torch.no_grad():
        for own, other in zip(exact.parameters(), rough.parameters(), strict=True):
            own.copy_(other)
    common: dict[str, Any] = {"share_prefixes": True, "matmul": "highest"}
    common["optimizer"] = OptimizerConfig(lr=1e-12, grad_clip=1e9)
    runs: dict[str, tuple[Decoder, dict[str, Any]]] = {
        "eager float32 rows": (exact, {"attention": "rows", "compile": False}),
        "eager bfloat16 rows": (rough, {"attention": "rows", "compile": False}),
        "compiled bfloat16 packed": (rough, {"attention": "packed"}),
        "compiled bfloat16 documents": (rough, {"attention": "documents"}),
        "compiled bfloat16 packed, mlp again": (
            rough,
            {"attention": "packed", "recompute": "mlp"},
        ),
        "compiled float32 packed": (exact, {"attention": "packed"}),
    }
    wanted: list[torch.Tensor] = []
    for name, (model, changes) in runs.items():
        share = name.endswith("packed") or "again" in name
        trainer = TorchTrainer(
            model, settings(**{"recompute": "none", **common, **changes, "share_prefixes": share})
        )
        metrics = trainer.update(samples)
        found = [g.detach().float() for g in trainer._optimizer._gradients()]  # pyright: ignore
        wanted = wanted or found
        errors = sorted(
            float((a - b).norm() / b.norm().clamp(min=1e-20))
            for a, b in zip(found, wanted, strict=True)
        )
        report(
            "gradients",
            run=name,
            median_error=errors[len(errors) // 2],
            worst_error=errors[-1],
            loss=metrics.loss,
            grad_norm=metrics.grad_norm,
            tokens_run=metrics.tokens_run,
        )
        clean()


def bench_step(arguments: argparse.Namespace) -> None:
    """Packed windows, the same every time."""
    config = shape(arguments.shape)
    trainer = packed_trainer(config, arguments, {})
    lengths = packed_lengths(arguments.passes)
    batch = documents(lengths, config.vocab_size)
    found = timed(trainer, [batch] * (2 + arguments.repeats), 2, arguments.passes)
    again = f"{arguments.recompute}/{arguments.every}"
    speed("step", config, [lengths], found, recompute=again)
    if RANKS == 1 and not arguments.short:
        profile(trainer, batch)
        vary(trainer, config, arguments)


def packed_lengths(windows: int) -> list[int]:
    """Documents that fill so many windows of each GPU."""
    return list(DOCUMENTS if DEVICE.type == "cuda" else [200, 300, 150]) * RANKS * windows


def packed_trainer(
    config: DecoderConfig, arguments: argparse.Namespace, changes: dict[str, Any]
) -> TorchTrainer:
    """The trainer of packed windows, sharded where there are several GPUs."""
    wanted = {"recompute": arguments.recompute, "recompute_every": arguments.every, **changes}
    ranks: Ranks | None = None
    dtype = torch.bfloat16
    if RANKS > 1:
        ranks, dtype = DistributedRanks(), torch.float32
        wanted["autocast"] = "bfloat16"
    if DEVICE.type == "cpu":
        wanted = {"max_batch_tokens": 650, "attention": "packed", **wanted}
    return TorchTrainer(random_model(config, dtype), settings(**wanted), ranks=ranks)


def bench_variants(arguments: argparse.Namespace) -> None:
    """Settings of the trainer beside each other on one card."""
    config = shape(arguments.shape)
    lengths = packed_lengths(arguments.passes)
    batch = documents(lengths, config.vocab_size)
    for text in arguments.variant:
        if time.time() > arguments.until:
            report("variants", variant=text, skipped="no time left")
            continue
        try:
            _variant(text, config, batch, lengths, arguments)
        except Exception as error:  # noqa: BLE001 - the variants after it are worth running
            report("variants", variant=text, error=f"{type(error).__name__}: {str(error)[:600]}")
        clean()


def _variant(
    text: str,
    config: DecoderConfig,
    batch: list[TrainingSample],
    lengths: Sequence[int],
    arguments: argparse.Namespace,
) -> None:
    name, _, given = text.partition(":")
    changes = {key: json.loads(value) for key, value in _pairs(given)}
    kept, apart = changes.pop("kept", None), changes.pop("apart", False)
    if changes.pop("equal", False):
        windows = RANKS * arguments.passes
        lengths = [sum(lengths) // windows // 4] * 4 * windows
        batch = documents(lengths, config.vocab_size)
    ordinary = compiling.MEMORY_BUDGET
    if kept is not None:
        compiling.MEMORY_BUDGET = kept  # pyright: ignore[reportConstantRedefinition]
    trainer = packed_trainer(config, arguments, changes)
    if apart:
        trainer._optimizer._plain = False  # pyright: ignore[reportPrivateUsage]
    try:
        found = timed(trainer, [batch] * (2 + arguments.repeats), 2, arguments.passes)
        speed("variants", config, [lengths], found, variant=name, settings=given)
        if not arguments.short:
            profile(trainer, batch, name)
    finally:
        compiling.MEMORY_BUDGET = ordinary  # pyright: ignore[reportConstantRedefinition]


def _pairs(text: str) -> list[tuple[str, str]]:
    """Keys and values of `key=value,key=value`; values are JSON, or words."""
    found: list[tuple[str, str]] = []
    for part in filter(None, text.split(",")):
        key, _, value = part.partition("=")
        try:
            json.loads(value)
        except ValueError:
            value = json.dumps(value)
        found.append((key, value))
    return found


def bench_documents(arguments: argparse.Namespace) -> None:
    """Attention of documents one by one, and by flex attention, on the same window."""
    from torch.nn.attention.flex_attention import flex_attention

    from wideseek_rl.batch.packing import collate
    from wideseek_rl.batch.prefix_tree import single
    from wideseek_rl.models.documents import documents_attention
    from wideseek_rl.models.flex import block_mask

    del arguments
    lengths = DOCUMENTS if DEVICE.type == "cuda" else (200, 300, 150)
    trees = [single(sample) for sample in documents(lengths, 1000)]
    layout = collate(trees, DEVICE, packed=True, kernel="flex", one_by_one=True).layout
    assert layout is not None
    assert layout.documents is not None
    q, k, v = (_heads(count, layout.ends.shape[1]) for count in (16, 8, 8))
    of_out = torch.randn_like(q)
    found, both = layout.documents, (q, k, v)
    if DEVICE.type == "cpu":
        report(
            "documents",
            seconds=_first_call(lambda: documents_attention(*both, found), of_out, both),
        )
        return
    mask = block_mask(layout.ends, layout.positions)
    flex: Any = torch.compile(flex_attention)
    ways: dict[str, Callable[[], torch.Tensor]] = {
        "flex": lambda: flex(q, k, v, block_mask=mask, enable_gqa=True),
        "documents": lambda: documents_attention(q, k, v, found),
    }
    wanted: list[torch.Tensor] = []
    for name, way in ways.items():
        first = _first_call(way, of_out, both)
        results = [way(), *torch.autograd.grad(way(), both, of_out)]
        wanted = wanted or results
        real = sum(DOCUMENTS)
        errors = [
            float((a - b)[:, :, :real].float().norm() / b[:, :, :real].float().norm())
            for a, b in zip(results, wanted, strict=True)
        ]
        report(
            "documents",
            way=name,
            first_s=first,
            forward_ms=_milliseconds(way),
            both_ms=_milliseconds(lambda way=way: torch.autograd.grad(way(), both, of_out)),
            errors_to_flex=errors,
        )
    _new_lengths(documents_attention)


def _heads(count: int, length: int) -> torch.Tensor:
    """Random queries, keys or values, heads beside each other in memory."""
    made = torch.randn(1, length, count, 128, device=DEVICE, dtype=torch.bfloat16)
    return made.transpose(1, 2).requires_grad_()


def _first_call(
    way: Callable[[], torch.Tensor], of_out: torch.Tensor, both: tuple[torch.Tensor, ...]
) -> float:
    started = time.perf_counter()
    torch.autograd.grad(way(), both, of_out)
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()
    return round(time.perf_counter() - started, 4)


def _new_lengths(attention: Callable[..., torch.Tensor]) -> None:
    """What the first and the second call of documents of a length take."""
    from wideseek_rl.models.documents import Documents

    q, k, v = (_heads(count, WINDOW) for count in (16, 8, 8))
    of_out = torch.randn_like(q)
    seconds: dict[int, list[float]] = {}
    for length in (512, 1024, 1536, 2560, 4608, 9216, 16_384):
        one = Documents(bounds=torch.tensor([[0, length]]))
        way = functools.partial(attention, q, k, v, one)
        seconds[length] = [_first_call(way, of_out, (q, k, v)) for _ in range(2)]
    report("new lengths", seconds=seconds)


def profile(trainer: TorchTrainer, batch: list[TrainingSample], name: str = "") -> None:
    """Milliseconds of one update by kernel, and how long none ran."""
    from torch.autograd import DeviceType
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as recorded

    if DEVICE.type == "cpu":
        return
    started = time.perf_counter()
    with recorded(activities=[ProfilerActivity.CUDA]) as found:
        trainer.update(batch)
        torch.cuda.synchronize()
    elapsed = time.perf_counter() - started
    kernels: dict[str, list[float]] = {}
    busy: list[tuple[float, float, str]] = []
    for event in found.events() or []:
        if event.device_type == DeviceType.CUDA:
            kernels.setdefault(event.name[:60], []).append(event.device_time / 1e3)
            times = event.time_range
            busy.append((times.start, times.end, event.name[:40]))
    ordered = sorted(kernels.items(), key=lambda item: -sum(item[1]))[:32]
    report(
        "profile",
        variant=name,
        seconds=round(elapsed, 4),
        busy_s=round(sum(map(sum, kernels.values())) / 1e3, 4),
        kernels={name: [round(sum(ms), 2), len(ms)] for name, ms in ordered},
        waits=_waits(busy),
    )


def _waits(busy: list[tuple[float, float, str]]) -> dict[str, Any]:
    """When no kernel ran: milliseconds together, and the longest with their neighbours."""
    found: list[tuple[float, float, str, str]] = []
    busy.sort()
    start, end, before = busy[0][0], busy[0][1], busy[0][2]
    for first, last, name in busy[1:]:
        if first > end:
            found.append((first - end, end - start, before, name))
        if last > end:
            end, before = last, name
    longest = [
        [round(wait / 1e3, 2), round(at / 1e3, 1), *names]
        for wait, at, *names in sorted(found, reverse=True)[:12]
    ]
    return {
        "ms": round(sum(one[0] for one in found) / 1e3, 1),
        "over_ms": round((end - start) / 1e3, 1),
        "longest_ms_at_ms": longest,
    }


def vary(trainer: TorchTrainer, config: DecoderConfig, arguments: argparse.Namespace) -> None:
    """Other documents every time, of other lengths together: nothing is compiled again."""
    totals = [WINDOW - 1024 * (n % 3) - 37 * n for n in range(3 + arguments.repeats)]
    if DEVICE.type == "cpu":
        totals = [600 - 100 * (n % 3) for n in range(3 + arguments.repeats)]
    lengths = [random_lengths(seed, total) for seed, total in enumerate(totals)]
    batches = [documents(one, config.vocab_size, seed) for seed, one in enumerate(lengths)]
    found = timed(trainer, batches, 3)
    speed("vary", config, lengths[3:], found, documents=[len(one) for one in lengths[3:]])


def bench_rows(arguments: argparse.Namespace) -> None:
    """Four rows of equal length."""
    config = shape(arguments.shape)
    lengths = [WINDOW // 4 if DEVICE.type == "cuda" else 128] * 4
    trainer = TorchTrainer(
        random_model(config, torch.bfloat16),
        settings(attention="rows", recompute=arguments.recompute, recompute_every=arguments.every),
    )
    batch = documents(lengths, config.vocab_size)
    found = timed(trainer, [batch] * (2 + arguments.repeats), 2)
    speed("rows", config, [lengths], found, recompute=f"{arguments.recompute}/{arguments.every}")


def bench_eager(arguments: argparse.Namespace) -> None:
    """The window of `step` through the code of transformers, not compiled."""
    import transformers

    from wideseek_rl.models.transformers_model import TransformersConfig, TransformersModel

    config = shape(arguments.shape)
    library: Any = transformers
    theirs = library.Qwen3Config(
        vocab_size=config.vocab_size,
        hidden_size=config.hidden_size,
        intermediate_size=config.ffn_size,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        num_key_value_heads=config.kv_heads,
        head_dim=config.head_dim,
        tie_word_embeddings=True,
        max_position_embeddings=config.max_positions,
    )
    with torch.device(DEVICE):
        torch.set_default_dtype(torch.bfloat16)
        inner = library.Qwen3ForCausalLM(theirs)
        torch.set_default_dtype(torch.float32)
    info = TransformersConfig(
        architecture="Qwen3ForCausalLM", vocab_size=config.vocab_size, max_positions=40_960
    )
    lengths = DOCUMENTS if DEVICE.type == "cuda" else [200, 300, 150]
    model = TransformersModel(inner, info)
    if DEVICE.type == "cuda":
        inner.set_attn_implementation("flex_attention")
    trainer = TorchTrainer(model, settings(recompute="layer", attention="packed"))
    batch = documents(lengths, config.vocab_size)
    found = timed(trainer, [batch] * (1 + arguments.repeats), 1)
    speed("eager", config, [lengths], found, transformers=library.__version__)


def bench_flex(arguments: argparse.Namespace) -> None:
    """Milliseconds of flex attention with other tiles, forward and backward."""
    from torch.nn.attention.flex_attention import flex_attention

    from wideseek_rl.batch.packing import collate
    from wideseek_rl.batch.prefix_tree import single
    from wideseek_rl.models.flex import block_mask

    trees = [single(sample) for sample in documents(DOCUMENTS, 1000)]
    layout = collate(trees, DEVICE, packed=True, kernel="flex").layout
    assert layout is not None
    mask = block_mask(layout.ends, layout.positions)
    q = torch.randn(1, 16, WINDOW, 128, device=DEVICE, dtype=torch.bfloat16, requires_grad=True)
    k, v = (
        torch.randn(1, 8, WINDOW, 128, device=DEVICE, dtype=torch.bfloat16, requires_grad=True)
        for _ in range(2)
    )
    tiles: list[dict[str, Any]] = [
        {},
        {"PRESCALE_QK": True},
        _backward(64, 128, 128, 64, 8, 2),
        _backward(64, 128, 128, 64, 4, 2),
        _backward(128, 64, 64, 128, 8, 2),
        _backward(64, 64, 64, 64, 4, 3),
    ]
    for options in tiles:
        try:
            compiled: Any = torch.compile(flex_attention)
            report("flex", options=options, **_flex_times(compiled, q, k, v, mask, options))
        except Exception as error:  # noqa: BLE001 - a tile that does not fit is a result
            report("flex", options=options, error=str(error)[:200])
        torch._dynamo.reset()


def _backward(m1: int, n1: int, m2: int, n2: int, warps: int, stages: int) -> dict[str, Any]:
    return {
        "bwd_BLOCK_M1": m1,
        "bwd_BLOCK_N1": n1,
        "bwd_BLOCK_M2": m2,
        "bwd_BLOCK_N2": n2,
        "bwd_num_warps": warps,
        "bwd_num_stages": stages,
    }


def _flex_times(
    compiled: Any, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: Any, options: Any
) -> dict[str, float]:
    def forward() -> torch.Tensor:
        return compiled(q, k, v, block_mask=mask, enable_gqa=True, kernel_options=options)

    def both() -> None:
        torch.autograd.backward(forward().sum())

    return {"forward_ms": _milliseconds(forward), "both_ms": _milliseconds(both)}


def _milliseconds(work: Callable[[], object], repeats: int = 10) -> float:
    for _ in range(2):
        work()
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    start.record()
    for _ in range(repeats):
        work()
    end.record()
    torch.cuda.synchronize()
    return round(start.elapsed_time(end) / repeats, 3)


PARTS: dict[str, Callable[[argparse.Namespace], None]] = {
    "gradients": bench_gradients,
    "step": bench_step,
    "variants": bench_variants,
    "documents": bench_documents,
    "rows": bench_rows,
    "eager": bench_eager,
    "flex": bench_flex,
}


def main() -> None:
    """Runs the parts in their order; one that fails is reported, and the next one runs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="+", choices=PARTS)
    parser.add_argument("--shape", default="1.7b", choices=SHAPES)
    parser.add_argument(
        "--recompute", default="mlp", choices=("none", "cheap", "mlp", "layer", "mixed")
    )
    parser.add_argument("--every", type=float, default=2)
    parser.add_argument("--repeats", type=int, default=4)
    parser.add_argument("--passes", type=int, default=1, help="windows of each GPU in an update")
    parser.add_argument("--short", action="store_true", help="`step` alone, without its profile")
    parser.add_argument("--variant", action="append", default=[], help="for the part `variants`")
    parser.add_argument("--until", type=float, default=1e12, help="start no part after this time")
    arguments = parser.parse_args()
    if RANKS > 1:
        if DEVICE.type == "cuda":
            torch.cuda.set_device(DEVICE)
        distributed: Any = torch.distributed
        distributed.init_process_group("nccl" if DEVICE.type == "cuda" else "gloo")
    name = torch.cuda.get_device_name() if DEVICE.type == "cuda" else "cpu"
    report("machine", torch=torch.__version__, device=name, ranks=RANKS, shape=arguments.shape)
    failed = False
    for part in arguments.parts:
        if time.time() > arguments.until:
            report(part, skipped="no time left")
            continue
        try:
            PARTS[part](arguments)
        except Exception as error:  # noqa: BLE001 - the parts after it are worth running
            report(part, error=f"{type(error).__name__}: {str(error)[:600]}")
            failed = True
        clean()
    sys.exit(failed)


if __name__ == "__main__":
    main()
