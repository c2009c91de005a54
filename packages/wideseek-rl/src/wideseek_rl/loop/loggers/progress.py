"""A progress bar with the metrics that a person watches."""

from wideseek_core.progress import ProgressBar
from wideseek_rl.loop.loggers.protocol import StepReport

SHOWN = {
    "reward": "reward/mean",
    "score": "score/mean",
    "dropped": "dropped/rollouts",
    "tok/s": "speed/generated_per_s",
}
"""Metrics beside the bar, by the label that they get there."""


class ProgressLogger:
    """Advances a bar by one for every step. The bar is closed by whoever opened it."""

    def __init__(self, bar: ProgressBar) -> None:
        self._bar = bar

    async def start(self, step: int) -> None:
        """Counts the steps that were done before."""
        self._bar.advance(step)

    async def write(self, report: StepReport) -> None:
        """Advances if the report is about rollouts."""
        if report.groups:
            found = report.metrics
            self._bar.advance(1, {name: found[key] for name, key in SHOWN.items() if key in found})

    async def close(self) -> None:
        """Nothing is buffered."""
