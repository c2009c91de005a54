"""What agents can do: search, read pages, delegate. Each is a tool of the one loop."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

from wideseek_agents.calls import Request, Shape
from wideseek_agents.prompting import Messages
from wideseek_agents.template import Template
from wideseek_agents.text import after_thinking, clean, cut, one_line
from wideseek_core import (
    Document,
    Finish,
    Message,
    NoContent,
    PageSource,
    Policy,
    PolicyError,
    SearchBackend,
    ToolError,
    ToolResult,
    ToolSpec,
    ToolUnavailable,
    Trajectory,
    WideSeekError,
)

logger = logging.getLogger(__name__)

_ERROR_CHARS = 300
MOST_DOCUMENTS = 9
"""A model may ask for fewer than 10 documents a query."""


class Tool(Protocol):
    """Something an agent can call."""

    @property
    def spec(self) -> ToolSpec:
        """The tool as the model sees it."""
        ...

    @property
    def shape(self) -> Shape:
        """How its arguments hold requests."""
        ...

    @property
    def layout(self) -> Template:
        """How one result is shown, with the request it answers."""
        ...

    async def answer(self, request: Request) -> ToolResult:
        """Does what is asked. Raises `ToolError`, which becomes a text for the model."""
        ...


async def call_tool(tool: Tool, request: Request, messages: Messages) -> ToolResult:
    """The tool's answer; its failure becomes a text that the model can read.

    What fails below a subagent, a policy or our own code, is no tool's failure: it rises.
    """
    try:
        return await tool.answer(request)
    except ToolError as error:
        problem = str(error) or type(error).__name__
    except Exception as error:
        # Backends and page sources may be anybody's code, and raise anything.
        if isinstance(error, WideSeekError) or isinstance(tool, Delegate):
            raise
        logger.warning("tool %s failed on %r", tool.spec.name, request.subject, exc_info=True)
        problem = type(error).__name__
    text = messages.tool_error.fill(request=request.subject, error=one_line(problem)[:_ERROR_CHARS])
    return ToolResult(request=request.subject, text=text, ok=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """Finds documents."""

    spec: ToolSpec
    shape: Shape
    messages: Messages
    backend: SearchBackend
    top_k: int
    max_document_chars: int
    timeout_s: float

    @property
    def layout(self) -> Template:
        """See `Tool`."""
        return self.messages.search_result

    async def answer(self, request: Request) -> ToolResult:
        """Numbered documents with title, URL and text."""
        wanted = self.top_k if request.count is None else request.count
        k = max(1, min(wanted, MOST_DOCUMENTS))
        async with _limited(self.timeout_s):
            documents = await self.backend.search(request.subject, k)
        if not documents:
            text = self.messages.no_documents.fill(query=request.subject)
            return ToolResult(request=request.subject, text=text)
        shown = [self._show(number, document) for number, document in enumerate(documents[:k], 1)]
        return ToolResult(request=request.subject, text=self.messages.separator.join(shown))

    def _show(self, number: int, document: Document) -> str:
        return self.messages.document.fill(
            n=number,
            title=one_line(document.title),
            url=one_line(document.url),
            text=cut(document.text, self.max_document_chars),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """Reads a page, and has it summarised for what the agent wants to know."""

    spec: ToolSpec
    shape: Shape
    messages: Messages
    pages: PageSource
    max_page_chars: int
    timeout_s: float
    summarizer: Policy | None = None

    @property
    def layout(self) -> Template:
        """See `Tool`."""
        return self.messages.access_result

    async def answer(self, request: Request) -> ToolResult:
        """The page's text, or what a summary of it says about `request.info`."""
        try:
            async with _limited(self.timeout_s):
                page = await self.pages.read(request.subject)
        except NoContent:
            return self._nothing(request)
        text = cut(page.text, self.max_page_chars)
        if not text:
            return self._nothing(request)
        if self.summarizer is not None:
            text = await self._summary(self.summarizer, request, text)
        return ToolResult(request=request.subject, text=text)

    def _nothing(self, request: Request) -> ToolResult:
        text = self.messages.no_content.fill(url=request.subject)
        return ToolResult(request=request.subject, text=text, ok=False)

    async def _summary(self, summarizer: Policy, request: Request, text: str) -> str:
        prompt = self.messages.summary.fill(url=request.subject, info=request.info, text=text)
        conversation = summarizer.open(())
        try:
            reply = await conversation.reply([Message(role="user", content=prompt)])
        except PolicyError as error:
            raise ToolUnavailable(f"the page could not be summarised: {error}") from error
        finally:
            await conversation.close()
        summary = clean(after_thinking(reply.text))
        if not summary or (reply.finish is Finish.LENGTH and summary.startswith("<think>")):
            raise ToolUnavailable("the page could not be summarised: the model wrote no summary")
        return summary


Spawn = Callable[[str], Awaitable[Trajectory]]
"""Runs a subagent on a subtask to its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delegate:
    """Gives a subtask to a fresh subagent and reports what it found."""

    spec: ToolSpec
    shape: Shape
    messages: Messages
    spawn: Spawn

    @property
    def layout(self) -> Template:
        """See `Tool`."""
        return self.messages.subagent_result

    async def answer(self, request: Request) -> ToolResult:
        """The subagent's final text, or a note that it failed."""
        subagent = await self.spawn(request.subject)
        if subagent.status.failed or not subagent.answer:
            text = self.messages.subagent_failed.fill(subtask=request.subject)
            return ToolResult(request=request.subject, text=text, ok=False)
        return ToolResult(request=request.subject, text=subagent.answer)


@asynccontextmanager
async def _limited(seconds: float) -> AsyncGenerator[None]:
    """`asyncio.timeout` that raises `ToolUnavailable`."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise ToolUnavailable(f"no answer within {seconds:g} s") from None
