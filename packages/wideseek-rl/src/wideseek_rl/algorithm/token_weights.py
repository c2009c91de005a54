"""How much one token counts in the objective: a product of scales.

Each scale divides by a number; see `LossScale`. What comes of them is multiplied by `prompt_scale`,
so that a step is the mean over its prompts, or with `step_tokens` over its tokens.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

LossScale = Literal[
    "group",
    "agent",
    "agent_tokens",
    "rollout_tokens",
    "rollout_turns",
    "turn",
    "turn_tokens",
    "step_tokens",
    "constant",
]
"""What a token's weight is divided by: `group` the rollouts of the prompt, G; `agent` the agents of
the rollout that train, N_i; `agent_tokens`, `rollout_tokens`, `turn_tokens` and `step_tokens` the
trained tokens of its agent, rollout, turn and step; `turn` and `rollout_turns` the trained turns of
its agent and of its rollout; `constant` a configured length."""

NamedWeighting = Literal["agent", "rollout", "token", "constant"]

Weighting = NamedWeighting | tuple[LossScale, ...]
"""A list of scales, which multiply, or the name of one. `agent`: 1/G · 1/N_i · 1/Σ|o|, so that
neither wide nor long rollouts weigh more (dual level). `rollout`: 1/G · 1/(tokens of the rollout).
`token`: every token of the step alike (DAPO). `constant`: 1/G · 1/`constant_tokens`, whatever the
length (Dr. GRPO)."""

NAMED: Mapping[NamedWeighting, tuple[LossScale, ...]] = {
    "agent": ("group", "agent", "agent_tokens"),
    "rollout": ("group", "rollout_tokens"),
    "token": ("step_tokens",),
    "constant": ("group", "constant"),
}
"""The scales of each name."""

Lengths = Sequence[Sequence[Sequence[int]]]
"""The trained tokens of each trained turn of each agent of each rollout of one prompt."""


def scales(weighting: Weighting) -> tuple[LossScale, ...]:
    """The scales that multiply."""
    return weighting if isinstance(weighting, tuple) else NAMED[weighting]


def token_weights(
    tokens: Lengths, weighting: Weighting, *, constant_tokens: int = 1000
) -> list[list[list[float]]]:
    """The weight of a token of each turn of each agent of each rollout of one prompt.

    `tokens[i][a][t]` counts the trained tokens. G counts all rollouts given. Turns without tokens
    weigh 0. `step_tokens` is left to `prompt_scale`.
    """
    chosen = scales(weighting)
    return [list(_rollout(agents, chosen, len(tokens), constant_tokens)) for agents in tokens]


def _rollout(
    agents: Sequence[Sequence[int]], chosen: Sequence[LossScale], rollouts: int, constant: int
) -> Iterator[list[float]]:
    total, trained = sum(map(sum, agents)), sum(any(turns) for turns in agents)
    all_turns = sum(count > 0 for turns in agents for count in turns)
    for turns in agents:
        weights: list[float] = []
        for count in turns:
            divisors: dict[LossScale, int] = {
                "group": rollouts,
                "agent": trained,
                "agent_tokens": sum(turns),
                "rollout_tokens": total,
                "rollout_turns": all_turns,
                "turn": sum(length > 0 for length in turns),
                "turn_tokens": count,
                "step_tokens": 1,
                "constant": constant,
            }
            divisor = math.prod(divisors[scale] for scale in chosen)
            weights.append(1 / divisor if count else 0.0)
        yield weights


def prompt_scale(weighting: Weighting, *, prompts: int, tokens: int) -> float:
    """What all weights of a step are multiplied by: the mean over prompts, or over tokens."""
    return 1 / max(tokens if "step_tokens" in scales(weighting) else prompts, 1)
