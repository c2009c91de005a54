"""Response files of the official WideSearch evaluator: read, judged as a run, written.

One JSON object a line: `instance_id`, `response`, `messages`, `trial_idx`; a file may hold one
rollout or many, and a folder many files.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from wideseek_core import (
    DataError,
    Episode,
    Finish,
    PolicyError,
    Status,
    Task,
    Trajectory,
    Turn,
)
from wideseek_core.episode_records import read_episodes
from wideseek_core.files import read_objects, write_atomically
from wideseek_core.json_text import to_json
from wideseek_eval.runs.folder import Key, RunFolder, load_run
from wideseek_eval.runs.results import RunEpisode


def _as_id(value: object) -> object:
    """An integer is an id too, as it is in task files."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


class Response(BaseModel):
    """One line of a response file; keys that only other tools know are let pass."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    instance_id: Annotated[str, BeforeValidator(_as_id)]
    response: str | None
    messages: Any = None
    """The dialogue, which nothing reads."""
    trial_idx: Annotated[int, Field(ge=0)] | None = None


def read_responses(path: Path) -> dict[str, list[Response]]:
    """Instance id to its responses, in the order of their trials.

    Raises `DataError` with file:line, also for a trial that is there twice.
    """
    files = sorted(path.glob("*.jsonl")) if path.is_dir() else [path]
    if not files:
        raise DataError(f"{path} holds no .jsonl file")
    found: defaultdict[str, list[Response]] = defaultdict(list)
    places: dict[Key, str] = {}
    for file in files:
        for number, row in read_objects(file):
            place = f"{file}:{number}"
            response = _response(place, row)
            if response.trial_idx is not None:
                key = (response.instance_id, response.trial_idx)
                if key in places:
                    raise DataError(f"{place}: trial {key[1]} of {key[0]!r} is at {places[key]}")
                places[key] = place
            found[response.instance_id].append(response)
    for responses in found.values():
        responses.sort(key=lambda one: one.trial_idx or 0)
    return dict(found)


def _response(place: str, row: dict[str, Any]) -> Response:
    try:
        return Response.model_validate(row)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        where = ".".join(map(str, problem["loc"]))
        raise DataError(f"{place}: {where}: {problem['msg'].lower()}") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """Stored responses in the place of a team of agents."""

    run_episode: RunEpisode
    trials: int
    """The most responses that any instance has."""
    unknown: tuple[str, ...]
    """Instances that no task asks for."""
    missing: tuple[str, ...]
    """Tasks without any response."""


def replay(
    responses: Mapping[str, Sequence[Response]],
    tasks: Iterable[Task],
    *,
    missing_as_empty: bool = False,
) -> Replay:
    """Answers tasks from responses.

    A task without enough of them gets rollouts that broke or, `missing_as_empty`, empty answers.
    """
    names = dict.fromkeys(task.id for task in tasks)

    async def run_episode(task: Task, trial: int) -> Episode:
        known = responses.get(task.id, ())
        if trial >= len(known) and missing_as_empty:
            return _episode(task, trial, "")
        if trial >= len(known):
            raise PolicyError("there is no such response")
        return _episode(task, trial, known[trial].response or "")

    trials = max((len(known) for name, known in responses.items() if name in names), default=0)
    if trials == 0:
        raise DataError("no response belongs to any of the tasks")
    unknown = tuple(name for name in responses if name not in names)
    missing = tuple(name for name in names if not responses.get(name))
    return Replay(run_episode=run_episode, trials=trials, unknown=unknown, missing=missing)


def _episode(task: Task, trial: int, answer: str) -> Episode:
    turn = Turn(text=answer, finish=Finish.STOP)
    agent = Trajectory(
        agent=0,
        role="single",
        status=Status.FINISHED,
        turns=(turn,),
        prompt=task.question,
        answer=answer,
    )
    return Episode(task_id=task.id, trial=trial, trajectories=(agent,), answer=answer)


def export_responses(run: Path, target: Path, *, model: str = "wideseek") -> int:
    """Writes a run's responses in the official format; how many they are.

    `target` is a `.jsonl` file (or a pipe) for all of them, or a folder in which each rollout gets
    the file that the official script looks for: `{model}_{instance_id}_{trial}_response.jsonl`.
    """
    folder = RunFolder(path=run)
    results = load_run(run).results
    messages: dict[Key, list[dict[str, Any]]] = {}
    if folder.episodes.exists():
        for record in read_episodes(folder.episodes):
            episode = record.episode
            messages[episode.task_id, episode.trial] = to_messages(episode)
    lines = {
        (result.task_id, result.trial): to_json(
            Response(
                instance_id=result.task_id,
                response=result.answer,
                messages=messages.get((result.task_id, result.trial), []),
                trial_idx=result.trial,
            )
        )
        for result in results
        if result.score is not None
    }
    if target.suffix == ".jsonl" or (target.exists() and not target.is_dir()):
        write_atomically(target, "".join(f"{line}\n" for line in lines.values()))
    else:
        for (name, trial), line in lines.items():
            if Path(name).name != name:
                raise DataError(f"task id {name!r} can't be part of a file name")
            write_atomically(target / f"{model}_{name}_{trial}_response.jsonl", f"{line}\n")
    return len(lines)


def to_messages(episode: Episode) -> list[dict[str, Any]]:
    """The answering agent's dialogue as chat messages."""
    if not episode.trajectories:
        return []
    messages: list[dict[str, Any]] = [{"role": "user", "content": episode.main.prompt}]
    for turn in episode.main.turns:
        messages.append({"role": "assistant", "content": turn.text})
        if turn.results:
            text = "\n\n".join(result.text for result in turn.results)
            messages.append({"role": "tool", "content": text})
    return messages
