"""Tokens per second of the in-process engine against `transformers.generate`, in one run.

Both sample with the same random weights: responses of fixed ragged lengths, in sessions whose
tool messages lengthen the prompt from turn to turn. `transformers` gets batches of 32 padded on the
left, sorted by length, its KV cache, and stops when the last row of a batch has ended. The unit is
sampled tokens a second, prompts included: of wall time, and of CPU time, which other programs
disturb less. The best of the repetitions counts. Also prints the speed of one engine process a core
(wall time alone), and training speed of the model.

    python tests/benchmarks/bench_engine.py [--quick]
"""

import argparse
import asyncio
import importlib
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from wideseek_core import Sampling, TokenEngine
from wideseek_rl.engines.builtin.config import BuiltinEngineConfig
from wideseek_rl.engines.builtin.engine import TorchEngine
from wideseek_rl.engines.builtin.replicas import ReplicatedEngine
from wideseek_rl.models.config import DecoderConfig
from wideseek_rl.models.decoder import Decoder, new_model
from wideseek_rl.models.hf_format import save_model

SHAPES = {
    "256x6, 8/4 heads, ffn 768": DecoderConfig(
        vocab_size=2048, hidden_size=256, layers=6, heads=8, kv_heads=4, head_dim=32, ffn_size=768
    ),
    "192x6, 6/3 heads, ffn 512": DecoderConfig(
        vocab_size=2048, hidden_size=192, layers=6, heads=6, kv_heads=3, head_dim=32, ffn_size=512
    ),
}
BATCH = 32


@dataclass(frozen=True)
class Session:
    """A conversation: its first prompt, then per turn a response's length and a tool's answer."""

    name: str
    prompt: tuple[int, ...]
    lengths: tuple[int, ...]
    answers: tuple[tuple[int, ...], ...]


def unrelated(count: int) -> list[Session]:
    """One turn each, nothing in common: the engine can reuse nothing."""
    chooser = random.Random(1)
    return [
        Session(
            f"one{index}",
            tokens(chooser, chooser.randint(60, 400)),
            (chooser.randint(10, 60),),
            ((),),
        )
        for index in range(count)
    ]


def rollouts(count: int) -> list[Session]:
    """Groups of 8 with one question, 1 to 4 turns, as agents under training have them."""
    chooser = random.Random(2)
    system = tokens(chooser, 40)
    sessions: list[Session] = []
    question = ()
    for index in range(count):
        if index % 8 == 0:
            question = tokens(chooser, chooser.randint(20, 160))
        turns = chooser.randint(1, 4)
        lengths = tuple(chooser.randint(10, 60) for _ in range(turns))
        answers = tuple(tokens(chooser, chooser.randint(20, 120)) for _ in range(turns))
        sessions.append(Session(f"many{index}", system + question, lengths, answers))
    return sessions


def tokens(chooser: random.Random, count: int) -> tuple[int, ...]:
    return tuple(chooser.randrange(3, 2048) for _ in range(count))


def sampled(sessions: list[Session]) -> int:
    return sum(sum(session.lengths) for session in sessions)


@dataclass(frozen=True)
class Speed:
    """Tokens a second of wall time and of CPU time (all threads together)."""

    wall: float
    cpu: float

    def best(self, other: "Speed") -> "Speed":
        return Speed(max(self.wall, other.wall), max(self.cpu, other.cpu))


def speed(tokens: int, work: Callable[[], object]) -> Speed:
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return Speed(tokens / (time.perf_counter() - wall), tokens / (time.process_time() - cpu))


def run_engine(model: Decoder, sessions: list[Session], config: BuiltinEngineConfig) -> None:
    """Plays all sessions at once with our engine."""
    asyncio.run(play(TorchEngine(model, config), sessions))


async def play(engine: TokenEngine, sessions: list[Session]) -> None:
    """Plays all sessions at once."""

    async def one(session: Session) -> None:
        ids = session.prompt
        for length, answer in zip(session.lengths, session.answers, strict=True):
            reply = await engine.generate(
                ids, session=session.name, sampling=Sampling(max_tokens=length)
            )
            ids = ids + reply.ids + answer
        await engine.close_session(session.name)

    await asyncio.gather(*(one(session) for session in sessions))


async def replicated(model: Decoder, sessions: list[Session], config: BuiltinEngineConfig) -> float:
    """Tokens a second of wall time, of one process a core; those are started before."""
    cores = os.cpu_count() or 1
    best = 0.0
    async with ReplicatedEngine(model, config, processes=cores) as engine:
        await play(engine, sessions[:4])
        for _ in range(2):
            started = time.perf_counter()
            await play(engine, sessions)
            best = max(best, sampled(sessions) / (time.perf_counter() - started))
    return best


