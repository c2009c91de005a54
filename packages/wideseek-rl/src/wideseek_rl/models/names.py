"""What a model may be called: its folder, that of a training run, or the name of a bundled one."""

import re
from pathlib import Path

from wideseek_rl.models import smollm2

START = "start"
"""The name of the bundled start policy."""
CHECKPOINTS = "checkpoints"
"""The folder of the checkpoints in that of a training run."""

_STEP = re.compile(r"step_(\d{6,})")


def step_folders(checkpoints: Path) -> list[Path]:
    """The checkpoints of steps in a folder, from the oldest to the newest."""
    steps = [
        (int(match[1]), path)
        for path in checkpoints.glob("step_*")
        if path.is_dir() and (match := _STEP.fullmatch(path.name))
    ]
    return [path for _, path in sorted(steps)]


def named_model(name: str) -> str:
    """A model's name with `~` expanded; for a training run's folder, its newest checkpoint.

    Folders that are not there stay as they are: whoever opens the model reports them.
    """
    if name in (START, smollm2.NAME):
        return name
    try:
        folder = Path(name).expanduser()
    except RuntimeError:  # there is no home folder
        return name
    steps = step_folders(folder if folder.name == CHECKPOINTS else folder / CHECKPOINTS)
    if steps:
        return str(steps[-1])
    return str(folder) if name.startswith("~") else name
