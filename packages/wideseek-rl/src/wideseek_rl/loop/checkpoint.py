"""Checkpoints of a run: written atomically, checksummed, the newest few kept."""

import logging
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field

from wideseek_core import CheckpointError, Record
from wideseek_core.files import folder_atomically
from wideseek_rl.models.manifest import STATE, check_manifest, read_record, write_manifest
from wideseek_rl.models.names import step_folders
from wideseek_rl.rollout.progress import PromptProgress
from wideseek_rl.threads import in_thread

logger = logging.getLogger(__name__)

BEST = "best"
DAMAGED = "damaged_"

WriteWeights = Callable[[Path], Awaitable[None]]
"""Writes the weights and the optimizer into an existing folder, as `Trainer.save` does."""


class TrainerState(Record):
    """How far a run is. Seeds follow from the step or the prompt, so no generator is saved."""

    version: Literal[1] = 1
    step: int
    """Steps done."""
    updates: int = 0
    """Steps that changed the weights: the version that engines report."""
    seconds: float = 0.0
    """Training time so far."""
    best: float | None = None
    """Highest value of the best-checkpoint metric."""
    best_metric: str | None = None
    """The metric that `best` is a value of."""
    unevaluated: bool = False
    """Whether the evaluation that was due after the step failed, so that it has to be made."""
    stopped: str = ""
    """Why a stop rule ended the run; empty if none did."""
    broken_rules: dict[str, int] = Field(default_factory=dict)
    """For how many steps in a row each stop rule has been broken."""
    empty_steps: int = 0
    """Steps in a row that lost all their rollouts."""
    tasks: str
    """Fingerprint of the tasks and their order."""
    prompts: PromptProgress | None = None
    """Which prompts are trained on; null where that follows from the step."""


@dataclass(frozen=True, slots=True)
class Saved:
    """A checkpoint whose files are all as they were written."""

    path: Path
    state: TrainerState


class CheckpointStore:
    """The checkpoints of one run: `step_000030/` and so on, and `best/`."""

    def __init__(self, folder: Path, *, keep_last: int) -> None:
        self.folder, self._keep_last = folder, keep_last

    async def save(self, state: TrainerState, write: WriteWeights) -> Path:
        """Saves a step, and deletes the oldest checkpoints."""
        path = self._path(state.step)
        await write_checkpoint(path, state, write)
        for old in self._steps()[: -self._keep_last]:
            await in_thread(lambda old=old: shutil.rmtree(old))
        return path

    async def save_best(self, state: TrainerState, write: WriteWeights) -> Path:
        """Saves a step as the best one so far."""
        path = self.folder / BEST
        await write_checkpoint(path, state, write)
        return path

    def best(self) -> Path | None:
        """The best checkpoint; its files are not checked."""
        path = self.folder / BEST
        return path if path.is_dir() else None

    def has(self, step: int) -> bool:
        """Whether a step is saved; its files are not checked."""
        return self._path(step).is_dir()

    def latest(self) -> Path | None:
        """The checkpoint of the highest step; its files are not checked."""
        steps = self._steps()
        return steps[-1] if steps else None

    async def newest_whole(self) -> Saved | None:
        """The newest checkpoint that is undamaged; None if there is no checkpoint at all.

        Damaged ones that are newer get another name, so that they are never counted again, and are
        reported. Where no other is left, as before the first one is due, it is the best one. Raises
        `CheckpointError` if all are damaged.
        """
        damaged: list[CheckpointError] = []
        for path in reversed(self._steps()):
            try:
                state = await in_thread(lambda path=path: read_checkpoint(path))
            except CheckpointError as error:
                logger.error("%s", error)
                damaged.append(error)
                continue
            return self._resumed(Saved(path, state), damaged)
        if (best := await self.whole_best()) is not None:
            return self._resumed(best, damaged)
        if damaged:
            raise CheckpointError(f"{damaged[0]}; no undamaged checkpoint is left")
        return None

    async def whole_best(self) -> Saved | None:
        """The best checkpoint, if there is one and it is undamaged; a damaged one is reported."""
        path = self.folder / BEST
        if not path.is_dir():
            return None
        try:
            return Saved(path, await in_thread(lambda: read_checkpoint(path)))
        except CheckpointError as error:
            logger.error("%s", error)
            self._rename(path)
            return None

    def clean(self) -> None:
        """Removes what a killed writer left; no other process may be writing.

        The best checkpoint that it was about to replace comes back.
        """
        for replaced in self.folder.glob(f".{BEST}.old.*/old"):
            if not (self.folder / BEST).exists():
                replaced.rename(self.folder / BEST)
        for name in ("step_*", f"{BEST}.*"):
            for path in self.folder.glob(f".{name}"):
                shutil.rmtree(path, ignore_errors=True)

    def _resumed(self, whole: Saved, damaged: list[CheckpointError]) -> Saved:
        """Renames the checkpoints that are newer than `whole`, all of them damaged."""
        if damaged:
            for path in self._steps()[-len(damaged) :]:
                self._rename(path)
            logger.error("resuming from the older checkpoint %s", whole.path)
        return whole

    def _rename(self, path: Path) -> None:
        target = path.with_name(DAMAGED + path.name)
        shutil.rmtree(target, ignore_errors=True)
        path.rename(target)
        logger.error("the damaged checkpoint is now %s", target)

    def _path(self, step: int) -> Path:
        return self.folder / f"step_{step:06d}"

    def _steps(self) -> list[Path]:
        return step_folders(self.folder)


def known_best(best: Saved | None, metric: str | None) -> float | None:
    """The value to beat: that of the best checkpoint, if it is a value of this metric.

    It is not the run's own memory of it: a checkpoint that is older than the best one knows a lower
    value, and one that is lost is no longer to be beaten.
    """
    return best.state.best if best is not None and best.state.best_metric == metric else None


async def write_checkpoint(path: Path, state: TrainerState, write: WriteWeights) -> None:
    """Writes weights, `state.json` and the manifest; the folder appears whole or not at all."""
    with folder_atomically(path) as folder:
        await write(folder)
        await in_thread(lambda: _seal(folder, state))


def _seal(folder: Path, state: TrainerState) -> None:
    (folder / STATE).write_text(state.model_dump_json(indent=2), "utf-8")
    write_manifest(folder)


def read_checkpoint(path: Path) -> TrainerState:
    """The state of a checkpoint whose files are all as they were written.

    Raises `CheckpointError` naming the first file that is not.
    """
    check_manifest(path)
    return read_record(path / STATE, TrainerState)
