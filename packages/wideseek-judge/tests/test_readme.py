import re
import subprocess
import sys
from pathlib import Path

import pytest

from wideseek_core import ScoreState, TableGold, Task
from wideseek_judge.entry import open_named

README = Path(__file__).parents[1] / "README.md"


@pytest.mark.skipif(not README.exists(), reason="only beside the sources")
def test_the_example_of_the_readme_prints_what_it_says() -> None:
    code = re.findall(r"```python\n(.*?)```", README.read_text("utf-8"), re.DOTALL)[0]
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == code.rsplit("# ", 1)[1].strip()


async def test_judges_are_found_by_name() -> None:
    gold = TableGold(
        text="a,b\n1,2\n", format="csv", key_columns=("a",), required_columns=("a", "b")
    )
    async with open_named("reward", "exact") as judge:
        score = await judge.score(Task(id="t", question="q", gold=gold), "a | b\n-|-\n1 | 2")
    assert score.state is ScoreState.SCORED
    assert score.value == 1.0
