"""wideseek-agents alone: a lead and two subagents, played by a function, over pages of your own."""

import asyncio
import json
from collections.abc import Sequence

from wideseek_agents import ScriptedPolicy, Team, TeamConfig
from wideseek_core import Document, Message, Page, TableGold, Task, ToolSpec

RADII = {"Triton": 1353, "Proteus": 210}


class Moons:
    """A search and a page source in one."""

    async def search(self, query: str, k: int) -> list[Document]:
        """The moon that the query names."""
        return [
            Document(url=f"moons:{name}", title=name, text=f"{name}: {radius} km")
            for name, radius in RADII.items()
            if name in query
        ][:k]

    async def read(self, url: str) -> Page:
        """A page."""
        name = url.partition(":")[2]
        return Page(url=url, text=f"{name} has a radius of {RADII[name]} km.")


def call(name: str, **arguments: object) -> str:
    """A tool call as a model writes it."""
    return f"<tool_call>{json.dumps({'name': name, 'arguments': arguments})}</tool_call>"


def respond(messages: Sequence[Message], tools: Sequence[ToolSpec]) -> str:
    """Plays the model: a lead that delegates, subagents that search once."""
    answered = messages[-1].role == "tool"
    if tools[0].name == "create_sub_agents":
        if not answered:
            return call("create_sub_agents", sub_agents=[{"prompt": name} for name in RADII])
        rows = "".join(f"| {name} | {radius} |\n" for name, radius in RADII.items())
        return f"```markdown\n| Moon | Radius |\n| --- | --- |\n{rows}```"
    if answered:
        return messages[-1].content
    name = next(name for name in RADII if name in messages[-1].content)
    return call("search", queries=[{"query": name}])


async def main() -> None:
    """Runs one rollout and shows who did what."""
    gold = TableGold(text="", key_columns=("Moon",), required_columns=("Moon", "Radius"))
    task = Task(id="1", question="List two moons of Neptune with their radius.", gold=gold)
    episode = await Team(TeamConfig(), ScriptedPolicy(respond), Moons(), Moons()).run(task)
    for agent in episode.trajectories:
        tools = [result.tool for turn in agent.turns for result in turn.results]
        print(agent.role, agent.status, tools)
    print(episode.answer)


if __name__ == "__main__":
    asyncio.run(main())
