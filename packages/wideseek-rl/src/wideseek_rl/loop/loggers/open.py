"""Opens the metric loggers that a configuration names.

Loggers of installed distributions are `Plugin` entry points of `wideseek.metric_loggers`: `open`
takes the configuration and a `LoggedRun`, and returns a `MetricLogger`.
"""

from collections.abc import Sequence

from wideseek_core import Config
from wideseek_core.plugins import opener
from wideseek_rl.loop.loggers.episodes import EpisodeLogger
from wideseek_rl.loop.loggers.json_lines import JsonLinesLogger
from wideseek_rl.loop.loggers.mlflow import MLflowConfig, MLflowLogger
from wideseek_rl.loop.loggers.protocol import LoggedRun, MetricLogger
from wideseek_rl.loop.loggers.services import OfService
from wideseek_rl.loop.loggers.swanlab import SwanLabConfig, SwanLabLogger
from wideseek_rl.loop.loggers.tensorboard import TensorBoardConfig, TensorBoardLogger
from wideseek_rl.loop.loggers.wandb import WandbConfig, WandbLogger

METRIC_LOGGERS = "wideseek.metric_loggers"


def open_loggers(
    configs: Sequence[Config],
    run: LoggedRun,
    *,
    episodes: bool = True,
) -> list[MetricLogger]:
    """`metrics.jsonl`, the episode files if wanted, and the configured loggers.

    Raises `ConfigError` for a logger whose package is not installed.
    """
    loggers: list[MetricLogger] = [JsonLinesLogger(run.folder / "metrics.jsonl")]
    if episodes:
        loggers.append(EpisodeLogger(run.folder / "episodes"))
    return loggers + [open_logger(config, run) for config in configs]


def open_logger(config: Config, run: LoggedRun) -> MetricLogger:
    """The logger of a configuration. Raises `ConfigError`."""
    match config:
        case TensorBoardConfig():
            return TensorBoardLogger(config, run)
        case WandbConfig():
            return OfService(config.kind, WandbLogger(config, run))
        case MLflowConfig():
            return OfService(config.kind, MLflowLogger(config, run))
        case SwanLabConfig():
            return OfService(config.kind, SwanLabLogger(config, run))
        case _:
            return opener(METRIC_LOGGERS, config)(config, run)
