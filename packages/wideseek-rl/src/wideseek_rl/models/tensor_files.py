"""Safetensors files of a model folder: one file, or shards with an index."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file  # pyright: ignore[reportUnknownVariableType]
from torch import Tensor

from wideseek_core import CheckpointError
from wideseek_rl.models.spread import whole

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"

MAX_SHARD_BYTES = 5_000_000_000
"""Size of a weight file above which a model is written in several."""


def read_tensors(path: Path, device: torch.device | str) -> Iterator[tuple[Path, str, Tensor]]:
    """All tensors of a model folder, each with the file it is in.

    Raises `CheckpointError` naming the file that is at fault.
    """
    for file in _weight_files(path):
        if not file.is_file():
            raise CheckpointError(f"no such file: {file}")
        try:
            with cast(Any, safe_open(file, framework="pt", device=str(device))) as weights:
                for name in weights.keys():  # noqa: SIM118 - not a mapping
                    yield file, name, weights.get_tensor(name)
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{file}: not a whole safetensors file: {error}") from None


def write_model_tensors(
    tensors: Mapping[str, Tensor],
    folder: Path,
    dtype: torch.dtype,
    max_shard_bytes: int = MAX_SHARD_BYTES,
    *,
    writes: bool = True,
) -> None:
    """Writes the tensors as one file, or as shards with an index where they are larger.

    At most one shard of them is held in memory at once. Tensors that are spread over ranks are
    gathered, in which ranks that do not write take part.
    """
    shards = _shards(tensors, dtype, max_shard_bytes)
    index: dict[str, str] = {}
    for number, names in enumerate(shards, start=1):
        file = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        file = WEIGHTS if len(shards) == 1 else file
        gathered = {name: whole(tensors[name].detach()) for name in names}
        if writes:
            held = {name: t.to("cpu", dtype).contiguous() for name, t in gathered.items()}
            write_tensors(held, folder / file)
        index |= dict.fromkeys(names, file)
    if len(shards) > 1 and writes:
        total = sum(tensor.numel() for tensor in tensors.values()) * dtype.itemsize
        write_object(folder / INDEX, {"metadata": {"total_size": total}, "weight_map": index})


def write_tensors(
    tensors: dict[str, Tensor], path: Path, facts: Mapping[str, str] | None = None
) -> None:
    """Writes a safetensors file, with `facts` among its metadata.

    Raises `CheckpointError` if the disk does not take it.
    """
    path.touch()
    mode = path.stat().st_mode
    try:
        save_file(tensors, path, metadata={"format": "pt", **(facts or {})})
    except SafetensorError as error:
        raise CheckpointError(f"{path}: can't be written: {error}") from None
    path.chmod(mode)  # the library makes files that only their owner may read


def read_object(file: Path) -> dict[str, Any]:
    """A file that holds one JSON object. Raises `CheckpointError`."""
    try:
        value: object = json.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"no such file: {file}") from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{file}: not JSON: {error}") from None
    if not isinstance(value, dict):
        raise CheckpointError(f"{file}: expected a JSON object")
    return cast(dict[str, Any], value)


def write_object(file: Path, value: dict[str, Any]) -> None:
    """Writes one JSON object for people to read."""
    file.write_text(json.dumps(value, indent=2) + "\n", "utf-8")


def _weight_files(path: Path) -> list[Path]:
    index = path / INDEX
    if (path / WEIGHTS).is_file() or not index.is_file():
        return [path / WEIGHTS]
    names = read_object(index).get("weight_map")
    if not isinstance(names, dict) or not names:
        raise CheckpointError(f"{index}: missing key 'weight_map'")
    return [path / name for name in sorted(set(cast(dict[str, str], names).values()))]


def _shards(
    tensors: Mapping[str, Tensor], dtype: torch.dtype, max_shard_bytes: int
) -> list[list[str]]:
    """Names in their order, in groups of at most so many bytes (or of one tensor)."""
    shards: list[list[str]] = [[]]
    size = 0
    for name, tensor in tensors.items():
        added = tensor.numel() * dtype.itemsize
        if shards[-1] and size + added > max_shard_bytes:
            shards.append([])
            size = 0
        shards[-1].append(name)
        size += added
    return shards
