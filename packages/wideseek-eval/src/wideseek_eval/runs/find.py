"""Which runs a user means by a folder: an evaluation, or a training run with evaluations in it."""

from dataclasses import dataclass
from pathlib import Path

from wideseek_core import DataError
from wideseek_eval.runs.folder import GRADING_NAME, RunFolder, StoredRun, load_run, read_header

BEFORE, AFTER = "before", "after"
"""The evaluations that a training run makes of its first and its last weights."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedRun:
    """A run, or one of its regradings."""

    path: Path
    grading: str = ""

    def load(self) -> StoredRun:
        """Reads it. Raises `DataError`."""
        return load_run(self.path, self.grading)

    def __str__(self) -> str:
        return f"{self.path}:{self.grading}" if self.grading else str(self.path)


def page_path(name: str, stem: str) -> Path:
    """Where a page about `FOLDER` or `FOLDER:GRADING` belongs: gradings have pages of their own.

    Raises `DataError` for a name that can be neither.
    """
    path, grading = _parts(name)
    return path / (f"{stem}.{grading}.html" if grading else f"{stem}.html")


def find_runs(name: str) -> list[NamedRun]:
    """The run that `FOLDER` or `FOLDER:GRADING` names, or the runs inside it, first ones first.

    Raises `DataError` if the folder is no run and holds none.
    """
    path, grading = _parts(name)
    results = RunFolder(path=path, grading=grading).results.name
    inside = [below.parent for below in sorted(path.glob(f"*/{results}"))]
    if RunFolder(path=path).results.exists() or not inside:
        read_header(RunFolder(path=path).header)
        return [NamedRun(path=path, grading=grading)]
    inside.sort(key=lambda run: (run.name == AFTER, run.name != BEFORE, run.name))
    return [NamedRun(path=run, grading=grading) for run in inside]


def find_run(name: str) -> NamedRun:
    """The one run that a name means; of a training run the evaluation of its last weights.

    Raises `DataError` if that is not clear.
    """
    found = find_runs(name)
    if len(found) == 1 or found[-1].path.name == AFTER:
        return found[-1]
    raise DataError(f"{name}: which of its runs? {', '.join(map(str, found))}")


def find_pair(name: str) -> tuple[NamedRun, NamedRun]:
    """The evaluations before and after a training run. Raises `DataError` if there is only one."""
    found = {run.path.name: run for run in find_runs(name)}
    if BEFORE not in found or AFTER not in found:
        raise DataError(f"{name}: give a second run, or a training run with {BEFORE}/ and {AFTER}/")
    return found[BEFORE], found[AFTER]


def _parts(name: str) -> tuple[Path, str]:
    if not name.strip():
        raise DataError("the name of a run is empty")
    if Path(name).is_dir() or ":" not in name:
        return Path(name), ""
    folder, _, grading = name.rpartition(":")
    if not folder or not GRADING_NAME.fullmatch(grading):
        raise DataError(f"{name!r}: expected a run's folder, or FOLDER:NAME of a regrading")
    return Path(folder), grading
