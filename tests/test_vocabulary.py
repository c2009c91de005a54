"""The project's words: those of docs/glossary.md exist, those given up do not come back."""

import re
import subprocess
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

GIVEN_UP = (
    r"(?:MOST|LONGEST|LARGEST|LEAST|REMEMBERED|KEPT)(?:_[A-Z_]+)?",
    "Tally|Accumulated|tally",
    "Desk|Clerk",
    "Roster|Wording|wording",
    "Sink|Sinks?Config|open_sinks",
    "TaskOrder|settle_config",
    "forebears?",
    "min_surprise|surprise",
    "questions_per_step|concurrent_rollouts|idle_rows",
    "build_rows|step_rows|StepRows",
    "PagePool|Tails",
    "plan_calls|PlannedCall",
    "summari[s]er|summari[s]e",
)
"""Identifiers with a better name in the glossary, as patterns of whole words."""

PHRASES = (
    "goes on where",
    "going on after",
    "whole or absent",
    "the seam between",
    "star of packages",
    "what is said between",
)
"""Private turns of phrase, in lower case."""


@cache
def sources() -> dict[str, str]:
    """Every Python file under version control but this one, by its path."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.py"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    names = [name for name in listed.stdout.decode().split("\0") if name]
    return {
        name: (ROOT / name).read_text("utf-8")
        for name in names
        if (ROOT / name).is_file() and name != "tests/test_vocabulary.py"
    }


def glossary_names() -> list[str]:
    """The names in backticks in the first column of the glossary."""
    lines = (ROOT / "docs" / "glossary.md").read_text("utf-8").splitlines()
    cells = [line.split("|")[1] for line in lines if line.startswith("| ") and "---" not in line]
    return [name for cell in cells for name in re.findall(r"`(\w+)`", cell)]


@pytest.mark.parametrize("name", glossary_names())
def test_a_name_of_the_glossary_is_defined(name: str) -> None:
    defined = re.compile(rf"^(?:class {name}\b|def {name}\b|{name} ?[:=])", re.MULTILINE)
    assert [path for path, text in sources().items() if defined.search(text)], name


@pytest.mark.parametrize("pattern", GIVEN_UP)
def test_a_name_that_was_given_up_does_not_come_back(pattern: str) -> None:
    word = re.compile(rf"(?<![A-Za-z0-9_])_?(?:{pattern})(?![A-Za-z0-9_])")
    found = {path: word.findall(text) for path, text in sources().items() if word.search(text)}
    assert found == {}


@pytest.mark.parametrize("phrase", PHRASES)
def test_a_private_phrase_does_not_come_back(phrase: str) -> None:
    assert [path for path, text in sources().items() if phrase in text.lower()] == []
