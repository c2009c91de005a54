"""All packages together: a team over the bundled world, judged, stored and reported.

The policy is the scripted teacher, which knows the world. Put a policy of your endpoint in its
place: `ChatPolicy(ChatPolicyConfig(base_url=..., model=...))`, opened with `async with`.
"""

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory

from wideseek_agents import ScriptedPolicy, Team
from wideseek_apps.presets import ATLAS_TEAM
from wideseek_core import Document, Episode, Page, Task
from wideseek_data import atlas
from wideseek_data.atlas import load_wide
from wideseek_data.atlas.teacher import Teacher
from wideseek_eval import (
    RunConfig,
    load_run,
    make_report,
    report_text,
    run_evaluation,
    write_report,
)
from wideseek_judge import JudgeConfig, open_judge
from wideseek_tools import MemoryPages, MemorySearch


async def main(folder: Path) -> None:
    """Evaluates the teacher on four questions, and writes the report."""
    world = list(atlas.pages())
    search = MemorySearch(Document(url=p.url, title=p.title, text=p.lead) for p in world)
    pages = MemoryPages(Page(url=p.url, text=p.contents, title=p.title) for p in world)
    plans = load_wide("dev", limit=4, min_rows=3, max_rows=6)
    team = Team(ATLAS_TEAM, ScriptedPolicy(Teacher(plans).respond), search, pages)

    async def answer(task: Task, trial: int) -> Episode:
        return await team.run(task, trial)

    tasks = [plan.task for plan in plans]
    async with open_judge(JudgeConfig()) as judge:
        await run_evaluation(RunConfig(folder=folder), tasks, answer, judge, settings={})
    run = load_run(folder)
    print(report_text(make_report("teacher", run)))
    write_report(folder)


if __name__ == "__main__":
    with TemporaryDirectory() as name:
        asyncio.run(main(Path(name) / "run"))
