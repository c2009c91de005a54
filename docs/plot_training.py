"""Draws the training curves of finished runs.

uv run --group bench docs/plot_training.py docs/training.svg LABEL=RUN [LABEL=RUN ...]
"""

import json
import sys
from pathlib import Path

import matplotlib as mpl
from matplotlib import pyplot as plt

PANELS = (
    ("score/item_f1", "Item F1 of training rollouts"),
    ("score/format_rate", "Valid tables"),
    ("agents/subagents_per_rollout", "Subagents per rollout"),
)
COLOURS = ("#1f6f8b", "#c8553d", "#588157")
WINDOW = 5


def figures(run: Path, name: str) -> list[float]:
    """A figure's value at every step."""
    lines = (run / "metrics.jsonl").read_text("utf-8").splitlines()
    values = [json.loads(line).get(name) for line in lines]
    return [value for value in values if value is not None]


def smoothed(values: list[float]) -> list[float]:
    """The mean of the last few steps."""
    recent = [values[max(0, at - WINDOW + 1) : at + 1] for at in range(len(values))]
    return [sum(part) / len(part) for part in recent]


def main() -> None:
    """Writes the picture."""
    target, *named = sys.argv[1:]
    runs: dict[str, list[Path]] = {}
    for item in named:
        label, _, run = item.partition("=")
        runs.setdefault(label, []).append(Path(run))
    mpl.rcParams |= {"font.size": 9, "svg.hashsalt": "wideseek", "axes.spines.top": False}
    mpl.rcParams |= {"axes.spines.right": False, "axes.grid": True, "grid.alpha": 0.25}
    figure, axes = plt.subplots(1, len(PANELS), figsize=(10, 3), layout="constrained")
    for axis, (name, title) in zip(axes, PANELS, strict=True):
        axis.set_title(title)
        axis.set_xlabel("step")
        for (label, folders), colour in zip(runs.items(), COLOURS, strict=False):
            for number, folder in enumerate(folders):
                values = figures(folder, name)
                steps = range(1, len(values) + 1)
                axis.plot(steps, values, color=colour, alpha=0.15, linewidth=0.8)
                axis.plot(steps, smoothed(values), color=colour, label=None if number else label)
    axes[0].legend(frameon=False)
    figure.savefig(target, metadata={"Date": None})


if __name__ == "__main__":
    main()
