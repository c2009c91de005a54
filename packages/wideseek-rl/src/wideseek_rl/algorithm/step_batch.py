"""The training samples of one step, and what was left out of them and why.

An odd number never ends a run: the rollout, the turn or the token is left out and counted under
its reason, and the rest trains.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from wideseek_core import TrainError
from wideseek_core.counting import counted
from wideseek_rl.algorithm.advantage import equal
from wideseek_rl.algorithm.protocol import Algorithm, Reward
from wideseek_rl.algorithm.token_weights import prompt_scale
from wideseek_rl.batch.samples import (
    TrainedTurn,
    TrainingSample,
    build_samples,
    is_trainable,
    trained_tokens,
)
from wideseek_rl.numbers import is_number
from wideseek_rl.rollout.scored import ScoredEpisode

DROP_REASONS = ("error", "unscored", "reward")
"""Why a rollout is left out: it broke, the judge gave no verdict, its reward is no number."""

MASK_REASONS = ("turns", "tokens", "credit")
"""What is left out of rollouts that train: turns without tokens or whose log-probs do not match
their tokens, tokens whose log-prob is no number, turns whose advantage or weight is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepBatch:
    """What one step trains on, and what was left out."""

    samples: list[TrainingSample]
    trained: list[TrainedTurn]
    """The turns that the samples were made of, with the same weights."""
    rewards: list[list[Reward | None]]
    """Of each rollout of each prompt, in their order; None if the rollout was left out."""
    dropped: Counter[str]
    """Rollouts left out, by reason; see `DROP_REASONS`."""
    masked: Counter[str]
    """Turns and tokens left out of rollouts that train, by reason; see `MASK_REASONS`."""
    filtered: int = 0
    """Prompts that the algorithm left out of the step."""

    @property
    def prompts(self) -> int:
        """Prompts that have a rollout to train on."""
        return len(self._values())

    @property
    def zero_variance(self) -> int:
        """Prompts whose rollouts all have the same reward."""
        return sum(map(equal, self._values()))

    def _values(self) -> list[list[float]]:
        values = [[r.value for r in rewards if r is not None] for rewards in self.rewards]
        return [group for group in values if group]


def build_step_batch(groups: Sequence[Sequence[ScoredEpisode]], algorithm: Algorithm) -> StepBatch:
    """The samples of all prompts of a step, weighted so that their mean is the objective.

    Raises `TrainError` if no response has token ids, as with chat endpoints.
    """
    dropped, masked = Counter[str](), Counter[str]()
    rewards = [_rewards(group, algorithm, dropped) for group in groups]
    credits: list[list[list[TrainedTurn]]] = []
    filtered = 0
    for group, values in zip(groups, rewards, strict=True):
        pairs = [(s, r.value) for s, r in zip(group, values, strict=True) if r is not None]
        if pairs:
            kept, totals = zip(*pairs, strict=True)
            masked += _odd_parts(kept)
            credit = algorithm.credit(kept, totals)
            if credit is None:
                filtered += 1
            else:
                credits.append(_finite(credit, masked))
    _check_token_ids(groups, masked)
    tokens = sum(
        trained_tokens(trained.turn) for agents in credits for turns in agents for trained in turns
    )
    scale = prompt_scale(algorithm.weighting, prompts=len(credits), tokens=tokens)
    samples = [
        sample.scaled(scale)
        for number, agents in enumerate(credits)
        for turns in agents
        for sample in build_samples(turns, group=number)
    ]
    return StepBatch(
        samples=samples,
        trained=[
            replace(trained, weight=trained.weight * scale)
            for agents in credits
            for turns in agents
            for trained in turns
        ],
        rewards=rewards,
        dropped=+dropped,
        masked=+masked,
        filtered=filtered,
    )


def has_signal(group: Sequence[ScoredEpisode], algorithm: Algorithm) -> bool:
    """Whether a prompt's usable rollouts have different rewards and the algorithm takes them."""
    usable = [scored for scored in group if scored.usable]
    rewards = algorithm.rewards(usable) if usable else []
    pairs = [(s, r.value) for s, r in zip(usable, rewards, strict=True) if r.finite]
    if equal([value for _, value in pairs]):
        return False
    kept, values = zip(*pairs, strict=True)
    return algorithm.credit(kept, values) is not None


def _rewards(
    group: Sequence[ScoredEpisode], algorithm: Algorithm, dropped: Counter[str]
) -> list[Reward | None]:
    """The reward of each rollout of one prompt; None for those that are left out."""
    usable = [scored for scored in group if scored.usable]
    given = iter(algorithm.rewards(usable) if usable else ())
    rewards: list[Reward | None] = []
    for scored in group:
        reward = next(given) if scored.usable else None
        if reward is not None and not reward.finite:
            reward = None
            dropped["reward"] += 1
        elif reward is None:
            dropped["unscored" if scored.complete else "error"] += 1
        rewards.append(reward)
    return rewards


def _odd_parts(group: Sequence[ScoredEpisode]) -> Counter[str]:
    """Turns and tokens that can't train."""
    turns = [turn for scored in group for turn in scored.trained_turns]
    sound = [turn for turn in turns if is_trainable(turn)]
    odd = sum(len(turn.logprobs) - trained_tokens(turn) for turn in sound)
    return Counter(turns=len(turns) - len(sound), tokens=odd)


def _finite(credit: list[list[TrainedTurn]], masked: Counter[str]) -> list[list[TrainedTurn]]:
    """The turns of each agent that can train; an algorithm may have returned others."""
    kept: list[list[TrainedTurn]] = []
    for turns in credit:
        finite = [t for t in turns if is_number(t.weight) and is_number(t.advantage)]
        masked["credit"] += len(turns) - len(finite)
        kept.append([trained for trained in finite if is_trainable(trained.turn)])
    return kept


def _check_token_ids(groups: Sequence[Sequence[ScoredEpisode]], masked: Counter[str]) -> None:
    """Raises `TrainError` if responses have texts but none has token ids."""
    turns = [turn for group in groups for scored in group for turn in scored.trained_turns]
    spoken = [turn for turn in turns if turn.response_tokens or turn.text]
    if masked["turns"] and spoken and not any(turn.response_ids for turn in spoken):
        raise TrainError(
            f"of {counted(len(spoken), 'response')} none has "
            "token ids: training needs a policy that samples "
            "token ids, not a chat endpoint"
        )
