"""Which evaluations of a training run are kept when it is resumed."""

from pathlib import Path

import pytest

from wideseek_apps.evaluation_folders import LaterEvaluations, set_aside
from wideseek_core import DataError
from wideseek_eval.runs.folder import RunFolder, begin_run


def evaluate(folder: Path, step: int) -> Path:
    begin_run(RunFolder(path=folder), [], {"step": step})
    return folder


async def test_a_resumed_run_measures_the_steps_again_that_it_does_again(tmp_path: Path) -> None:
    kept = [
        evaluate(tmp_path / "before", 0),
        evaluate(tmp_path / "after_step_3", 3),
        evaluate(tmp_path / "validation" / "a" / "step_000002", 2),
        evaluate(tmp_path / "validation" / "b" / "step_000004", 4),
    ]
    lost = [
        evaluate(tmp_path / "validation" / "a" / "step_000006", 6),
        evaluate(tmp_path / "validation" / "b" / "step_000006", 6),
        evaluate(tmp_path / "after", 6),
        evaluate(tmp_path / "after_step_5", 5),
    ]
    await LaterEvaluations(tmp_path).start(4)
    assert [folder.exists() for folder in kept] == [True] * 4
    assert [folder.exists() for folder in lost] == [False] * 4
    await LaterEvaluations(tmp_path).start(4)


async def test_a_run_that_has_ended_keeps_its_last_evaluation(tmp_path: Path) -> None:
    after = evaluate(tmp_path / "after", 6)
    await LaterEvaluations(tmp_path).start(6)
    set_aside(after, 6)
    assert after.exists()
    set_aside(after, 9)
    assert (tmp_path / "after_step_6").is_dir()
    set_aside(evaluate(after, 6), 9)  # having gone back to step 6
    assert not after.exists()


async def test_an_evaluation_that_can_not_be_read_is_named(tmp_path: Path) -> None:
    header = RunFolder(path=tmp_path / "after").header
    header.parent.mkdir()
    header.write_text("{")
    with pytest.raises(DataError, match=r"config\.json: not the settings of an evaluation"):
        await LaterEvaluations(tmp_path).start(1)
