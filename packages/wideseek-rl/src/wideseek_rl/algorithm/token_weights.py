"""How much one token counts in the objective, given how many tokens train with it."""

from collections.abc import Sequence
from typing import Literal

Weighting = Literal["agent", "rollout", "token", "constant"]
"""`agent`: 1/G · 1/N_i · 1/Σ|o|, so that neither wide nor long rollouts weigh more (dual level).
`rollout`: 1/G · 1/(tokens of the rollout). `token`: every token of the step alike (DAPO).
`constant`: 1/G · 1/`constant_tokens`, whatever the length (Dr. GRPO)."""


def token_weights(
    tokens: Sequence[Sequence[int]], mode: Weighting, *, constant_tokens: int = 1000
) -> list[list[float]]:
    """The weight of a token of each agent of each rollout of one prompt.

    `tokens[i][a]` counts the trained tokens of agent a in rollout i. G counts all rollouts given,
    N_i the agents that have trained tokens. `token` weights are 1 until `prompt_scale`.
    """
    return [_rollout(agents, mode, len(tokens), constant_tokens) for agents in tokens]


def _rollout(
    agents: Sequence[int], mode: Weighting, rollouts: int, constant_tokens: int
) -> list[float]:
    total, trained = sum(agents), sum(count > 0 for count in agents)

    def weight(count: int) -> float:
        match mode:
            case "agent":
                return 1 / (rollouts * trained * count)
            case "rollout":
                return 1 / (rollouts * total)
            case "token":
                return 1.0
            case "constant":
                return 1 / (rollouts * constant_tokens)

    return [weight(count) if count else 0.0 for count in agents]


def prompt_scale(mode: Weighting, *, prompts: int, tokens: int) -> float:
    """What all weights of a step are multiplied by: the mean over prompts, or over tokens."""
    return 1 / max(tokens if mode == "token" else prompts, 1)
