"""Scaling of losses for float16, whose gradients would underflow otherwise."""

import logging

from wideseek_core import TrainError

MIN_SCALE = 1.0
"""Scale below which the gradient itself is at fault."""

GROWTH_UPDATES = 1000
"""Good updates after which a larger scale is tried."""

logger = logging.getLogger(__name__)


class LossScale:
    """The factor of the loss: halved when a gradient overflows, doubled after many that did not."""

    def __init__(self, value: float, good: int = 0) -> None:
        self.value = value
        self.good = good
        """Good updates since it last changed."""

    def succeeded(self) -> None:
        """Counts an update whose gradient was finite."""
        self.good += 1
        if self.good >= GROWTH_UPDATES:
            self.value *= 2
            self.good = 0

    def overflowed(self) -> None:
        """Takes a smaller scale for the next update.

        Raises `TrainError` where that can't help any more.
        """
        self.good = 0
        self.value /= 2
        logger.info("the gradient overflowed: the loss scale is now %g", self.value)
        if self.value < MIN_SCALE:
            raise TrainError("the gradient is not finite although the loss is not scaled up")
