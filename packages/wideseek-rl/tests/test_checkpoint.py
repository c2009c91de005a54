from pathlib import Path

import pytest

from wideseek_core import CheckpointError
from wideseek_rl import (
    CheckpointStore,
    TrainerState,
    read_checkpoint,
)


def state(step: int) -> TrainerState:
    return TrainerState(step=step, tasks="t")


def write(folder: Path) -> None:
    (folder / "model").mkdir()
    (folder / "model" / "weights").write_bytes(b"numbers")


def test_what_is_saved_can_be_read(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, keep_last=2)
    path = store.save(state(30), write)
    assert path.name == "step_000030"
    assert read_checkpoint(path) == state(30)


def test_the_newest_are_kept_and_the_best_beside_them(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, keep_last=2)
    assert store.latest() is None
    for step in (9, 10, 11):
        store.save(state(step), write)
    store.save_best(state(9), write)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "best",
        "step_000010",
        "step_000011",
    ]
    assert store.latest() == tmp_path / "step_000011"
    assert read_checkpoint(tmp_path / "best").step == 9


@pytest.mark.parametrize("name", ["model/weights", "state.json", "manifest.json"])
@pytest.mark.parametrize("damage", ["flip", "cut", "remove"])
def test_any_damaged_file_is_named(tmp_path: Path, name: str, damage: str) -> None:
    path = CheckpointStore(tmp_path, keep_last=1).save(state(1), write)
    file = path / name
    content = file.read_bytes()
    if damage == "flip":
        file.write_bytes(content.replace(b"s", b"z"))
    elif damage == "cut":
        file.write_bytes(content[: len(content) // 2])
    else:
        file.unlink()
    with pytest.raises(CheckpointError, match=name.rpartition("/")[2]):
        read_checkpoint(path)


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        write(folder)
        raise OSError("disk full")

    store = CheckpointStore(tmp_path, keep_last=1)
    with pytest.raises(OSError, match="disk full"):
        store.save(state(1), fail)
    assert list(tmp_path.iterdir()) == []


def test_leftovers_of_a_killed_writer_are_cleared(tmp_path: Path) -> None:
    (tmp_path / ".step_000003.abc").mkdir()
    store = CheckpointStore(tmp_path, keep_last=1)
    store.clean()
    assert store.latest() is None
    assert list(tmp_path.iterdir()) == []


def test_a_best_checkpoint_that_was_being_replaced_comes_back(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, keep_last=1)
    best = store.save_best(state(4), write)
    (tmp_path / ".best.old.abc").mkdir()
    best.rename(tmp_path / ".best.old.abc" / "old")
    (tmp_path / ".best.xyz").mkdir()
    store.clean()
    assert read_checkpoint(best).step == 4
    assert list(tmp_path.iterdir()) == [best]
