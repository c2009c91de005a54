"""Checkpoints of a run: whole or absent, checksummed, the newest few kept."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import ValidationError

from wideseek_core import CheckpointError, Record
from wideseek_core.files import folder_atomically, sha256

R = TypeVar("R", bound=Record)

MANIFEST = "manifest.json"
BEST = "best"


class Manifest(Record):
    """What a checkpoint consists of; written last."""

    version: Literal[1] = 1
    files: dict[str, str]
    """SHA-256 by path within the checkpoint."""


class TrainerState(Record):
    """Where a run stands. Tasks and seeds follow from the step, so no generator needs saving."""

    version: Literal[1] = 1
    step: int
    """Steps done."""
    updates: int = 0
    """Steps that changed the weights: the version that engines report."""
    seconds: float = 0.0
    """Training time so far."""
    best: float | None = None
    """Highest value of the best-checkpoint metric."""
    tasks: str
    """Fingerprint of the tasks and their order."""


class CheckpointStore:
    """The checkpoints of one run: `step_000030/` and so on, and `best/`."""

    def __init__(self, folder: Path, *, keep_last: int) -> None:
        self._folder, self._keep_last = folder, keep_last

    def save(self, state: TrainerState, write: Callable[[Path], None]) -> Path:
        """Saves a step; `write` puts the weights into the folder it is given."""
        path = self._folder / f"step_{state.step:06d}"
        write_checkpoint(path, state, write)
        for old in self._steps()[: -self._keep_last]:
            shutil.rmtree(old)
        return path

    def save_best(self, state: TrainerState, write: Callable[[Path], None]) -> Path:
        """Saves a step as the best one so far."""
        path = self._folder / BEST
        write_checkpoint(path, state, write)
        return path

    def latest(self) -> Path | None:
        """The checkpoint of the highest step; it may still be corrupt."""
        return self._steps()[-1] if self._steps() else None

    def clean(self) -> None:
        """Removes what a killed writer left behind; no other process may be writing.

        The best checkpoint that it was about to replace comes back.
        """
        for replaced in self._folder.glob(f".{BEST}.old.*/old"):
            if not (self._folder / BEST).exists():
                replaced.rename(self._folder / BEST)
        for name in ("step_*", f"{BEST}.*"):
            for path in self._folder.glob(f".{name}"):
                shutil.rmtree(path, ignore_errors=True)

    def _steps(self) -> list[Path]:
        found = (path for path in self._folder.glob("step_*") if path.is_dir())
        return sorted(path for path in found if re.fullmatch(r"step_\d{6,}", path.name))


def write_checkpoint(path: Path, state: TrainerState, write: Callable[[Path], None]) -> None:
    """Writes weights, `state.json` and the manifest; the folder appears whole or not at all."""
    with folder_atomically(path) as folder:
        write(folder)
        (folder / "state.json").write_text(state.model_dump_json(indent=2), "utf-8")
        files = sorted(file for file in folder.rglob("*") if file.is_file())
        sums = {str(file.relative_to(folder)): sha256(file) for file in files}
        (folder / MANIFEST).write_text(Manifest(files=sums).model_dump_json(indent=2), "utf-8")


def read_checkpoint(path: Path) -> TrainerState:
    """The state of a checkpoint whose files are all as they were written.

    Raises `CheckpointError` naming the file that is not.
    """
    manifest = _read(path / MANIFEST, Manifest)
    for name, digest in manifest.files.items():
        file = path / name
        if not file.is_file():
            raise CheckpointError(f"{file}: missing from the checkpoint")
        if sha256(file) != digest:
            raise CheckpointError(f"{file}: damaged, its checksum is not the one in {MANIFEST}")
    return _read(path / "state.json", TrainerState)


def _read(path: Path, cls: type[R]) -> R:
    try:
        return cls.model_validate_json(path.read_text("utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{path}: missing, this is no whole checkpoint") from None
    except (ValidationError, ValueError, OSError) as error:
        line = str(error).splitlines()[0]
        raise CheckpointError(f"{path}: can't be read: {line}") from None
