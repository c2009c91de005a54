import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from wideseek_apps.sft_config import DemosConfig, SftConfig
from wideseek_apps.start_policy import make_start_policy, unfinished_file

SETTINGS = (
    "vocab_size=400",
    "vocabulary_worlds=5",
    "demos.worlds=6",
    "demos.processes=1",
    "max_tokens=600",
    "shape.hidden_size=32",
    "shape.layers=2",
    "sft.batch_tokens=1500",
    "sft.log_every_s=0.001",
    "sft.save_every_s=0.001",
    "device=cpu",
)


def started(folder: Path, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "wideseek_apps", "sft", *SETTINGS, f"folder={folder}", *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def updates_saved(file: Path) -> int:
    """Read from the header, which is JSON behind eight bytes."""
    try:
        text = file.read_bytes()
        header = json.loads(text[8 : 8 + int.from_bytes(text[:8], "little")])
    except FileNotFoundError:
        return 0
    return int(header["__metadata__"]["updates"])


def test_supervised_training_resumes_after_it_was_killed(tmp_path: Path) -> None:
    folder, saved = tmp_path / "made", tmp_path / "made.unfinished.safetensors"
    run = started(folder, "sft.epochs=100000")
    deadline = time.monotonic() + 120
    while updates_saved(saved) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    run.kill()
    out, _ = run.communicate(timeout=60)
    assert not folder.exists(), out
    reached = updates_saved(saved)
    assert reached >= 3, out
    last = started(folder, "sft.epochs=null", "sft.max_seconds=0.001")
    out, _ = last.communicate(timeout=120)
    assert last.returncode == 0, out
    assert f"resuming the run saved in {saved}" in out
    report = json.loads((folder / "training.json").read_text())
    assert report["training"]["updates"] == reached
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


def test_who_ends_supervised_training_reads_how_to_resume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    config = SftConfig(
        folder=tmp_path / "made",
        vocab_size=400,
        vocabulary_worlds=2,
        demos=DemosConfig(worlds=2, processes=1),
        max_tokens=600,
        device="cpu",
    )

    def end(*_: object, saved: Path, **__: object) -> None:
        saved.touch()
        raise KeyboardInterrupt

    monkeypatch.setattr("wideseek_apps.start_policy.train_on_demos", end)
    with pytest.raises(KeyboardInterrupt):
        make_start_policy(config)
    saved = unfinished_file(config.folder)
    assert f"the same command resumes from {saved}" in caplog.text
