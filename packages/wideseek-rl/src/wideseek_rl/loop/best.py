"""Which evaluation metric names the best checkpoint."""

import logging
import math
from collections import defaultdict
from collections.abc import Mapping

from wideseek_core import TrainError

logger = logging.getLogger(__name__)


def best_value(metrics: Mapping[str, float], name: str) -> float | None:
    """The value of a metric, or its mean over the evaluation sets (`SET/NAME`) that have it.

    None, with a warning, if it is not finite or nothing of a set could be scored: the mean of the
    other sets is no value to compare. Raises `TrainError` if no set has the metric.
    """
    exact = name in metrics
    values = [metrics[name]] if exact else _of_sets(metrics, name)
    lost = [] if exact else _unscored(metrics)
    if lost:
        logger.warning("the step is not compared: nothing could be scored in %s", ", ".join(lost))
        return None
    if not values:
        raise TrainError(f"the evaluation has no metric {name!r}; it has {sorted(metrics)}")
    mean = math.fsum(values) / len(values) if all(map(math.isfinite, values)) else math.nan
    if not math.isfinite(mean):
        logger.warning("the evaluation metric %s is %s: the step is not compared", name, mean)
        return None
    return mean


def _of_sets(metrics: Mapping[str, float], name: str) -> list[float]:
    return [value for key, value in metrics.items() if key.endswith(f"/{name}")]


def _unscored(metrics: Mapping[str, float]) -> list[str]:
    """The sets in which no metric is a number; a set without a name is `the evaluation`."""
    sets = defaultdict[str, list[float]](list)
    for key, value in metrics.items():
        sets[key.rpartition("/")[0] or "the evaluation"].append(value)
    if not metrics:
        return ["the evaluation"]
    return [name for name, values in sets.items() if not any(map(math.isfinite, values))]
