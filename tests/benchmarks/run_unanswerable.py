"""How often questions that the bundled atlas can't answer get an answer that looks supported.

    uv run python tests/benchmarks/run_unanswerable.py [MODEL_FOLDER]

Two hundred questions, half of them wide, are put to the agents as `wideseek ask` puts them. An
answer counts as marked if `ask` would end with a status other than 0: it gave no answer, or it
marked a value that none of its agents had read.
"""

import argparse
import asyncio
import sys
from collections import Counter
from pathlib import Path

from wideseek_agents import Team
from wideseek_apps.answers import view_answer
from wideseek_apps.ask_config import AskConfig
from wideseek_apps.evidence import Evidence
from wideseek_apps.policy import open_policy
from wideseek_apps.world import open_world
from wideseek_core import Policy, TableGold, Task, TextGold
from wideseek_core.config import load_config
from wideseek_core.exits import exit_on_error
from wideseek_tools.open import Tools

LANES = 16
"""Questions at once."""


def read_questions() -> list[tuple[str, str]]:
    """Question and form of answer."""
    text = Path(__file__).with_name("unanswerable.txt").read_text("utf-8")
    wide, short = text.partition("\n")[2].strip().split("\n\n")
    return [(line, "table") for line in wide.splitlines()] + [
        (line, "text") for line in short.splitlines()
    ]


async def lane(
    config: AskConfig,
    policy: Policy,
    tools: Tools,
    waiting: list[tuple[str, str]],
    counts: Counter[str],
) -> None:
    """Answers questions until none is left."""
    while waiting:
        question, form = waiting.pop()
        evidence = Evidence()
        search, pages = evidence.watch_search(tools.search), evidence.watch_pages(tools.pages)
        gold = (
            TableGold(text="", key_columns=(), required_columns=())
            if form == "table"
            else TextGold(answers=("",))
        )
        team = Team(config.team, policy, search, pages)
        episode = await team.run(Task(id="question", question=question, gold=gold))
        view = view_answer(episode, evidence, "table" if form == "table" else "text")
        counts[form] += 1
        counts[f"{form} marked"] += not view.supported
        counts[f"{form} refused"] += not view.rows
        shown = [[cell.value for cell in row] for row in view.rows[:3]] or view.before
        mark = "PASSED" if view.supported else "marked"
        sys.stdout.write(f"{mark} {question} -> {str(shown)[:150]!r}\n")


async def main(config: AskConfig) -> None:
    """Prints each answer and the shares."""
    waiting, counts = read_questions(), Counter[str]()
    async with open_world(config.world) as tools, open_policy(config.policy) as policy:
        lanes = (lane(config, policy, tools, waiting, counts) for _ in range(LANES))
        await asyncio.gather(*lanes)
    for form in ("table", "text"):
        marked, refused = counts[f"{form} marked"], counts[f"{form} refused"]
        sys.stdout.write(f"{form}: {marked} of {counts[form]} marked, {refused} without values\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", help="policy.model; the start policy if not given")
    model = parser.parse_args().model
    with exit_on_error():
        settings = [f"policy.model={model}"] if model else []
        asyncio.run(main(load_config(AskConfig, ["question=x", *settings])))
