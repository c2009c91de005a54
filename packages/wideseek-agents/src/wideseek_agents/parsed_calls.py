"""Which of the calls that a model wrote are made, and what is wrong with the others.

What a model writes wrong is data: it becomes a `CallProblem`, never an exception.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from wideseek_agents.arguments import ArgumentSchema, Request
from wideseek_core import MalformedCall, ToolCall, WrittenCall

_QUALIFIED = re.compile(r"^(?:functions?|tools?|default_api|api|multi_tool_use)[./:]|:\d+$", re.I)


class ProblemKind(StrEnum):
    """What is wrong with a call. Each kind has its message in a prompt set."""

    NOT_JSON = "not_json"
    """The call is not valid in the format of tool calls."""
    NOT_CLOSED = "not_closed"
    """The closing tag is missing."""
    NO_NAME = "no_name"
    """The call names no tool."""
    BAD_ARGUMENTS = "bad_arguments"
    """The arguments can't be read, or hold no valid request."""
    UNKNOWN_TOOL = "unknown_tool"
    BAD_REQUESTS = "bad_requests"
    """Some requests of the call are not valid; the others are made."""
    SURPLUS = "surplus"
    """Requests over a limit; the first ones are made."""
    BUDGET_CALLS = "budget_calls"
    """Requests over what is left of the rollout's budget; the first ones are made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallProblem:
    """Something of a call that is not done."""

    kind: ProblemKind
    name: str = ""
    """The tool, as far as the call names it."""
    count: int = 1
    """Calls or requests that are left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedCall:
    """A call that a model wrote, as it is carried out."""

    call: ToolCall | None
    """Holds exactly `requests`; None if nothing of the call can be done."""
    requests: tuple[Request, ...] = ()
    problems: tuple[CallProblem, ...] = ()
    id: str = ""
    """The identifier of a native call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedCalls:
    """What a response asks of the tools, call by call."""

    written: tuple[ParsedCall, ...] = ()

    @property
    def calls(self) -> tuple[ToolCall, ...]:
        """The calls that are made."""
        return tuple(parsed.call for parsed in self.written if parsed.call is not None)

    @property
    def requests(self) -> int:
        """How many requests are made."""
        return sum(len(parsed.requests) for parsed in self.written)

    @property
    def over_budget(self) -> bool:
        """Whether requests were left out because the rollout's budget is spent."""
        kinds = {problem.kind for parsed in self.written for problem in parsed.problems}
        return ProblemKind.BUDGET_CALLS in kinds

    @property
    def dropped(self) -> int:
        """Malformed or unknown calls, invalid requests, and requests over a limit."""
        return sum(problem.count for parsed in self.written for problem in parsed.problems)


def parse_tool_calls(
    written: Sequence[WrittenCall],
    schemas: Mapping[str, ArgumentSchema],
    *,
    per_call: int,
    per_turn: int,
    budget: int | None = None,
    lenient: bool = True,
) -> ParsedCalls:
    """Reads the arguments of calls against the schemas of the tools.

    Of more than `per_call` requests in a call, or `per_turn` in all, the first are kept; so they
    are if only `budget` requests are left to the rollout.
    """
    parsed: list[ParsedCall] = []
    left = per_turn
    for call in (_without_namespace(call, schemas) for call in written) if lenient else written:
        read = _parse(call, schemas, min(per_call, left), budget, lenient)
        left -= len(read.requests)
        budget = None if budget is None else budget - len(read.requests)
        parsed.append(read)
    return ParsedCalls(written=tuple(parsed))


def _without_namespace(call: WrittenCall, tools: Collection[str]) -> WrittenCall:
    """The call of `functions.search:0` as one of `search`: some models number or qualify names."""
    name = _QUALIFIED.sub("", call.name)
    return replace(call, name=name) if call.name not in tools and name in tools else call


def _parse(
    call: WrittenCall,
    schemas: Mapping[str, ArgumentSchema],
    limit: int,
    budget: int | None,
    lenient: bool,
) -> ParsedCall:
    if isinstance(call, MalformedCall):
        kind = ProblemKind(call.problem)
        if call.name and call.name not in schemas:
            kind = ProblemKind.UNKNOWN_TOOL
        return _nothing(call, kind)
    schema = schemas.get(call.name)
    if schema is None:
        return _nothing(call, ProblemKind.UNKNOWN_TOOL)
    requests, invalid = schema.read(call.arguments, lenient=lenient)
    if not requests:
        return _nothing(call, ProblemKind.BAD_ARGUMENTS, invalid)
    kept = requests[:limit]
    problems: list[CallProblem] = []
    if invalid:
        problems.append(CallProblem(kind=ProblemKind.BAD_REQUESTS, name=call.name, count=invalid))
    if surplus := len(requests) - len(kept):
        problems.append(CallProblem(kind=ProblemKind.SURPLUS, name=call.name, count=surplus))
    if budget is not None and len(kept) > budget:
        over = len(kept) - budget
        kept = kept[:budget]
        problems.append(CallProblem(kind=ProblemKind.BUDGET_CALLS, name=call.name, count=over))
    made = ToolCall(name=call.name, arguments=schema.write(kept), id=call.id) if kept else None
    return ParsedCall(call=made, requests=tuple(kept), problems=tuple(problems), id=call.id)


def _nothing(call: WrittenCall, kind: ProblemKind, count: int = 1) -> ParsedCall:
    problem = CallProblem(kind=kind, name=call.name, count=count)
    return ParsedCall(call=None, problems=(problem,), id=call.id)
