from pathlib import Path

import pytest

from wideseek_core import CheckpointError
from wideseek_rl import CheckpointStore, TrainerState, read_checkpoint


def state(step: int) -> TrainerState:
    return TrainerState(step=step, tasks="t")


async def write(folder: Path) -> None:
    (folder / "model").mkdir()
    (folder / "model" / "weights").write_bytes(b"numbers")


async def test_what_is_saved_can_be_read(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, keep_last=2)
    path = await store.save(state(30), write)
    assert path.name == "step_000030"
    assert read_checkpoint(path) == state(30)


async def test_the_newest_are_kept_and_the_best_beside_them(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, keep_last=2)
    assert store.latest() is None
    for step in (9, 10, 11):
        await store.save(state(step), write)
    await store.save_best(state(9), write)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "best",
        "step_000010",
        "step_000011",
    ]
    assert store.latest() == tmp_path / "step_000011"
    assert read_checkpoint(tmp_path / "best").step == 9


@pytest.mark.parametrize("name", ["model/weights", "state.json", "manifest.json"])
@pytest.mark.parametrize("damage", ["flip", "cut", "remove"])
async def test_any_damaged_file_is_named(tmp_path: Path, name: str, damage: str) -> None:
    path = await CheckpointStore(tmp_path, keep_last=1).save(state(1), write)
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


async def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    async def fail(folder: Path) -> None:
        await write(folder)
        raise OSError("disk full")

    store = CheckpointStore(tmp_path, keep_last=1)
    with pytest.raises(OSError, match="disk full"):
        await store.save(state(1), fail)
    assert list(tmp_path.iterdir()) == []


def test_leftovers_of_a_killed_writer_are_cleared(tmp_path: Path) -> None:
    (tmp_path / ".step_000003.abc").mkdir()
    store = CheckpointStore(tmp_path, keep_last=1)
    store.clean()
    assert store.latest() is None
    assert list(tmp_path.iterdir()) == []


async def test_a_best_checkpoint_that_was_being_replaced_comes_back(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, keep_last=1)
    best = await store.save_best(state(4), write)
    (tmp_path / ".best.old.abc").mkdir()
    best.rename(tmp_path / ".best.old.abc" / "old")
    (tmp_path / ".best.xyz").mkdir()
    store.clean()
    assert read_checkpoint(best).step == 4
    assert list(tmp_path.iterdir()) == [best]


async def test_the_newest_whole_checkpoint_is_taken_and_damaged_ones_are_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = CheckpointStore(tmp_path, keep_last=3)
    for step in (1, 2, 3):
        await store.save(state(step), write)
    (tmp_path / "step_000003" / "model" / "weights").write_bytes(b"numbert")
    (tmp_path / "step_000002" / "state.json").unlink()
    saved = await store.newest_whole()
    assert saved is not None
    assert (saved.path.name, saved.state.step) == ("step_000001", 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "damaged_step_000002",
        "damaged_step_000003",
        "step_000001",
    ]
    shown = caplog.text
    assert "weights: damaged" in shown
    assert "state.json: missing" in shown
    assert "resuming from the older checkpoint" in shown


async def test_without_any_whole_checkpoint_the_newest_damage_is_the_error(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, keep_last=2)
    for step in (1, 2):
        path = await store.save(state(step), write)
        (path / "manifest.json").write_bytes(b"{")
    with pytest.raises(CheckpointError, match=r"step_000002.*no undamaged checkpoint is left"):
        await store.newest_whole()
    assert store.latest() == tmp_path / "step_000002"


async def test_a_damaged_checkpoint_takes_no_place_of_a_whole_one(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, keep_last=1)
    await store.save(state(8), write)
    await CheckpointStore(tmp_path, keep_last=2).save(state(9), write)
    (tmp_path / "step_000009" / "state.json").write_bytes(b"{}")
    await store.newest_whole()
    await store.save(state(9), write)
    assert store.latest() == tmp_path / "step_000009"
    assert read_checkpoint(tmp_path / "step_000009") == state(9)


async def test_steps_are_ordered_as_numbers(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, keep_last=2)
    for step in (999_999, 1_000_000):
        await store.save(state(step), write)
    assert store.latest() == tmp_path / "step_1000000"
