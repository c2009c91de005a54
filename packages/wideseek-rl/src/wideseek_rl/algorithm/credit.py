"""Credit rules: what the agents of a rollout, or their turns, are credited for.

Rules of installed distributions are entry points of `wideseek.credit_rules`, each a `CreditRule`.
"""

from collections.abc import Mapping, Sequence
from typing import cast

from wideseek_core import ConfigError
from wideseek_core.plugins import installed
from wideseek_rl.algorithm.advantage import agent_advantages
from wideseek_rl.algorithm.key_steps import key_steps_credit
from wideseek_rl.algorithm.protocol import CreditInputs, CreditRule
from wideseek_rl.algorithm.table_credit import table_credit
from wideseek_rl.rollout.scored import ScoredEpisode

CREDIT_RULES = "wideseek.credit_rules"
"""Entry-point group of further rules."""


def rollout_credit(inputs: CreditInputs) -> list[list[float]]:
    """Every agent gets the advantage of its rollout, as in the paper, or that of its pool."""
    return agent_advantages(inputs.group, inputs.rewards, inputs.advantage)


BUILTIN_RULES: Mapping[str, CreditRule] = {
    "rollout": rollout_credit,
    "table": table_credit,
    "key_steps": key_steps_credit,
}


def credit_rule(name: str) -> CreditRule:
    """The rule of a name. Raises `ConfigError` naming those that there are."""
    if name in BUILTIN_RULES:
        return BUILTIN_RULES[name]
    rules = installed(CREDIT_RULES)
    if not callable(rule := rules.get(name)):
        known = ", ".join([*BUILTIN_RULES, *rules])
        raise ConfigError(f"no credit rule is named {name!r}; there are {known}")
    return cast(CreditRule, rule)


def same_for_all_agents(
    group: Sequence[ScoredEpisode], values: Sequence[float]
) -> list[list[float]]:
    """The value of each rollout for each of its agents."""
    return [
        [value] * len(scored.episode.trajectories)
        for scored, value in zip(group, values, strict=True)
    ]
