"""The one loop that lead, subagents and single agents run through."""

import time
from collections.abc import Sequence

from wideseek_agents.agents import Agent
from wideseek_agents.calls import Plan, PlannedCall, Request, plan_calls
from wideseek_agents.events import AgentEnded, AgentStarted, OnEvent, ToolAnswered, TurnTaken
from wideseek_agents.parallel import in_parallel
from wideseek_agents.recording import AgentRecord
from wideseek_agents.text import after_thinking
from wideseek_agents.tools import call_tool
from wideseek_core import (
    ContextOverflow,
    Conversation,
    Finish,
    Message,
    Reply,
    Status,
    ToolResult,
    Trajectory,
    Turn,
)


async def run_agent(
    agent: Agent, record: AgentRecord, *, seed: int, on_event: OnEvent
) -> Trajectory:
    """Runs an agent to its end, whatever its end is, and keeps its turns in `record`.

    Raises `PolicyError` if the model can't be had; the turns so far stay in the record.
    """
    on_event(AgentStarted(agent=record.agent, role=record.role, prompt=record.prompt))
    conversation = agent.policy.open([tool.spec for tool in agent.tools], seed=seed)
    try:
        record.status = await _Run(agent, record, conversation, on_event).to_the_end()
    finally:
        await conversation.close()
    if not record.status.failed:
        record.answer = after_thinking(record.turns[-1].text)
    on_event(
        AgentEnded(agent=record.agent, role=record.role, status=record.status, answer=record.answer)
    )
    return record.trajectory()


class _Run:
    """One agent's way through its conversation."""

    def __init__(
        self, agent: Agent, record: AgentRecord, conversation: Conversation, on_event: OnEvent
    ) -> None:
        self._agent = agent
        self._record = record
        self._conversation = conversation
        self._on_event = on_event
        self._tools = {tool.spec.name: tool for tool in agent.tools}
        self._shapes = {tool.spec.name: tool.shape for tool in agent.tools}

    async def to_the_end(self) -> Status:
        limits = self._agent.limits
        messages = self._opening()
        for turn in range(1, limits.turns + 1):
            try:
                reply = await self._conversation.reply(messages)
            except ContextOverflow:
                return Status.CONTEXT_OVERFLOW
            plan = self._plan(reply)
            self._tell_turn(turn, reply, plan)
            if reply.finish is Finish.LENGTH:
                self._keep(reply, plan)
                repeats = reply.response_tokens >= limits.repetition_tokens
                return Status.REPETITION if repeats else Status.CONTEXT_OVERFLOW
            if not plan.calls:
                self._keep(reply, plan)
                return Status.FINISHED
            if turn == limits.turns:
                self._keep(reply, plan)
                return Status.TURN_LIMIT
            if reply.prompt_tokens + reply.response_tokens >= limits.tokens:
                self._keep(reply, plan)
                return Status.CONTEXT_OVERFLOW
            results = await self._call(reply, plan)
            messages = [self._tool_message(plan, results, turn + 1)]
        raise AssertionError("the last turn returns")

    def _opening(self) -> Sequence[Message]:
        hint = self._agent.messages.hint(1, self._agent.limits.turns)
        question = self._agent.opening.fill(
            question=self._agent.question, subtask=self._record.prompt, hint=hint
        )
        system = [Message(role="system", content=self._agent.system)] if self._agent.system else []
        return [*system, Message(role="user", content=question)]

    def _plan(self, reply: Reply) -> Plan:
        """What the reply asks for; a reply that was cut off asks for nothing."""
        if reply.finish is Finish.LENGTH:
            return Plan(calls=(), dropped=0)
        limits = self._agent.limits
        return plan_calls(
            reply.text,
            self._shapes,
            per_call=limits.requests_per_call,
            per_turn=limits.requests_per_turn,
        )

    async def _call(self, reply: Reply, plan: Plan) -> Sequence[ToolResult]:
        """All results in the order of the requests; the turn is kept even if a policy fails."""
        place = len(self._record.turns)
        self._keep(reply, plan)
        results = await in_parallel(
            self._answer(call, request) for call in plan.calls for request in call.requests
        )
        self._record.turns[place] = _turn(reply, plan, results)
        return results

    async def _answer(self, call: PlannedCall, request: Request) -> ToolResult:
        started = time.monotonic()
        result = await call_tool(self._tools[call.call.name], request, self._agent.messages)
        self._on_event(
            ToolAnswered(
                agent=self._record.agent,
                tool=call.call.name,
                request=request.subject,
                ok=result.ok,
                seconds=time.monotonic() - started,
            )
        )
        return result

    def _tool_message(self, plan: Plan, results: Sequence[ToolResult], turn: int) -> Message:
        layouts = [self._tools[call.call.name].layout for call in plan.calls for _ in call.requests]
        shown = [
            layout.fill(n=number, request=result.request, text=result.text)
            for number, (layout, result) in enumerate(zip(layouts, results, strict=True), 1)
        ]
        messages = self._agent.messages
        content = messages.tool_message.fill(
            results=messages.separator.join(shown),
            hint=messages.hint(turn, self._agent.limits.turns),
        )
        return Message(role="tool", content=content)

    def _keep(self, reply: Reply, plan: Plan) -> None:
        self._record.turns.append(_turn(reply, plan, ()))

    def _tell_turn(self, turn: int, reply: Reply, plan: Plan) -> None:
        self._on_event(
            TurnTaken(
                agent=self._record.agent,
                turn=turn,
                turns=self._agent.limits.turns,
                text=reply.text,
                finish=reply.finish,
                requests=sum(len(call.requests) for call in plan.calls),
            )
        )


def _turn(reply: Reply, plan: Plan, results: Sequence[ToolResult]) -> Turn:
    return Turn(
        text=reply.text,
        finish=reply.finish,
        prompt_ids=reply.prompt_ids,
        response_ids=reply.response_ids,
        logprobs=reply.logprobs,
        prompt_tokens=reply.prompt_tokens,
        response_tokens=reply.response_tokens,
        versions=reply.versions,
        calls=tuple(call.call for call in plan.calls),
        dropped_calls=plan.dropped,
        results=tuple(results),
    )
