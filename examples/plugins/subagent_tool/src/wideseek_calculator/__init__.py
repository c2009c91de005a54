"""A calculator for subagents: `team.subagent.tools=[search, access, calculate]`."""

import ast
import operator
from collections.abc import Callable
from pathlib import Path

from wideseek_agents import ArgumentSchema, ToolContext, ToolDefinition
from wideseek_agents.arguments import Request
from wideseek_agents.tools.protocol import Answer
from wideseek_core import Config, ToolRefused, ToolResult
from wideseek_core.templates import placeholders

OPERATORS: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: lambda left, right: left / right,
}


class CalculatorSettings(Config):
    """What `team.tool_settings.calculate` may set."""

    digits: int = 6
    """Significant digits of a result."""


def value_of(node: ast.expr) -> float:
    """The value of an arithmetic expression; nothing else is evaluated. Raises `ToolRefused`."""
    match node:
        case ast.Constant(value=int() | float() as number):
            return number
        case ast.UnaryOp(op=ast.USub(), operand=inner):
            return -value_of(inner)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in OPERATORS:
            return OPERATORS[type(op)](value_of(left), value_of(right))
        case _:
            raise ToolRefused("only numbers, + - * / and brackets")


class Calculator:
    """Answers the requests of one agent."""

    def __init__(self, settings: CalculatorSettings) -> None:
        self._settings = settings

    async def answer(self, request: Request) -> ToolResult:
        """The value of one expression. What is raised becomes a text that the model can read."""
        value = value_of(ast.parse(request.subject, mode="eval").body)
        text = f"{value:.{self._settings.digits}g}"
        return ToolResult(request=request.subject, text=text)


def open_calculator(context: ToolContext) -> Answer:
    """The tool of one agent; `context` also has the search and the pages."""
    assert isinstance(context.settings, CalculatorSettings)
    return Calculator(context.settings).answer


CALCULATE = ToolDefinition(
    name="calculate",
    schema=ArgumentSchema(subject="expression", many="expressions"),
    words=Path(__file__).parent,  # en.yaml, and a file for each further language
    messages={"result": placeholders("text", "n request")},
    open=open_calculator,
    settings=CalculatorSettings,
)
