"""The one loop that lead, subagents and single agents run through."""

import asyncio
from collections.abc import Sequence

from wideseek_agents.arguments import Request
from wideseek_agents.audit import find_gaps, improves
from wideseek_agents.budget import Ledger
from wideseek_agents.conversations import open_conversation
from wideseek_agents.events import AgentEnded, AgentStarted, OnEvent, ToolAnswered, TurnTaken
from wideseek_agents.factory import Agent
from wideseek_agents.observations import Observations
from wideseek_agents.parallel import in_parallel
from wideseek_agents.parsed_calls import ParsedCalls, parse_tool_calls
from wideseek_agents.parsers import foreign_calls
from wideseek_agents.recording import AgentRecord, TurnRecord
from wideseek_agents.tools import AgentTool, call_tool
from wideseek_core import (
    ContextOverflow,
    Conversation,
    Finish,
    MalformedCall,
    Message,
    PolicyError,
    Reply,
    Status,
    ToolResult,
    Trajectory,
    WrittenCall,
)
from wideseek_core.text import after_thinking, ends_in_thinking

_ENDS = {
    Finish.LENGTH: Status.TURN_CUT,
    Finish.CONTEXT: Status.CONTEXT_OVERFLOW,
    Finish.ABORT: Status.ABORTED,
    Finish.ERROR: Status.ERROR,
}


class _OutOfTime(Exception):
    """The rollout's time is over."""


async def run_agent(
    agent: Agent, record: AgentRecord, ledger: Ledger, *, seed: int, on_event: OnEvent
) -> Trajectory:
    """Runs an agent to its end, whatever its end is, and keeps its turns in `record`.

    One that misses its deadline is aborted. Raises `PolicyError` if the model can't be had; the
    turns so far stay in the record.
    """
    on_event(
        AgentStarted(
            agent=record.agent, role=record.role, prompt=record.prompt, parent=record.parent
        )
    )
    try:
        record.status = await _converse(agent, record, ledger, seed, on_event)
    except PolicyError as problem:
        record.error = f"{type(problem).__name__}: {problem}"
        raise
    except asyncio.CancelledError:
        record.status = Status.ABORTED
        raise
    finally:
        record.seconds = record.clock.now() - record.started_s
        record.ended = True
        on_event(
            AgentEnded(
                agent=record.agent, role=record.role, status=record.status, answer=record.answer
            )
        )
    return record.trajectory()


async def _converse(
    agent: Agent, record: AgentRecord, ledger: Ledger, seed: int, on_event: OnEvent
) -> Status:
    async with open_conversation(agent, seed=seed) as conversation:
        return await _Run(agent, record, ledger, conversation, on_event).to_the_end()


