"""What promises to work without torch is imported in a process of its own."""

import subprocess
import sys
from pathlib import Path

import pytest

import wideseek_rl

ROOT = Path(wideseek_rl.__file__).parent
TORCH_FREE = sorted(
    str(path.relative_to(ROOT.parent).with_suffix("")).replace("/", ".").removesuffix(".__init__")
    for pattern in ("algorithm/*", "rollout/*", "loop/*", "loop/loggers/*", "sync/protocol")
    for path in ROOT.glob(f"{pattern}.py")
)


@pytest.mark.parametrize("library", ["torch", "safetensors", "tensorboard"])
def test_the_package_its_config_and_the_loop_need_no_heavy_library(library: str) -> None:
    names = ["wideseek_rl", "wideseek_rl.config", "wideseek_rl.testing", *TORCH_FREE]
    names += ["wideseek_rl.engines.open", "wideseek_rl.trainers.open", "wideseek_rl.models.policy"]
    script = (
        "import importlib, sys\n"
        f"sys.modules[{library!r}] = None\n"
        f"for name in {names!r}: importlib.import_module(name)\n"
        "from wideseek_rl import RLConfig\n"
        "print(RLConfig().algorithm.kind)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.stdout.strip(), done.stderr) == ("group_relative", "")
