"""The numbers beside the progress bar of a run."""

import time
from collections import Counter, defaultdict

from wideseek_eval.runs.results import Result
from wideseek_eval.statistics.means import mean_of
from wideseek_eval.statistics.summary import value_of

_TITLES = {"table": "item F1", "text": "correct"}


class LiveMetrics:
    """A running mean with its interval, and rollouts per second."""

    def __init__(self) -> None:
        self._values: defaultdict[str, list[float]] = defaultdict(list)
        self._outcomes: Counter[str] = Counter()
        self._kinds: set[str] = set()
        self._new = 0
        self._started = time.monotonic()

    def add(self, result: Result, *, new: bool = True) -> None:
        """Counts one result; `new` ones make up the speed."""
        self._new += new
        self._outcomes[result.outcome] += 1
        self._kinds.add(result.kind)
        value = value_of(result, "score")
        if value is not None:
            self._values[result.task_id].append(value)

    def metrics(self) -> dict[str, str]:
        """Name and value of what is worth watching."""
        mean = mean_of([sum(values) / len(values) for values in self._values.values()])
        title = _TITLES.get("".join(sorted(self._kinds)), "score")
        seconds = max(time.monotonic() - self._started, 1e-9)
        shown = {
            title: str(mean),
            "rollouts/s": f"{self._new / seconds:.3g}",
        }
        for outcome in ("failed", "unscored", "error"):
            if self._outcomes[outcome]:
                shown[outcome] = str(self._outcomes[outcome])
        return shown
