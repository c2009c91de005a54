"""Demonstrations for the supervised stage: token rows with a mask of what trains, in one file."""

import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wideseek_core import CorruptFile, DataError
from wideseek_core.files import file_atomically

FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DemoSet:
    """Rows laid end to end. TrainingSample i is `ids[offsets[i]:offsets[i + 1]]`.

    Example: `DemoSet.from_rows([([1, 7, 9, 2], [0, 0, 1, 1])])`
    """

    ids: NDArray[np.int32]
    mask: NDArray[np.uint8]
    """1 where the token trains; a row's first token never does, nothing comes before it."""
    offsets: NDArray[np.int64]

    @classmethod
    def from_rows(cls, rows: Iterable[tuple[Sequence[int], Sequence[int | bool]]]) -> "DemoSet":
        """Joins (ids, mask) pairs. Raises `DataError` where a row's two lengths differ."""
        ids: list[NDArray[np.int32]] = []
        masks: list[NDArray[np.uint8]] = []
        for number, (row, trained) in enumerate(rows):
            if len(row) != len(trained) or not len(row):
                raise DataError(f"row {number}: ids: {len(row)}, mask entries: {len(trained)}")
            ids.append(np.asarray(row, dtype=np.int32))
            masks.append(np.array(trained, dtype=np.uint8))
            masks[-1][0] = 0
        return cls(
            ids=np.concatenate([np.empty(0, np.int32), *ids]),
            mask=np.concatenate([np.empty(0, np.uint8), *masks]),
            offsets=np.cumsum([0, *map(len, ids)], dtype=np.int64),
        )

    @classmethod
    def join(cls, parts: Sequence["DemoSet"]) -> "DemoSet":
        """Several sets as one, in order: what parallel writers make."""
        lengths = [np.diff(part.offsets) for part in parts]
        return cls(
            ids=np.concatenate([np.empty(0, np.int32), *(part.ids for part in parts)]),
            mask=np.concatenate([np.empty(0, np.uint8), *(part.mask for part in parts)]),
            offsets=np.cumsum(np.concatenate([[0], *lengths]), dtype=np.int64),
        )

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def tokens(self) -> int:
        """Of all rows."""
        return len(self.ids)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each row."""
        return np.diff(self.offsets)

    def row(self, index: int) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
        """Ids and mask of one row."""
        span = slice(int(self.offsets[index]), int(self.offsets[index + 1]))
        return self.ids[span], self.mask[span]

    def save(self, path: Path) -> None:
        """Writes a `.npz` file, whole or not at all."""
        with file_atomically(path) as file:
            np.savez(
                file, format=np.int64(FORMAT), ids=self.ids, mask=self.mask, offsets=self.offsets
            )

    @classmethod
    def load(cls, path: Path) -> "DemoSet":
        """Reads what `save` wrote. Raises `DataError`, and `CorruptFile` naming what is wrong."""
        try:
            # Opened here, since a zip that can't be read would stay open.
            with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
                if int(file["format"]) != FORMAT:
                    raise CorruptFile(f"{path}: demonstrations of another format")
                demos = cls(ids=file["ids"], mask=file["mask"], offsets=file["offsets"])
        except FileNotFoundError:
            raise DataError(f"no such file: {path}") from None
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise CorruptFile(f"{path}: not a demonstration file: {error}") from None
        demos.check(path)
        return demos

    def check(self, path: Path) -> None:
        """Raises `CorruptFile` if the parts don't fit together."""
        kinds = (self.ids.dtype, self.mask.dtype, self.offsets.dtype)
        if kinds != (np.int32, np.uint8, np.int64) or not len(self.offsets):
            raise CorruptFile(f"{path}: arrays of unexpected types: {', '.join(map(str, kinds))}")
        ends = (int(self.offsets[0]), int(self.offsets[-1]))
        fits = len(self.mask) == len(self.ids) and ends == (0, len(self.ids))
        if not fits or (len(self) and int(self.lengths.min()) < 1):
            raise CorruptFile(f"{path}: rows and arrays don't fit together")
