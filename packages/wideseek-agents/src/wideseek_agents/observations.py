"""What a model is shown after its calls: results, and what is wrong with the calls."""

from collections.abc import Iterator, Sequence

from wideseek_agents.audit import Gap
from wideseek_agents.factory import Agent
from wideseek_agents.parsed_calls import CallProblem, ParsedCall, ParsedCalls, ProblemKind
from wideseek_core import Message, ToolResult
from wideseek_core.templates import Template


class Observations:
    """Words the observations of one agent."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._layouts = {tool.spec.name: tool.layout for tool in agent.tools}
        self._usages = {tool.spec.name: tool.usage for tool in agent.tools}

    def messages(
        self, parsed: ParsedCalls, results: Sequence[ToolResult], turn: int, *, spent: bool = False
    ) -> list[Message]:
        """All results of a turn in one message; native calls get one message each.

        `turn` is the number of the turn that comes next; `spent` asks for the answer, since the
        rollout's budget is spent.
        """
        shown = list(self._shown(parsed, results))
        words = self._agent.messages
        hint = words.hint(turn, self._agent.limits.max_turns)
        if spent:
            hint = words.budget_spent.fill()
        if not any(call.id for call in parsed.written):
            text = words.separator.join(part for parts in shown for part in parts)
            return [Message(role="tool", content=words.tool_message.fill(results=text, hint=hint))]
        messages: list[Message] = []
        for call, parts in zip(parsed.written, shown, strict=True):
            text = words.separator.join(parts)
            if call is parsed.written[-1]:
                text = words.tool_message.fill(results=text, hint=hint)
            messages.append(Message(role="tool", content=text, call_id=call.id))
        return messages

    def audit(self, gaps: Sequence[Gap], turn: int) -> Message:
        """Asks for another look at a draft; `turn` is the number of the turn that comes next."""
        words = self._agent.messages
        lines: list[str] = []
        for gap in gaps:
            template: Template = getattr(words, gap.kind.value)
            lines.append(template.fill(row=gap.row, column=gap.column, value=gap.value))
        hint = words.hint(turn, self._agent.limits.max_turns)
        return Message(role="user", content=words.audit.fill(gaps="\n".join(lines), hint=hint))

    def notes(self, parsed: ParsedCalls) -> tuple[str, ...]:
        """What the model is shown about calls and requests that were not made."""
        return tuple(note for call in parsed.written for note in self._notes(call))

    def _shown(self, parsed: ParsedCalls, results: Sequence[ToolResult]) -> Iterator[list[str]]:
        """The texts of each call, its results numbered through all calls."""
        number = 0
        for call in parsed.written:
            parts: list[str] = []
            for _ in call.requests:
                result = results[number]
                number += 1
                layout = self._layouts[result.tool]
                parts.append(layout.fill(n=number, request=result.request, text=result.text))
            yield [*parts, *self._notes(call)]

    def _notes(self, call: ParsedCall) -> list[str]:
        return [
            self._note(problem)
            for problem in call.problems
            if self._agent.lenient or problem.kind is ProblemKind.BUDGET_CALLS
        ]

    def _note(self, problem: CallProblem) -> str:
        template: Template = getattr(self._agent.messages, problem.kind.value)
        limits = self._agent.limits
        return template.fill(
            name=problem.name,
            tools=", ".join(self._usages),
            usage=self._usages.get(problem.name, ""),
            count=problem.count,
            per_call=min(limits.requests_per_call, limits.requests_per_turn),
            per_turn=limits.requests_per_turn,
        )