class _Run:
    """One agent's way through its conversation."""

    def __init__(
        self,
        agent: Agent,
        record: AgentRecord,
        ledger: Ledger,
        conversation: Conversation,
        on_event: OnEvent,
    ) -> None:
        self._agent = agent
        self._record = record
        self._ledger = ledger
        self._answers_user = record.parent is None
        self._conversation = conversation
        self._on_event = on_event
        self._tools = {tool.spec.name: tool for tool in agent.tools}
        self._schemas = {tool.spec.name: tool.schema for tool in agent.tools}
        self._observations = Observations(agent)
        self._draft = ""

    async def to_the_end(self) -> Status:
        """How the agent ends; its answer is in the record.

        What happens after a draft was sent back for its gaps can't lose the draft, and a revision
        that is no better than the draft does not replace it.
        """
        try:
            status = await self._take_turns_in_time()
        except PolicyError:
            if not self._draft:
                raise
            status = Status.ERROR
        if not status.failed:
            text = after_thinking(self._record.turns[-1].reply.text)
            kept = self._draft and not improves(self._draft, text, self._seen())
            self._record.answer = self._draft if kept else text
        elif self._draft:
            self._record.answer = self._draft
            return Status.FINISHED
        return status

    async def _take_turns_in_time(self) -> Status:
        deadline = asyncio.timeout(self._agent.limits.deadline_s)
        try:
            async with deadline:
                return await self._take_turns()
        except TimeoutError:
            if not deadline.expired():
                raise
        if not self._draft:
            self._record.error = "the agent missed its deadline"
        return Status.ABORTED

    async def _take_turns(self) -> Status:
        messages: Sequence[Message] = self._opening()
        spent = False
        for number in range(1, self._agent.limits.max_turns + 1):
            try:
                turn = await self._ask_out(messages)
            except ContextOverflow:
                return Status.CONTEXT_OVERFLOW if number == 1 else Status.MESSAGE_OVERFLOW
            except _OutOfTime:
                return Status.BUDGET_LIMIT
            parsed = self._parse(turn.reply)
            self._tell_turn(number, turn, parsed)
            if parsed.written:
                turn.calls, turn.dropped_calls = parsed.calls, parsed.dropped
            self._record.turns.append(turn)
            end = self._end(number, turn.reply, parsed)
            if end is Status.TURN_LIMIT and not self._agent.lenient:
                await self._call(parsed)  # WideSeek-R1 makes these calls, although none reads them
            if end is not None:
                messages = self._audit(number, end)
                if not messages:
                    return end
                continue
            if spent:
                return Status.BUDGET_LIMIT
            results = await self._call(parsed)
            spent = self._ledger.exhausted(self._record.clock.now()) is not None
            if spent and not self._answers_user:
                return Status.BUDGET_LIMIT
            messages = self._observations.messages(parsed, results, number + 1, spent=spent)
        raise AssertionError("the last turn returns")

    def _audit(self, number: int, end: Status) -> Sequence[Message]:
        """Sends the first draft of the user's answer back with its gaps, if there is time."""
        spent = self._ledger.exhausted(self._record.clock.now()) is not None
        last = number == self._agent.limits.max_turns
        if end.failed or not self._agent.audits or self._draft or spent or last:
            return ()
        draft = after_thinking(self._record.turns[-1].reply.text)
        gaps = find_gaps(draft, self._seen())
        if not gaps:
            return ()
        self._draft = draft
        return [self._observations.audit(gaps, number + 1)]

    def _seen(self) -> list[str]:
        """The question, and all that tools have answered."""
        results = [result.text for turn in self._record.turns for result in turn.results]
        return [self._agent.question, *results]

    def _opening(self) -> Sequence[Message]:
        hint = self._agent.messages.hint(1, self._agent.limits.max_turns)
        question = self._agent.opening.fill(
            question=self._agent.question, subtask=self._record.prompt, hint=hint
        )
        system = [Message(role="system", content=self._agent.system)] if self._agent.system else []
        return [*system, Message(role="user", content=question)]

    async def _ask_out(self, messages: Sequence[Message]) -> TurnRecord:
        """A reply with its end: one whose thinking was cut off and closed is continued once."""
        turn = await self._ask(messages)
        reply = turn.reply
        if reply.resumable and reply.response_tokens < self._agent.limits.repetition_tokens:
            self._ledger.spend(self._record.role, reply)
            self._record.turns.append(turn)
            turn = await self._ask(())
        return turn

    async def _ask(self, messages: Sequence[Message]) -> TurnRecord:
        started = self._record.clock.now()
        seconds = self._seconds_left()
        if seconds is None:
            reply = await self._conversation.reply(messages)
        else:
            reply = await self._reply_within(seconds, messages)
        return TurnRecord(
            reply=reply, started_s=started, seconds=self._record.clock.now() - started
        )

    async def _reply_within(self, seconds: float, messages: Sequence[Message]) -> Reply:
        limit = asyncio.timeout(seconds)
        try:
            async with limit:
                return await self._conversation.reply(messages)
        except TimeoutError:
            if limit.expired():
                raise _OutOfTime from None
            raise

    def _seconds_left(self, *, for_tool: bool = False) -> float | None:
        """Time until the agent, or its tool, has to end.

        The agent that answers the user has time left for its answer; its tools have just enough
        more than the other agents for those to end by themselves.
        """
        budget = self._ledger.budget
        if budget.max_seconds is None:
            return None
        extra = budget.answer_seconds if self._answers_user else 0.0
        if for_tool:
            extra = min(1.0, extra / 4)
        return max(0.0, budget.max_seconds + extra - self._record.clock.now())

    def _parse(self, reply: Reply) -> ParsedCalls:
        """What the reply asks for; a reply that lacks its end asks for nothing."""
        if reply.finish.cut:
            return ParsedCalls()
        limits = self._agent.limits
        parsed = parse_tool_calls(
            reply.native_calls or self._written(reply.text),
            self._schemas,
            per_call=limits.requests_per_call,
            per_turn=limits.requests_per_turn,
            budget=self._ledger.calls_left(),
            lenient=self._agent.lenient,
        )
        self._ledger.tool_calls += parsed.requests
        return parsed

    def _written(self, text: str) -> Sequence[WrittenCall]:
        """The calls in a text: those of the agent's format, else those of any other."""
        answer = after_thinking(text)
        written = self._agent.parser.parse(answer)
        if written or not self._agent.lenient:
            return written
        if ends_in_thinking(text):  # A call in it may be a draft: it has to be written again.
            found = foreign_calls(text, self._schemas)
            return [MalformedCall(problem="not_json", text=text, name=c.name) for c in found[:1]]
        return foreign_calls(answer, self._schemas)

    def _end(self, number: int, reply: Reply, parsed: ParsedCalls) -> Status | None:
        """How the agent ends after this reply; None if it continues."""
        limits = self._agent.limits
        if reply.finish.cut:
            cut = reply.finish in (Finish.LENGTH, Finish.CONTEXT)
            repeats = cut and reply.response_tokens >= limits.repetition_tokens
            return Status.REPETITION if repeats else _ENDS[reply.finish]
        tried = parsed.over_budget or (self._agent.lenient and parsed.written)
        if not parsed.calls and not tried:
            return Status.REPETITION if _is_half(reply, parsed) else Status.FINISHED
        if number == limits.max_turns:
            return Status.TURN_LIMIT
        if reply.prompt_tokens + reply.response_tokens >= limits.context_tokens:
            return Status.CONTEXT_OVERFLOW
        return None

    async def _call(self, parsed: ParsedCalls) -> Sequence[ToolResult]:
        """All results in the order of the requests, which the record keeps with the turn."""
        turn = self._record.turns[-1]
        results = await in_parallel(
            self._answer(self._tools[call.call.name], request)
            for call in parsed.written
            if call.call is not None
            for request in call.requests
        )
        turn.results, turn.notes = tuple(results), self._observations.notes(parsed)
        return results

    async def _answer(self, tool: AgentTool, request: Request) -> ToolResult:
        started = self._record.clock.now()
        answered = await self._answer_in_time(tool, request)
        result = ToolResult(
            request=answered.request,
            text=answered.text,
            ok=answered.ok,
            tool=tool.spec.name,
            urls=answered.urls,
            agent=answered.agent,
            started_s=started,
            seconds=self._record.clock.now() - started,
        )
        self._on_event(
            ToolAnswered(
                agent=self._record.agent,
                tool=result.tool,
                request=request.subject,
                ok=result.ok,
                seconds=result.seconds,
                urls=result.urls,
            )
        )
        return result

    async def _answer_in_time(self, tool: AgentTool, request: Request) -> ToolResult:
        seconds = self._seconds_left(for_tool=True)
        error_text = self._agent.messages.tool_error
        if seconds is None:
            return await call_tool(tool, request, error_text)
        limit = asyncio.timeout(seconds)
        try:
            async with limit:
                return await call_tool(tool, request, error_text)
        except TimeoutError:
            if not limit.expired():
                raise
        text = self._agent.messages.budget_spent.fill()
        return ToolResult(request=request.subject, text=text, ok=False)

    def _tell_turn(self, number: int, turn: TurnRecord, parsed: ParsedCalls) -> None:
        reply = turn.reply
        self._on_event(
            TurnTaken(
                agent=self._record.agent,
                turn=number,
                turns=self._agent.limits.max_turns,
                text=reply.text,
                finish=reply.finish,
                requests=parsed.requests,
                prompt_tokens=reply.prompt_tokens,
                response_tokens=reply.response_tokens,
                cost=self._ledger.spend(self._record.role, reply),
                seconds=turn.seconds,
            )
        )


def _is_half(reply: Reply, parsed: ParsedCalls) -> bool:
    """Whether a response ended amid its thinking, or amid a call, where it repeated itself."""
    unfinished = bool(parsed.written) or ends_in_thinking(reply.text)
    return reply.finish is Finish.TRIMMED and unfinished
