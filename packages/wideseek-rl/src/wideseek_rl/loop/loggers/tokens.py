"""`tokens/step_000012.jsonl`: tokens of some rollouts of a step, and how they were trained on."""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain, islice
from pathlib import Path

from wideseek_core import Turn
from wideseek_core.files import write_atomically
from wideseek_core.json_text import to_json
from wideseek_core.token_records import TokenRecord, TurnTokens
from wideseek_rl.batch.samples import TrainedTurn
from wideseek_rl.loop.loggers.protocol import StepReport
from wideseek_rl.numbers import is_number
from wideseek_rl.rollout.scored import ScoredEpisode

TokenTexts = Callable[[Sequence[int]], Sequence[str]]
"""The text of each token of a response."""

DIGITS = 4
"""Decimal places of log-probabilities."""


class TokenLogger:
    """Writes one file a step, about its first rollouts: groups stay together.

    Without `token_texts`, ids are written in place of texts.
    """

    def __init__(self, folder: Path, rollouts: int, token_texts: TokenTexts | None = None) -> None:
        self._folder, self._rollouts, self._texts = folder, rollouts, token_texts

    async def start(self, step: int) -> None:
        """A step that is done again replaces its file."""

    async def write(self, report: StepReport) -> None:
        """Writes the file of a step that has rollouts."""
        if report.groups:
            await asyncio.to_thread(self._write, report)

    async def close(self) -> None:
        """Nothing is buffered."""

    def _write(self, report: StepReport) -> None:
        # By identity: two turns of a group may be equal, and train with different advantages.
        trained = {id(found.turn): found for found in report.trained}
        chosen = islice(chain.from_iterable(report.groups), self._rollouts)
        records = (self._record(report.step, scored, trained) for scored in chosen)
        lines = "".join(f"{to_json(record)}\n" for record in records)
        write_atomically(self._folder / f"step_{report.step:06d}.jsonl", lines)

    def _record(
        self, step: int, scored: ScoredEpisode, trained: Mapping[int, TrainedTurn]
    ) -> TokenRecord:
        episode = scored.episode
        turns = tuple(
            self._turn(agent.agent, number, turn, trained.get(id(turn)))
            for agent in episode.trajectories
            for number, turn in enumerate(agent.turns)
            if turn.response_ids
        )
        return TokenRecord(step=step, task_id=episode.task_id, trial=episode.trial, turns=turns)

    def _turn(self, agent: int, number: int, turn: Turn, trained: TrainedTurn | None) -> TurnTokens:
        return TurnTokens(
            agent=agent,
            turn=number,
            texts=tuple(self._texts(turn.response_ids)) if self._texts else (),
            ids=() if self._texts else turn.response_ids,
            logprobs=tuple(round(logprob, DIGITS) for logprob in turn.logprobs),
            advantage=None if trained is None else trained.advantage,
            weight=0.0 if trained is None else trained.weight,
            masked=() if trained is None else tuple(_odd(turn.logprobs)),
        )


def _odd(logprobs: Sequence[float]) -> Iterator[int]:
    return (at for at, logprob in enumerate(logprobs) if not is_number(logprob))
