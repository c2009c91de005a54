"""Small rollouts and models with defaults, for tests of algorithms, selections and backends."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

from wideseek_core import (
    AgentRole,
    CellScore,
    Episode,
    Finish,
    Score,
    ScoreState,
    Status,
    TableMetrics,
    ToolCall,
    Trajectory,
    Turn,
)
from wideseek_rl.rollout.scored import ScoredEpisode

if TYPE_CHECKING:
    from wideseek_rl.batch.samples import TrainingSample
    from wideseek_rl.models.decoder import Decoder

Known = TypeVar("Known")


def make_turn(
    prompt: Sequence[int] = (1,),
    response: Sequence[int] = (2, 3),
    *,
    calls: Sequence[str] = (),
    response_tokens: int | None = None,
    logprob: float = -0.5,
) -> Turn:
    """A sampled turn that called the tools named in `calls`."""
    return Turn(
        text="",
        finish=Finish.STOP,
        prompt_ids=tuple(prompt),
        response_ids=tuple(response),
        logprobs=(logprob,) * len(response),
        prompt_tokens=len(prompt),
        response_tokens=len(response) if response_tokens is None else response_tokens,
        calls=tuple(ToolCall(name=name, arguments={}) for name in calls),
    )


def make_agent(
    *turns: Turn,
    role: AgentRole = "lead",
    status: Status = Status.FINISHED,
    agent: int = 0,
    prompt: str = "",
) -> Trajectory:
    """An agent with the given turns, or with one."""
    return Trajectory(
        agent=agent, role=role, status=status, turns=turns or (make_turn(),), prompt=prompt
    )


def make_cells(key: str, *scores: float) -> tuple[CellScore, ...]:
    """The verdict on a row: its key cell, which is right, and the cells beside it."""
    others = ((f"c{number}", score, "exact") for number, score in enumerate(scores))
    cells = [("key", 1.0, "key"), *others]
    return tuple(
        CellScore(key=key, column=column, answer="", gold="", score=score, by=by)
        for column, score, by in cells
    )


def make_scored(
    *agents: Trajectory,
    value: float = 0.5,
    valid: bool = True,
    state: ScoreState = ScoreState.SCORED,
    error: str = "",
    trial: int = 0,
    source: str = "",
    cells: Sequence[CellScore] = (),
    missing: Sequence[str] = (),
    extra: Sequence[str] = (),
) -> ScoredEpisode:
    """A rollout of the given agents, or of one, whose table has item F1 `value`."""
    trajectories = agents or (make_agent(),)
    return ScoredEpisode(
        episode=Episode(task_id="task", trial=trial, trajectories=trajectories, error=error),
        score=Score(
            state=state,
            metrics=TableMetrics(item_f1=value),
            format_valid=valid,
            cells=tuple(cells),
            missing_rows=tuple(missing),
            extra_rows=tuple(extra),
        ),
        source=source,
    )


def make_sample(
    ids: Sequence[int], *, advantage: float = 1.0, trained: int = 8, group: int = 0
) -> "TrainingSample":
    """A sample whose last tokens train; its sampler found all 17 tokens of a model alike."""
    import numpy as np

    from wideseek_rl.batch.samples import TrainingSample

    weights = np.zeros(len(ids), dtype=np.float32)
    weights[-trained:] = 0.02
    return TrainingSample(
        ids=np.array(ids, dtype=np.int32),
        weights=weights,
        advantages=np.full(len(ids), advantage, dtype=np.float32),
        logprobs=np.full(len(ids), -2.83, dtype=np.float32),
        group=group,
    )


def known(value: Known | None) -> Known:
    """A metric that must have been measured."""
    assert value is not None
    return value


def tiny_model(seed: int = 0, vocabulary: int = 17) -> "Decoder":
    """A model of a few thousand parameters."""
    from wideseek_rl.models.config import DecoderConfig
    from wideseek_rl.models.decoder import new_model

    config = DecoderConfig(
        vocab_size=vocabulary,
        hidden_size=16,
        layers=2,
        heads=4,
        kv_heads=2,
        head_dim=4,
        ffn_size=24,
        eos_ids=(2,),
    )
    return new_model(config, seed)
