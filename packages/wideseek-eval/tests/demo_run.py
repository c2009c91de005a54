"""A run with episodes to look at: a lead, parallel subagents, tables that are partly right."""

from collections.abc import Sequence
from pathlib import Path

from wideseek_core import (
    CellScore,
    Episode,
    Finish,
    Score,
    ScoreState,
    Status,
    TableGold,
    TableMetrics,
    Task,
    ToolCall,
    ToolResult,
    Trajectory,
    Turn,
)
from wideseek_eval import RunConfig, run_evaluation

GOLD = TableGold(
    text="| Moon | Radius |\n|---|---|\n| Triton | 1353 |\n| Nereid | 170 |\n| Thalassa | 41 |",
    key_columns=("Moon",),
    required_columns=("Moon", "Radius"),
)
ANSWER = "| Moon | Radius |\n|---|---|\n| Triton | 1353 |\n| Nereid | 71 |\n| Oz | 1 |"
CELLS = (
    CellScore(key="triton", column="moon", answer="Triton", gold="Triton", score=1, by="key"),
    CellScore(key="triton", column="radius", answer="1353", gold="1353", score=1, by="number"),
    CellScore(key="nereid", column="moon", answer="Nereid", gold="Nereid", score=1, by="key"),
    CellScore(key="nereid", column="radius", answer="71", gold="170", score=0, by="number"),
)


class PartlyRight:
    """A judge that finds two of three rows, one of them wrong."""

    async def score(self, task: Task, answer: str) -> Score:
        """The same verdict on every answer."""
        return Score(
            state=ScoreState.SCORED,
            metrics=TableMetrics(item_f1=int(task.id[1:]) % 11 / 10, row_f1=0.33),
            format_valid=True,
            message=f"judged {task.id}",
            cells=CELLS,
            missing_rows=("thalassa",),
            extra_rows=("oz",),
        )


def make_tasks(count: int, question: str = "List the moons of Neptune.") -> list[Task]:
    """Tasks with the same reference."""
    return [
        Task(id=f"t{n}", question=f"{question} ({n})", gold=GOLD, rows=3, source=f"set{n % 3}/wide")
        for n in range(count)
    ]


def make_turn(text: str, *, start: float, call: ToolCall | None = None, **results: str) -> Turn:
    """A turn of one second, with results by request."""
    return Turn(
        text=text,
        finish=Finish.STOP,
        prompt_tokens=900,
        response_tokens=120,
        calls=(call,) if call is not None else (),
        results=tuple(ToolResult(request=name, text=found) for name, found in results.items()),
        started_s=start,
        seconds=1.0,
    )


def make_agents(hostile: str = "") -> Sequence[Trajectory]:
    """A lead that starts two subagents at the same time; one of them fails."""
    neptune = "[Neptune](https://example.org/neptune)"
    page = f"# Triton\n\nTriton is a **moon** of {neptune}. 1353 km. {hostile}"
    delegate = ToolCall(name="create_sub_agents", arguments={"prompts": ["Triton?", "Nereid?"]})
    search = ToolCall(name="search", arguments={"queries": ["Triton radius"]})
    access = ToolCall(name="access", arguments={"urls": ["https://example.org/triton"]})
    lead = Trajectory(
        agent=0,
        role="lead",
        status=Status.FINISHED,
        prompt=f"List the moons of Neptune. {hostile}",
        answer=ANSWER + hostile,
        seconds=9.0,
        turns=(
            make_turn(
                f"<think>Two moons at least. {hostile}</think>I ask two subagents.",
                start=0.0,
                call=delegate,
                **{"Triton?": "1353 km", "Nereid?": "The subagent failed."},
            ),
            make_turn(f"Here it is.\n\n{ANSWER}{hostile}", start=8.0),
        ),
    )
    found = Trajectory(
        agent=1,
        role="subagent",
        status=Status.FINISHED,
        prompt="Triton?",
        answer="1353 km",
        parent=0,
        started_s=1.0,
        seconds=6.0,
        turns=(
            make_turn("", start=1.0, call=search, **{"Triton radius": "Triton, Nereid 71 km"}),
            make_turn("", start=3.0, call=access, **{"https://example.org/triton": page}),
            make_turn(f"Triton has 1353 km. {hostile}", start=6.0),
        ),
    )
    lost = Trajectory(
        agent=2,
        role="subagent",
        status=Status.TURN_LIMIT,
        prompt=f"Nereid? {hostile}",
        parent=0,
        started_s=1.0,
        seconds=3.5,
        turns=(make_turn("Still looking.", start=1.0, call=search, **{"Nereid radius": hostile}),),
    )
    return (lead, found, lost)


async def write_run(folder: Path, count: int, hostile: str = "") -> None:
    """An evaluation of `count` rollouts, with their episodes."""

    async def run_episode(task: Task, trial: int) -> Episode:
        agents = tuple(make_agents(hostile))
        return Episode(
            task_id=task.id, trial=trial, trajectories=agents, answer=agents[0].answer, seconds=9.2
        )

    tasks = make_tasks(count, f"List the moons of Neptune. {hostile}")
    await run_evaluation(RunConfig(folder=folder), tasks, run_episode, PartlyRight())
