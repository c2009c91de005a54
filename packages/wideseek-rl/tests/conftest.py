"""Small episodes and models that several tests build on."""

from collections.abc import Sequence

import pytest

from wideseek_core import (
    AgentRole,
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
from wideseek_rl.model import Qwen3, Qwen3Config, new_model
from wideseek_rl.scored import ScoredEpisode


class Make:
    """Builds records with defaults that tests don't care about."""

    def turn(
        self,
        prompt: Sequence[int] = (1,),
        response: Sequence[int] = (2, 3),
        *,
        calls: Sequence[str] = (),
        response_tokens: int | None = None,
        logprob: float = -0.5,
    ) -> Turn:
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

    def agent(
        self,
        *turns: Turn,
        role: AgentRole = "lead",
        status: Status = Status.FINISHED,
        agent: int = 0,
    ) -> Trajectory:
        return Trajectory(agent=agent, role=role, status=status, turns=turns or (self.turn(),))

    def scored(
        self,
        *agents: Trajectory,
        value: float = 0.5,
        valid: bool = True,
        state: ScoreState = ScoreState.SCORED,
        error: str = "",
        trial: int = 0,
    ) -> ScoredEpisode:
        trajectories = agents or (self.agent(),)
        return ScoredEpisode(
            episode=Episode(task_id="t", trial=trial, trajectories=trajectories, error=error),
            score=Score(
                state=state,
                metrics=TableMetrics(item_f1=value),
                format_valid=valid,
            ),
        )

    def model(self, seed: int = 0, vocabulary: int = 17) -> Qwen3:
        config = Qwen3Config(
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


@pytest.fixture
def make() -> Make:
    return Make()
