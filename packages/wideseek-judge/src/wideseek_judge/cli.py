"""`wideseek-judge check`: does an endpoint answer as a judge must?"""

import asyncio
import time
from collections.abc import Sequence

from wideseek_core import JudgeError, ScoreState, TableGold, Task, TextGold
from wideseek_core.commands import Command, Program
from wideseek_core.config import load_config
from wideseek_core.counting import counted
from wideseek_core.progress import show
from wideseek_core.redaction import hide_credentials
from wideseek_judge.config import JudgeConfig
from wideseek_judge.judge import TableJudge, open_judge

_USAGE = "wideseek-judge check [CONFIG.yaml ...] [endpoint.base_url=URL] [KEY=VALUE ...]"
_TABLE = Task(
    id="check-table",
    question="Which rivers flow through Vienna and Cairo?",
    gold=TableGold(
        text="| City | River |\n|---|---|\n| Vienna | Danube |\n| Cairo | Nile |",
        key_columns=("City",),
        required_columns=("City", "River"),
    ),
)
_ANSWER = "| City | River |\n|---|---|\n| Wien | the river Donau |\n| Cairo | Amazon |"
_RIGHT_CELLS = 0.75
"""Wien and Cairo name their rows, the Donau is the Danube, the Amazon is not the Nile."""
_TEXT = Task(id="check-text", question="Who wrote Hamlet?", gold=TextGold(answers=("Shakespeare",)))


class CheckConfig(JudgeConfig):
    """Asks the endpoint to judge a table and two short answers whose verdicts are known.

    Exits with 0 if it judges them, and with 2 and one line if it can't.
    """


def main() -> None:
    """Runs the command line."""
    PROGRAM.main()


def _check(arguments: Sequence[str]) -> None:
    # A check that read earlier verdicts from the cache would not reach the endpoint.
    fixed = ("kind=llm", "mode=strict", "cache=null", "skip_certain=true", "extract=[whole]")
    given = ["endpoint.max_attempts=2", *arguments, *fixed]
    asyncio.run(check(load_config(CheckConfig, given, usage=_USAGE)))


async def check(config: JudgeConfig) -> None:
    """Judges known cases and shows how it went. Raises `JudgeError` if it can't."""
    async with open_judge(config) as judge:
        started = time.monotonic()
        table = await judge.score(_TABLE, _ANSWER)
        right = await judge.score(_TEXT, "William Shakespeare, the playwright")
        wrong = await judge.score(_TEXT, "Christopher Marlowe")
        seconds = time.monotonic() - started
    for score in (table, right, wrong):
        if score.state is ScoreState.UNSCORED:
            raise JudgeError(score.message)
    expected = (table.value == _RIGHT_CELLS, right.value == 1.0, wrong.value == 0.0)
    show(_report(config, judge, seconds, expected))
    if not all(expected):
        raise JudgeError(
            f"{config.endpoint.model!r} answers, but judged {expected.count(False)} of 3 easy "
            "cases wrongly: use a stronger model"
        )


def _report(
    config: JudgeConfig, judge: TableJudge, seconds: float, expected: Sequence[bool]
) -> str:
    names = ("table", "right answer", "wrong answer")
    verdicts = ", ".join(
        f"{name} {'as expected' if good else 'WRONG'}"
        for name, good in zip(names, expected, strict=True)
    )
    counts = judge.counts
    return (
        f"{hide_credentials(config.endpoint.base_url)}  model {config.endpoint.model}\n"
        f"{verdicts}\n"
        f"{counted(counts.calls, 'request')} in {seconds:.1f} s, "
        f"{counted(counts.parse_failures, 'unreadable reply')}"
    )


PROGRAM = Program(
    name="wideseek-judge",
    summary="Scores for tables and short answers.",
    distribution="wideseek-judge",
    commands={"check": Command(summary="Try whether an endpoint can judge.", run=_check)},
)
