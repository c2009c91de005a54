"""`wideseek-judge check`: does an endpoint answer as a judge must?"""

import asyncio
import sys
import time
from collections.abc import Sequence

from wideseek_core import ConfigError, JudgeError, ScoreState, TableGold, Task, TextGold
from wideseek_core.config import HelpRequested, describe, exit_on_error, load_config
from wideseek_core.progress import show
from wideseek_judge.config import JudgeConfig
from wideseek_judge.judge import TableJudge, open_judge

_USAGE = """usage: wideseek-judge check [CONFIG.yaml] [endpoint.base_url=URL] [key=value ...]

Asks the endpoint to judge a table and two short answers whose verdicts are known.
Exit 0 if it judges them, 2 with one line if it can't.
"""
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


def main() -> None:
    """Runs the command line."""
    with exit_on_error():
        run(sys.argv[1:])


def run(arguments: Sequence[str]) -> None:
    """`check`, or help."""
    if not arguments or arguments[0] in ("-h", "--help"):
        raise HelpRequested(_USAGE)
    if arguments[0] != "check":
        raise ConfigError(f"unknown command {arguments[0]!r}: the only one is 'check'")
    if "--help" in arguments or "-h" in arguments:
        raise HelpRequested(f"{_USAGE}\n{describe(JudgeConfig)}")
    # A check that read earlier verdicts from the cache would not reach the endpoint.
    fixed = ("kind=llm", "mode=strict", "cache=null", "skip_certain=true", "extract=[whole]")
    config = load_config(JudgeConfig, ["endpoint.max_attempts=2", *arguments[1:], *fixed])
    asyncio.run(check(config))


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
        f"{config.endpoint.base_url}  model {config.endpoint.model}\n"
        f"{verdicts}\n"
        f"{counts.calls} requests in {seconds:.1f} s, {counts.parse_failures} unreadable replies"
    )
