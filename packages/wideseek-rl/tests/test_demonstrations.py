from pathlib import Path

import numpy as np
import pytest

from wideseek_core import CorruptFile, DataError
from wideseek_rl import DemoSet


def demos() -> DemoSet:
    return DemoSet.from_rows([([1, 7, 9], [1, 0, 1]), ([4, 5], [False, True])])


def test_rows_come_back_from_disk(tmp_path: Path) -> None:
    path = tmp_path / "demos.npz"
    demos().save(path)
    loaded = DemoSet.load(path)
    assert (len(loaded), loaded.tokens, list(loaded.lengths)) == (2, 5, [3, 2])
    ids, mask = loaded.row(1)
    assert (list(ids), list(mask)) == ([4, 5], [0, 1])
    assert [path.name for path in tmp_path.iterdir()] == ["demos.npz"]
    (tmp_path / "plain").touch()
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_the_first_token_of_a_row_never_trains() -> None:
    assert list(demos().row(0)[1]) == [0, 0, 1]


def test_sets_can_be_joined() -> None:
    joined = DemoSet.join([demos(), demos()])
    assert (len(joined), joined.tokens) == (4, 10)
    assert list(joined.row(2)[0]) == [1, 7, 9]
    assert len(DemoSet.join([])) == 0


def test_a_row_whose_lengths_differ_is_named() -> None:
    with pytest.raises(DataError, match="row 1: ids: 2, mask entries: 1"):
        DemoSet.from_rows([([1], [0]), ([1, 2], [0])])


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        DemoSet.load(tmp_path / "demos.npz")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 half a file", b"no zip at all"])
def test_a_file_of_another_kind_is_corrupt(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "demos.npz"
    path.write_bytes(content)
    with pytest.raises(CorruptFile, match="not a demonstration file"):
        DemoSet.load(path)


def test_a_truncated_file_is_corrupt(tmp_path: Path) -> None:
    path = tmp_path / "demos.npz"
    demos().save(path)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(CorruptFile):
        DemoSet.load(path)


def test_arrays_that_do_not_fit_are_corrupt(tmp_path: Path) -> None:
    path = tmp_path / "demos.npz"
    good = demos()
    np.savez(path, format=1, ids=good.ids[:-1], mask=good.mask, offsets=good.offsets)
    with pytest.raises(CorruptFile, match="don't fit together"):
        DemoSet.load(path)
