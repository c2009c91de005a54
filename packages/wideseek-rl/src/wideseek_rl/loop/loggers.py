"""Where a run's metrics and episodes go."""

import importlib
import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from wideseek_core import ConfigError
from wideseek_core.episode_records import episode_record
from wideseek_core.files import append_text, drop_torn_line, read_objects, write_atomically
from wideseek_core.json_text import to_json
from wideseek_core.progress import ProgressBar
from wideseek_rl.config import LoggersConfig
from wideseek_rl.rollout.scored import ScoredEpisode


@dataclass(frozen=True, slots=True, kw_only=True)
class StepReport:
    """What there is to tell about one step."""

    step: int
    """Counted from 1: steps done after it."""
    metrics: Mapping[str, float]
    groups: Sequence[Sequence[ScoredEpisode]] = ()
    rewards: Sequence[Sequence[float]] = ()
    """Of the usable rollouts of each question that has any."""


class MetricLogger(Protocol):
    """Takes reports, of one run in one process."""

    def start(self, step: int) -> None:
        """Begins after `step` steps: what an earlier process wrote of later ones is void."""
        ...

    def write(self, report: StepReport) -> None:
        """Takes one report; several may come for one step."""
        ...

    def close(self) -> None:
        """Writes out what is held back."""
        ...


class JsonLinesLogger:
    """One JSON object per report in `metrics.jsonl`, with `step` and a `version`."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def start(self, step: int) -> None:
        """Drops lines of steps that will be done again."""
        if self._path.exists():
            drop_torn_line(self._path)
            kept = [json.dumps(o) for _, o in read_objects(self._path) if o.get("step", 0) <= step]
            write_atomically(self._path, "".join(f"{line}\n" for line in kept))

    def write(self, report: StepReport) -> None:
        """Appends a line."""
        append_text(self._path, json.dumps({"version": 1, "step": report.step, **report.metrics}))

    def close(self) -> None:
        """Nothing is held back."""


class EpisodeLogger:
    """All rollouts of a step in `episodes/step_000012.jsonl`, written whole."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def start(self, step: int) -> None:
        """A step that is done again replaces its file."""

    def write(self, report: StepReport) -> None:
        """Writes the file of a step that has rollouts."""
        if not report.groups:
            return
        lines: list[str] = []
        rewards = iter(report.rewards)
        for group in report.groups:
            earned = iter(next(rewards, ()) if any(s.usable for s in group) else ())
            for scored in group:
                reward = next(earned, None) if scored.usable else None
                record = episode_record(
                    scored.episode, step=report.step, reward=reward, score=scored.score
                )
                lines.append(to_json(record) + "\n")
        write_atomically(self._folder / f"step_{report.step:06d}.jsonl", "".join(lines))

    def close(self) -> None:
        """Nothing is held back."""


class TensorBoardLogger:
    """Event files for TensorBoard."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writer: Any = None

    def start(self, step: int) -> None:
        """Opens a new event file that hides later steps of older ones."""
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(self._folder), purge_step=step + 1)

    def write(self, report: StepReport) -> None:
        """Adds one point to each curve."""
        for name, value in report.metrics.items():
            self._writer.add_scalar(name, value, report.step)

    def close(self) -> None:
        """Closes the event file."""
        if self._writer is not None:
            self._writer.close()


class WandbLogger:
    """A Weights & Biases run, named after its folder and resumed by the id that is kept there."""

    def __init__(self, project: str, folder: Path) -> None:
        try:
            self._wandb: Any = importlib.import_module("wandb")
        except ModuleNotFoundError:
            raise ConfigError(
                f"loggers.wandb_project: {project!r} needs the wandb package: "
                "pip install 'wideseek-rl[wandb]'"
            ) from None
        self._project, self._folder = project, folder
        self._run: Any = None

    def start(self, step: int) -> None:
        """Opens the run, or continues it."""
        file = self._folder / "wandb_id.txt"
        if not (step and file.exists()):
            # Folders of one name are many, and an id that was deleted can't be used again.
            write_atomically(file, secrets.token_hex(8))
        self._run = self._wandb.init(
            project=self._project,
            id=file.read_text("utf-8"),
            name=self._folder.resolve().name,
            dir=str(self._folder),
            resume="allow",
        )

    def write(self, report: StepReport) -> None:
        """Logs the metrics of a step."""
        self._run.log(dict(report.metrics), step=report.step)

    def close(self) -> None:
        """Ends the run."""
        if self._run is not None:
            self._run.finish()


class ProgressLogger:
    """Moves a progress bar and shows the metrics a person watches."""

    def __init__(self, bar: ProgressBar) -> None:
        self._bar = bar

    def start(self, step: int) -> None:
        """Counts the steps done before."""
        self._bar.advance(step)

    def write(self, report: StepReport) -> None:
        """One step further, if the report is about rollouts."""
        if report.groups:
            shown = {name: report.metrics[key] for name, key in SHOWN.items()}
            self._bar.advance(1, shown)

    def close(self) -> None:
        """The bar is closed by who opened it."""


SHOWN = {
    "reward": "reward/mean",
    "score": "score/mean",
    "dropped": "dropped/error",
    "tok/s": "speed/generated_per_s",
}


def open_loggers(config: LoggersConfig, folder: Path) -> list[MetricLogger]:
    """The loggers a configuration asks for. Raises `ConfigError` if one can't be had."""
    loggers: list[MetricLogger] = [JsonLinesLogger(folder / "metrics.jsonl")]
    if config.episodes:
        loggers.append(EpisodeLogger(folder / "episodes"))
    if config.tensorboard:
        loggers.append(TensorBoardLogger(folder / "tensorboard"))
    if config.wandb_project is not None:
        loggers.append(WandbLogger(config.wandb_project, folder))
    return loggers
