"""A scripted model calls the tool; no search is needed."""

import asyncio
from collections.abc import Sequence

from wideseek_agents import ScriptedPolicy, SingleConfig, Team, TeamConfig
from wideseek_core import Message, Task, TextGold, ToolSpec
from wideseek_tools import MemoryPages, MemorySearch


def respond(messages: Sequence[Message], tools: Sequence[ToolSpec]) -> str:
    """Plays the model: one call, then the answer."""
    if messages[-1].role == "tool":
        return rf"\boxed{{{messages[-1].content.splitlines()[0]}}}"
    call = '{"name": "calculate", "arguments": {"expression": "(3 + 4) * 1.5"}}'
    return f"<tool_call>{call}</tool_call>"


config = TeamConfig(workflow="single_agent", single=SingleConfig(tools=("calculate",)))
team = Team(config, ScriptedPolicy(respond), MemorySearch([]), MemoryPages({}))
task = Task(id="1", question="What is (3 + 4) * 1.5?", gold=TextGold(answers=("10.5",)))
print(asyncio.run(team.run(task)).answer)
