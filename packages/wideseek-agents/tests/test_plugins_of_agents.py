"""Tools, prompt languages and formats of tool calls that another distribution adds."""

import subprocess
import sys
from pathlib import Path

import pytest

ENTRY_POINTS = """\
[wideseek.agent_tools]
calculate = extra_agents:CALCULATE

[wideseek.prompt_sets]
french = extra_agents:FRENCH

[wideseek.tool_call_parsers]
brackets = extra_agents:PARSER
"""

MODULE = """
import re
from pathlib import Path

from wideseek_agents import ArgumentSchema, ToolDefinition
from wideseek_core import Config, ToolCall, ToolResult
from wideseek_core.templates import placeholders

FRENCH = Path(__file__).parent / "french"


class Settings(Config):
    digits: int = 2


def open_calculator(context):
    async def answer(request):
        left, right = map(float, request.subject.split("/"))
        text = f"{left / right:.{context.settings.digits}f}"
        return ToolResult(request=request.subject, text=text)

    return answer


CALCULATE = ToolDefinition(
    name="calculate",
    schema=ArgumentSchema(subject="expression", many="expressions"),
    words=Path(__file__).parent / "calculate",
    messages={"result": placeholders("text", "n request")},
    open=open_calculator,
    settings=Settings,
)


class Brackets:
    instructions = "Write [[name|argument]]. Tools: {{tools}}"

    def parse(self, text):
        found = re.findall(r"\\[\\[(\\w+)\\|([^]]*)\\]\\]", text)
        return [ToolCall(name=name, arguments={"expression": value}) for name, value in found]

    def write(self, call):
        return f"[[{call.name}|{call.arguments['expression']}]]"


PARSER = Brackets()
"""

WORDS = """\
description: Divides.
line: calculate(expression)
messages: {result: "{{request}} = {{text}}"}
"""

SCRIPT = """
import asyncio
from wideseek_agents import AgentConfig, ScriptedPolicy, Team, TeamConfig
from wideseek_core import Task, TextGold

seen = []

def respond(messages, tools):
    seen.append(messages[-1].content)
    if tools[0].name == "create_sub_agents":
        if len(messages) > 2:
            return "fin"
        call = '{"name": "create_sub_agents", "arguments": {"sub_agents": ["diviser"]}}'
        return f"<tool_call>{call}</tool_call>"
    if len(messages) > 4:
        return "rapport"
    assert "Write [[name|argument]]. Tools: calculate(expression)" in messages[0].content
    return "[[calculate|1/3]] [[calculate|1/0]]"

config = TeamConfig(
    prompts="french",
    subagent=AgentConfig(tools=("calculate",), tool_call_format="brackets"),
    tool_settings={"calculate": {"digits": 3}},
)
task = Task(id="1", question="Combien ?", language="fr", gold=TextGold(answers=("0.333",)))
episode = asyncio.run(Team(config, ScriptedPolicy(respond), None, None).run(task))
print(episode.answer, episode.trajectories[1].answer)
print([(r.tool, r.text, r.ok) for r in episode.trajectories[1].turns[0].results])
print(seen[0])
"""


@pytest.fixture
def distribution(tmp_path: Path) -> Path:
    """A distribution on a path of its own, as if it were installed."""
    (tmp_path / "extra_agents.py").write_text(MODULE)
    (tmp_path / "calculate").mkdir()
    (tmp_path / "calculate" / "en.yaml").write_text(WORDS)
    info = tmp_path / "extra_agents-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: extra-agents\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    return tmp_path


def run(path: Path, script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(path)!r})\n{script}"],
        capture_output=True,
        text=True,
        check=False,
    )


def french(folder: Path) -> None:
    """The compact set in French: one folder, and no other file."""
    from wideseek_agents.prompts import BUILT_IN

    english = BUILT_IN / "compact" / "en"
    target = folder / "french" / "fr"
    target.mkdir(parents=True)
    for file in english.iterdir():
        text = file.read_text("utf-8").replace("Turn {{turn}} of", "Tour {{turn}} sur")
        (target / file.name).write_text(text, "utf-8")


def test_a_tool_a_language_and_a_format_come_from_another_distribution(
    distribution: Path,
) -> None:
    french(distribution)
    done = run(distribution, SCRIPT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "fin rapport",
        "[('calculate', '0.333', True), ('calculate', 'error: ZeroDivisionError', False)]",
        "Combien ?",
        "Tour 1 sur 10.",
    ]


def test_settings_of_a_tool_are_checked(distribution: Path) -> None:
    french(distribution)
    done = run(distribution, SCRIPT.replace('"digits": 3', '"digit": 3'))
    assert done.stderr.splitlines()[-1].endswith(
        "team.tool_settings.calculate: unknown key 'digit'; did you mean 'digits'?"
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('("calculate",)', '("compute",)', "team.subagent.tools: no tool 'compute': the known"),
        ('"brackets"', '"braces"', "no parser of tool calls 'braces': the known ones are brackets"),
        ('"french"', '"german"', "no prompt set 'german': neither a folder nor one of compact"),
    ],
)
def test_unknown_names_list_the_installed_ones(
    distribution: Path, old: str, new: str, message: str
) -> None:
    french(distribution)
    done = run(distribution, SCRIPT.replace(old, new))
    assert message in done.stderr.splitlines()[-1]
