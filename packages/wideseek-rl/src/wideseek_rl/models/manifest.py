"""The manifest of a checkpoint: which files it consists of, and their checksums."""

import os
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import ValidationError

from wideseek_core import CheckpointError, Record
from wideseek_core.files import sha256, write_atomically

R = TypeVar("R", bound=Record)

MANIFEST = "manifest.json"
STATE = "state.json"
"""Beside it in every checkpoint: how far the run was."""
PARTS = ("model", "adapter")
"""Folders of a checkpoint that are models or adapters."""


class Manifest(Record):
    """What a checkpoint consists of; written last."""

    version: Literal[1] = 1
    files: dict[str, str]
    """SHA-256 by path within the checkpoint."""


def write_manifest(folder: Path) -> None:
    """Flushes all files of a folder to disk and writes their checksums beside them."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    for file in files:
        with file.open("rb") as opened:
            os.fsync(opened.fileno())
    sums = {file.relative_to(folder).as_posix(): sha256(file) for file in files}
    write_atomically(folder / MANIFEST, Manifest(files=sums).model_dump_json(indent=2))


def check_manifest(folder: Path, below: str = "") -> None:
    """Compares the files of a checkpoint, or those `below` a path in it, with the manifest.

    Raises `CheckpointError` naming the first file that is not as it was written.
    """
    for name, digest in read_record(folder / MANIFEST, Manifest).files.items():
        if not name.startswith(below):
            continue
        file = folder / name
        if not file.is_file():
            raise CheckpointError(f"{file}: missing from the checkpoint")
        try:
            found = sha256(file)
        except OSError as error:
            raise CheckpointError(f"{file}: can't be read: {error.strerror}") from None
        if found != digest:
            raise CheckpointError(f"{file}: damaged, its checksum is not the one in {MANIFEST}")


def is_checkpoint(folder: Path) -> bool:
    """Whether a folder is a checkpoint, or what is left of one.

    Other programs write files of these names, too, beside a model's `config.json`, say.
    """
    named = any((folder / name).is_file() for name in (MANIFEST, STATE))
    return named and not (folder / "config.json").is_file()


def check_part(folder: Path) -> None:
    """Checks the files of a folder if it is one of the `PARTS` of a checkpoint.

    Raises `CheckpointError`.
    """
    folder = folder.resolve()
    if folder.name in PARTS and is_checkpoint(folder.parent):
        check_manifest(folder.parent, below=f"{folder.name}/")


def read_record(path: Path, cls: type[R]) -> R:
    """A record of a checkpoint. Raises `CheckpointError`."""
    try:
        return cls.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise CheckpointError(f"{path}: missing, this is no whole checkpoint") from None
    except (ValidationError, ValueError, OSError) as error:
        line = str(error).splitlines()[0]
        raise CheckpointError(f"{path}: can't be read: {line}") from None