class EachRowEnds:
    """Stops row i after `lengths[i]` tokens, as an end token would."""

    def __init__(self, prompt: int, lengths: list[int]) -> None:
        self.ends = torch.tensor(lengths) + prompt

    def __call__(self, ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        return ids.shape[1] >= self.ends


def run_transformers(theirs: Any, sessions: list[Session]) -> None:
    """Plays all sessions with `generate`, turn by turn in batches of 32."""
    prompts = {session.name: session.prompt for session in sessions}
    for turn in range(max(len(session.lengths) for session in sessions)):
        active = [session for session in sessions if turn < len(session.lengths)]
        active.sort(key=lambda session: len(prompts[session.name]))
        for start in range(0, len(active), BATCH):
            batch = active[start : start + BATCH]
            rows = [prompts[session.name] for session in batch]
            replies = generate(theirs, rows, [session.lengths[turn] for session in batch])
            for session, reply in zip(batch, replies, strict=True):
                prompts[session.name] += reply + session.answers[turn]


def generate(theirs: Any, rows: list[tuple[int, ...]], lengths: list[int]) -> list[tuple[int, ...]]:
    width = max(map(len, rows))
    ids = torch.tensor([(0,) * (width - len(row)) + row for row in rows])
    mask = torch.tensor([(0,) * (width - len(row)) + (1,) * len(row) for row in rows])
    with torch.inference_mode():
        out = theirs.generate(
            ids,
            attention_mask=mask,
            do_sample=True,
            top_k=0,
            max_new_tokens=max(lengths),
            stopping_criteria=[EachRowEnds(width, lengths)],
        )
    return [
        tuple(row[width : width + length].tolist())
        for row, length in zip(out, lengths, strict=True)
    ]


def run_training(
    model: Decoder, dtype: torch.dtype, ids: torch.Tensor, lengths: torch.Tensor
) -> None:
    """One forward and backward pass."""
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
        hidden = model.hidden(ids, lengths)
        logits = model.logits(hidden[:, :-1])
    loss = F.cross_entropy(logits.flatten(0, 1).float(), ids[:, 1:].flatten())
    torch.autograd.backward(loss)
    model.zero_grad()


def their_model(model: Decoder) -> Any:
    transformers: Any = importlib.import_module("transformers")
    transformers.utils.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as folder:
        save_model(model, Path(folder) / "model", None)
        theirs = transformers.AutoModelForCausalLM.from_pretrained(
            Path(folder) / "model", dtype=torch.float32, attn_implementation="sdpa"
        )
    theirs.generation_config.pad_token_id = 0
    return theirs


def compare(name: str, config: DecoderConfig, quick: bool) -> None:
    model = new_model(config, 0)
    theirs = their_model(model)
    count = 32 if quick else 64
    for label, sessions in (("unrelated", unrelated(count)), ("rollouts", rollouts(count))):
        ways: dict[str, Callable[[], None]] = {
            "transformers, batch 32": lambda s=sessions: run_transformers(theirs, s)
        }
        for batch in (32, 64):
            for dtype in ("float32", "bfloat16"):
                setting = BuiltinEngineConfig(max_batch=batch, dtype=dtype)
                ways[f"engine {dtype}, batch {batch}"] = lambda s=sessions, c=setting: run_engine(
                    model, s, c
                )
        run_engine(model, sessions[:4], BuiltinEngineConfig())
        best = dict.fromkeys(ways, Speed(0, 0))
        for _ in range(1 if quick else 3):
            for way, work in ways.items():
                best[way] = best[way].best(speed(sampled(sessions), work))
        for way, found in best.items():
            show(row(name, label, way, found, best["transformers, batch 32"]))
        for dtype in ("float32", "bfloat16"):
            wall = asyncio.run(replicated(model, sessions, BuiltinEngineConfig(dtype=dtype)))
            way, against = f"a process a core, {dtype}", best["transformers, batch 32"].wall
            show(f"{name:26} {label:10} {way:26} wall {wall:6.0f} ({wall / against:5.2f}x)")
    compare_training(name, model)


def compare_training(name: str, model: Decoder) -> None:
    """8 rows of about 350 tokens."""
    chooser = random.Random(3)
    lengths = torch.tensor([chooser.randint(300, 400) for _ in range(8)])
    ids = torch.randint(3, 2048, (8, int(lengths.max())))
    best = {"float32": Speed(0, 0), "bfloat16": Speed(0, 0)}
    for _ in range(3):
        for label, found in best.items():
            dtype = getattr(torch, label)
            made = speed(int(lengths.sum()), lambda d=dtype: run_training(model, d, ids, lengths))
            best[label] = found.best(made)
    for label, found in best.items():
        show(row(name, "training", label, found, best["float32"]))


def row(name: str, label: str, way: str, found: Speed, against: Speed) -> str:
    wall = f"{found.wall:6.0f} ({found.wall / against.wall:5.2f}x)"
    cpu = f"{found.cpu:6.0f} ({found.cpu / against.cpu:5.2f}x)"
    return f"{name:26} {label:10} {way:26} wall {wall}  CPU {cpu}"


def show(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    show(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    for name, config in SHAPES.items():
        compare(name, config, arguments.quick)


if __name__ == "__main__":
    main()
