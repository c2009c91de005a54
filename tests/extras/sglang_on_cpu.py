# pyright: reportMissingImports=false, reportUnknownVariableType=false
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
"""The real SGLang on a CPU: how it is started there, and the small model that it serves.

Its GPU build is installed, which asks the dynamic linker for NVIDIA's driver library as it is
imported. Where there is no driver, a library takes its place that has the names and nothing else:
on a CPU none of them is called.
"""

import ctypes
import os
import random
import shutil
import subprocess
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers

from wideseek_apps.served_engine import ServedEngine, open_served_engine
from wideseek_core import Generated
from wideseek_rl import LossConfig, OptimizerConfig, TorchTrainerConfig
from wideseek_rl.engines.control.config import LaunchConfig
from wideseek_rl.engines.control.protocol import ServerControl
from wideseek_rl.engines.served_config import SglangEngineConfig
from wideseek_rl.models.config import DecoderConfig
from wideseek_rl.models.decoder import Decoder, new_model
from wideseek_rl.models.policy import ModelConfig, PolicyModel
from wideseek_rl.testing import make_sample
from wideseek_rl.trainers.torch import TorchTrainer

DRIVER = "libcuda.so.1"
DRIVER_NAMES = (
    *("cuCtxFromGreenCtx", "cuCtxPopCurrent_v2", "cuCtxPushCurrent_v2"),
    *("cuDevResourceGenerateDesc", "cuDevSmResourceSplitByCount", "cuDeviceGetDevResource"),
    *("cuDriverGetVersion", "cuGetErrorString", "cuGetProcAddress_v2"),
    *("cuGreenCtxCreate", "cuGreenCtxDestroy", "cuGreenCtxGetDevResource"),
    *("cuPointerGetAttribute", "cuStreamCreate"),
)
"""What the libraries of SGLang want of the driver as they are loaded."""
VOCABULARY = 512
CONTEXT_TOKENS = 4096
_TOKENS = random.Random(0)


def has_driver() -> bool:
    """Whether NVIDIA's driver library is here."""
    try:
        ctypes.CDLL(DRIVER)
    except OSError:
        return False
    return True


def missing() -> str:
    """Why the server can't run here; empty if it can."""
    if find_spec("sglang") is None:
        return "needs the extra sglang"
    if not has_driver() and compiler() is None:
        return "needs a C compiler (cc or gcc), for a library in place of the GPU's driver"
    return ""


def compiler() -> str | None:
    """The C compiler."""
    return shutil.which("cc") or shutil.which("gcc")


def driver_names(folder: Path) -> Path:
    """A folder with a library that has the driver's names, all of which return an error."""
    folder.mkdir()
    source = folder / "driver.c"
    source.write_text("".join(f"int {name}(void) {{ return 999; }}\n" for name in DRIVER_NAMES))
    command = (str(compiler()), "-shared", "-fPIC", "-o", str(folder / DRIVER), str(source))
    subprocess.run(command, check=True)
    return folder


def engine_config(folder: Path) -> SglangEngineConfig:
    """The configuration of an engine that computes on the CPU, in float32 as the trainer does."""
    options = (
        "--device cpu --attention-backend torch_native --sampling-backend pytorch "
        "--grammar-backend none --disable-overlap-schedule --max-total-tokens 16384"
    )
    environment = {
        "CUDA_VISIBLE_DEVICES": "",
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "SGLANG_IS_FLASHINFER_AVAILABLE": "false",
        "SGLANG_SET_CPU_AFFINITY": "0",
        "SGLANG_USE_CPU_ENGINE": "1",
    }
    if not has_driver():
        paths = (str(driver_names(folder / "driver")), os.environ.get("LD_LIBRARY_PATH", ""))
        environment["LD_LIBRARY_PATH"] = ":".join(filter(None, paths))
    launch = LaunchConfig(
        memory_share=0.2,
        max_running=16,
        context_tokens=CONTEXT_TOKENS,
        cuda_graphs=False,
        dtype="float32",
        float32_head=False,  # as everything is
        deterministic=False,  # which this attention does not have
        extra_args=tuple(options.split()),
        environment=environment,
    )
    return SglangEngineConfig(launch=launch, logs=folder / "logs")


def trained_checkpoint(folder: Path) -> Path:
    """What the trainer saves of a random model after one update."""
    config = DecoderConfig(
        vocab_size=VOCABULARY,
        hidden_size=128,
        layers=2,
        heads=4,
        kv_heads=2,
        head_dim=32,
        ffn_size=256,
        max_positions=CONTEXT_TOKENS,
    )
    model = new_model(config, 0)
    with torch.no_grad():  # further from even odds than fresh weights are
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    trainer = new_trainer(model, tokenizer_file(folder))
    learn(trainer)
    trainer.save(folder / "checkpoint")
    return folder / "checkpoint"


def tokenizer_file(folder: Path) -> Path:
    """A tokenizer with a word for every id."""
    words = {f"t{number}": number for number in range(VOCABULARY)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="t0"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()  # pyright: ignore[reportAttributeAccessIssue]
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = '{"tokenizer_class": "PreTrainedTokenizerFast"}'
    (folder / "tokenizer_config.json").write_text(settings)
    return folder / "tokenizer.json"


def new_trainer(model: Decoder, tokenizer: Path | None = None) -> TorchTrainer:
    """A trainer whose updates change the weights so much that no rounding hides it."""
    config = TorchTrainerConfig(optimizer=OptimizerConfig(lr=1e-2))
    return TorchTrainer(model, config, LossConfig(), tokenizer_file=tokenizer)


def learn(trainer: TorchTrainer) -> None:
    """One update, on other tokens each time, as if the weights of now had sampled them."""
    ids = _TOKENS.sample(range(3, VOCABULARY), 24)
    samples = [make_sample(ids[:12]), make_sample(ids[12:])]
    logprobs = trainer.logprobs(samples)
    trainer.update([replace(one, logprobs=now) for one, now in zip(samples, logprobs, strict=True)])


@dataclass(slots=True)
class Served:
    """A running server, and the trainer of the same weights."""

    engine: ServedEngine
    trainer: TorchTrainer
    model: Decoder

    @property
    def control(self) -> ServerControl:
        """The control of the server."""
        (url,) = self.engine.pool.states
        return self.engine.control(url)


@asynccontextmanager
async def served(folder: Path) -> AsyncGenerator[Served]:
    """Starts a server with a checkpoint, and a trainer that continues from the same."""
    settings = ModelConfig(model=str(trained_checkpoint(folder)), device="cpu")
    policy = PolicyModel(settings)
    async with AsyncExitStack() as stack:
        config = engine_config(folder)
        engine = await stack.enter_async_context(open_served_engine(config, policy))
        model = policy.module
        assert isinstance(model, Decoder)
        yield Served(engine, new_trainer(model), model)


@torch.no_grad()
def gaps(model: Decoder, prompt: list[int], made: Generated) -> torch.Tensor:
    """|log-probability of the server - of the model| of every sampled token."""
    ids = torch.tensor([[*prompt, *made.ids]])
    lengths = torch.tensor([ids.shape[1]])
    logits = model.logits(model.hidden(ids, lengths))[0, len(prompt) - 1 : -1]
    chosen = logits.log_softmax(-1).gather(-1, torch.tensor(made.ids)[:, None])[:, 0]
    return (chosen - torch.tensor(made.logprobs)).abs()
