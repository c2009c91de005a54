"""The tool `create_sub_agents`: gives subtasks to fresh subagents."""

from dataclasses import dataclass
from pathlib import Path

from wideseek_agents.arguments import ArgumentSchema, Request
from wideseek_agents.tools.protocol import ToolContext, ToolDefinition
from wideseek_core import ToolError, ToolResult
from wideseek_core.templates import placeholders


@dataclass(frozen=True, slots=True)
class Delegate:
    """Gives a subtask to a subagent and reports what it found."""

    context: ToolContext

    async def answer(self, request: Request) -> ToolResult:
        """The subagent's final text, or a note that it failed."""
        subagent = await self.context.spawn(request.subject)
        failed = subagent.status.failed or not subagent.answer
        text = subagent.answer
        if failed:
            text = self.context.words["failed"].fill(subtask=request.subject)
        return ToolResult(request=request.subject, text=text, ok=not failed, agent=subagent.agent)


DEFINITION = ToolDefinition(
    name="create_sub_agents",
    schema=ArgumentSchema(subject="prompt", many="sub_agents"),
    words=Path(__file__).parent,
    messages={
        "result": placeholders("text", "n request"),
        "failed": placeholders("", "subtask"),
    },
    open=lambda context: Delegate(context).answer,
    failures=ToolError,
)
