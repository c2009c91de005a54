"""Which evaluation metric names the best checkpoint."""

import logging
import math
from collections.abc import Mapping

from wideseek_core import TrainError

logger = logging.getLogger(__name__)


def best_value(metrics: Mapping[str, float], name: str) -> float | None:
    """The value of a metric, or its mean over the evaluation sets (`SET/NAME`) that have it.

    None, with a warning, if it is not finite: nothing could be scored. Raises `TrainError` if no
    set has the metric.
    """
    values = [metrics[name]] if name in metrics else _of_sets(metrics, name)
    if not values:
        raise TrainError(f"the evaluation has no metric {name!r}; it has {sorted(metrics)}")
    mean = math.fsum(values) / len(values)
    if not math.isfinite(mean):
        logger.warning("the evaluation metric %s is %s: the step is not compared", name, mean)
        return None
    return mean


def _of_sets(metrics: Mapping[str, float], name: str) -> list[float]:
    return [value for key, value in metrics.items() if key.endswith(f"/{name}")]
