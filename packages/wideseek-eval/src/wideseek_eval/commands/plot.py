"""`wideseek-eval plot`: pictures of runs."""

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from wideseek_core import Config, ConfigError
from wideseek_core.config import load_config
from wideseek_core.counting import counted
from wideseek_core.extras import require_modules
from wideseek_core.files import write_atomically
from wideseek_core.progress import show
from wideseek_eval.commands.labelled import as_settings
from wideseek_eval.reports.plots import draw
from wideseek_eval.reports.run_plots import (
    is_training,
    note_on,
    training_panels,
    width_panels,
)

USAGE = "wideseek-eval plot TARGET [LABEL=]RUN [[LABEL=]RUN ...] [KEY=VALUE ...]"


class PlotConfig(Config):
    """Draws the training curves of training runs, or how evaluations score by their width."""

    target: Path
    """Where to draw: a file that ends in .svg, or in .png, which needs the extra `png`."""
    runs: tuple[str, ...] = Field(min_length=1)
    """Folders of runs, each with a label or without. Training runs of one label have one color."""
    kind: Literal["training", "width"] | None = None
    """`training` draws metrics by step, `width` scores of evaluations by the number of subagents;
    null draws what the folders are."""
    metrics: tuple[str, ...] = ()
    """A panel each; empty for the usual ones."""
    zoom: float = Field(default=2.0, gt=0, le=8)
    """Pixels of a PNG file for one of the picture."""


def run(arguments: Sequence[str]) -> None:
    """Runs the command."""
    config = load_config(
        PlotConfig, as_settings(arguments, PlotConfig, "target", "runs"), usage=USAGE
    )
    ending = config.target.suffix.lower()
    if ending not in (".svg", ".png"):
        raise ConfigError(f"{config.target}: the name of a picture must end in .svg or .png")
    if ending == ".png":
        require_modules("resvg_py", feature="a PNG picture", install="wideseek-eval[png]")
    runs = [_labelled(text) for text in config.runs]
    kind = config.kind or ("training" if all(is_training(path) for _, path in runs) else "width")
    make = training_panels if kind == "training" else width_panels
    title = "Training curves" if kind == "training" else "Scores by the number of subagents"
    panels = make(runs, config.metrics)
    svg = draw(title, panels, note=note_on(panels))
    content = svg if ending == ".svg" else _png(svg, config.zoom)
    write_atomically(config.target, content)
    show(f"{title.lower()} of {counted(len(runs), 'run')}: {config.target}")


def _labelled(text: str) -> tuple[str, Path]:
    label, equals, folder = text.partition("=")
    if not equals or Path(text).exists():
        return Path(text).name or text, Path(text)
    return label, Path(folder)


def _png(svg: str, zoom: float) -> bytes:
    resvg: Any = importlib.import_module("resvg_py")
    return bytes(resvg.svg_to_bytes(svg_string=svg, zoom=zoom))
