"""The tool `access`: reads pages."""

from dataclasses import dataclass
from pathlib import Path

from wideseek_agents.arguments import Argument, ArgumentSchema, Request
from wideseek_agents.tools.protocol import ToolContext, ToolDefinition, within
from wideseek_core import (
    Message,
    NoContent,
    Policy,
    PolicyError,
    ToolResult,
    ToolUnavailable,
)
from wideseek_core.templates import placeholders
from wideseek_core.text import after_thinking, clean, cut


@dataclass(frozen=True, slots=True)
class Access:
    """Reads a page, and has it summarized for what the agent wants to know."""

    context: ToolContext

    async def answer(self, request: Request) -> ToolResult:
        """The page's text, or what a summary of it says about `info_to_extract`."""
        config = self.context.config
        try:
            page = await within(config.tool_timeout_s, self.context.pages.read(request.subject))
        except NoContent:
            return self._nothing(request)
        text = cut(page.text, config.max_page_chars)
        if not text:
            return self._nothing(request)
        if self.context.summarizer is not None:
            text = await self._summary(self.context.summarizer, request, text)
        return ToolResult(request=request.subject, text=text, urls=(request.subject,))

    def _nothing(self, request: Request) -> ToolResult:
        text = self.context.words["no_content"].fill(url=request.subject)
        return ToolResult(request=request.subject, text=text, ok=False)

    async def _summary(self, summarizer: Policy, request: Request, text: str) -> str:
        prompt = self.context.words["summary"].fill(
            url=request.subject, info=request.text("info_to_extract"), text=text
        )
        conversation = summarizer.open(())
        try:
            reply = await conversation.reply([Message(role="user", content=prompt)])
        except PolicyError as error:
            raise ToolUnavailable(f"the page could not be summarized: {error}") from error
        finally:
            await conversation.close()
        self.context.spend("summary", reply)
        summary = clean(after_thinking(reply.text))
        if not summary:
            raise ToolUnavailable("the page could not be summarized: the model wrote no summary")
        return summary


DEFINITION = ToolDefinition(
    name="access",
    schema=ArgumentSchema(
        subject="url",
        options=(Argument(name="info_to_extract", required=True),),
        many="urls",
    ),
    words=Path(__file__).parent,
    messages={
        "result": placeholders("text", "n request"),
        "no_content": placeholders("", "url"),
        "summary": placeholders("text", "url info"),
    },
    open=lambda context: Access(context).answer,
)
