"""Stop rules: signs of collapse that end a run."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from wideseek_core.counting import counted

if TYPE_CHECKING:
    from wideseek_rl.config import StopConfig


class CollapseWatch:
    """Counts for how many steps in a row each rule has been broken.

    Example: `CollapseWatch(StopConfig(min_entropy=0.01, steps=2)).see(metrics)`

    Args:
        config: the rules.
        broken: what `broken` was when the run was saved.
    """

    def __init__(self, config: "StopConfig", broken: Mapping[str, int] | None = None) -> None:
        self._config = config
        self._steps = Counter[str](broken or {})

    @property
    def broken(self) -> dict[str, int]:
        """For how many steps in a row each rule has been broken; rules that hold are left out."""
        return dict(+self._steps)

    def see(self, metrics: Mapping[str, float]) -> str:
        """The reason to end the run after a step of these metrics; empty to go ahead.

        A step without rollouts, or one that trained on nothing, says nothing about the policy: it
        neither breaks a rule nor absolves from one.
        """
        for rule, value, broken in self._judged(metrics):
            self._steps[rule] = self._steps[rule] + 1 if broken else 0
            if self._steps[rule] >= self._config.steps:
                limit = getattr(self._config, rule)
                return (
                    f"{rule}: {value:.4g} against {limit:g} "
                    f"for {counted(self._steps[rule], 'step')}"
                )
        return ""

    def _judged(self, metrics: Mapping[str, float]) -> Iterator[tuple[str, float, bool]]:
        """Each rule that is on, with the value it is about and whether that breaks it."""
        config = self._config
        rules = (
            ("min_entropy", config.min_entropy, "update/entropy", "update/tokens_trained"),
            ("max_entropy", config.max_entropy, "update/entropy", "update/tokens_trained"),
            ("max_ratio", config.max_ratio, "update/ratio", "update/tokens_trained"),
            ("max_repetition", config.max_repetition, "ended/repetition", "rollouts/used"),
            ("min_valid", config.min_valid, "score/format_rate", "rollouts/used"),
        )
        for rule, limit, name, base in rules:
            value = metrics.get(name, math.nan)
            if limit is None or not metrics.get(base) or not math.isfinite(value):
                continue
            yield rule, value, value < limit if rule.startswith("min") else value > limit


def rule_of(reason: str) -> str:
    """The rule that a reason names."""
    return reason.partition(":")[0]
