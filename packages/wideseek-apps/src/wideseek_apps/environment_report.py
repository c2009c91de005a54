"""What `wideseek env` shows; torch is not loaded for it."""

import os
import platform
import shutil
import subprocess
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path

from wideseek_core.config import cache_folder, environment
from wideseek_core.counting import counted

LIBRARIES = (
    "torch",
    "transformers",
    "tokenizers",
    "safetensors",
    "numpy",
    "pydantic",
    "httpx2",
    "aiohttp",
    "qdrant-client",
    "qdrant-edge-py",
    "vllm",
    "sglang",
    "ray",
    "tensorboard",
    "wandb",
)
VARIABLES = (
    "WIDESEEK_CACHE",
    "WIDESEEK_DATA",
    "OMP_NUM_THREADS",
    "OMP_WAIT_POLICY",
    "CUDA_VISIBLE_DEVICES",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "SSL_CERT_FILE",
    "PYTHONIOENCODING",
)
"""Of which only is shown whether they are set: an address may hold a password."""


def environment_report() -> str:
    """Versions, devices, caches and variables, one a line."""
    sections = {
        "versions": _versions(),
        "devices": _devices(),
        "caches": _caches(),
        "variables that are set": (name for name in VARIABLES if environment(name)),
    }
    lines: list[str] = []
    for title, items in sections.items():
        lines += [f"{title}:", *(f"  {item}" for item in items)]
    return "\n".join(lines)


def _versions() -> Iterator[str]:
    yield f"python {platform.python_version()} on {platform.platform()}"
    found = {(item.name or "").lower(): item.version for item in distributions()}
    ours = sorted(name for name in found if name.startswith("wideseek"))
    for name in (*ours, *LIBRARIES):
        if name in found:
            yield f"{name} {found[name]}"


def _devices() -> Iterator[str]:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield f"{counted(usable or 1, 'CPU core')}, load {os.getloadavg()[0]:.1f}"
    gpus = _gpus()
    yield from gpus or ["no NVIDIA GPU found"]


def _gpus() -> list[str]:
    command = shutil.which("nvidia-smi")
    if command is None:
        return []
    query = [command, "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return [f"GPU {line}" for line in done.stdout.splitlines() if line.strip()]


def _caches() -> Iterator[str]:
    root = cache_folder()
    yield f"{root} ({'there' if root.is_dir() else 'not made yet'})"
    for folder in sorted(root.iterdir()) if root.is_dir() else []:
        if folder.is_dir():
            yield f"{folder.name}: {_size(folder) / 1e6:.1f} MB"


def _size(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())
