import shutil
from pathlib import Path

import pytest

from wideseek_agents import PromptSet
from wideseek_agents.prompts import BUILT_IN
from wideseek_agents.tools import tool_definitions
from wideseek_core import ConfigError
from wideseek_core.templates import Template


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(BUILT_IN / "compact", tmp_path / "mine"))


def change(file: Path, old: str, new: str) -> None:
    text = file.read_text("utf-8")
    assert old in text
    file.write_text(text.replace(old, new), "utf-8")


@pytest.mark.parametrize("name", ["default", "compact"])
def test_built_in_sets_load(name: str) -> None:
    prompts = PromptSet.load(name).localized("en")
    assert set(prompts.systems) == {"lead", "subagent", "single"}
    for tool in tool_definitions().values():
        assert prompts.tool(tool, batched=True).words["result"].places >= {"request", "text"}


def test_the_default_set_speaks_chinese() -> None:
    prompts = PromptSet.load("default")
    assert "子智能体" in prompts.localized("zh").systems["lead"].text
    chinese, english = prompts.localized("zh").messages, prompts.localized("en").messages
    assert chinese.hint(2, 4) != english.hint(2, 4)


def test_a_set_without_chinese_falls_back_to_english() -> None:
    prompts = PromptSet.load("compact")
    assert prompts.localized("zh") is prompts.localized("en")


def test_compact_system_prompts_stay_short() -> None:
    prompts = PromptSet.load("compact").localized("en")
    for system in prompts.systems.values():
        assert len(system.text.split()) <= 12
    assert prompts.tools_block.text == "{{tools}}"


def test_hints_say_which_turn_comes_and_how_many_are_left() -> None:
    messages = PromptSet.load("default").localized("en").messages
    assert messages.hint(1, 3).startswith("Turn 1 of 3")
    assert "2 are left" in messages.hint(2, 3)
    assert "last" in messages.hint(3, 3)
    assert "last" in messages.hint(1, 1)


def test_a_folder_is_a_set(copy: Path) -> None:
    change(copy / "en" / "lead.md", "Lead.", "Boss.")
    assert PromptSet.load(str(copy)).localized("en").systems["lead"].text.startswith("Boss.")


def test_an_unknown_set_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"no prompt set 'terse': .* compact, default"):
        PromptSet.load("terse")


def test_a_set_without_languages_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="needs a folder for a language"):
        PromptSet.load(str(tmp_path))


def test_a_missing_file_is_named(copy: Path) -> None:
    (copy / "en" / "single.md").unlink()
    with pytest.raises(ConfigError, match=r"no such file: .*en/single\.md"):
        PromptSet.load(str(copy))


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("lead.md", "{{format}}", "{{fromat}}", r"lead\.md: unknown placeholder \{\{fromat\}\}"),
        ("tools.md", "{{tools}}", "", r"tools\.md: the placeholder \{\{tools\}\} is missing"),
        (
            "messages.yaml",
            "{{error}}",
            "!",
            r"messages\.yaml: tool_error: .*\{\{error\}\} is missing",
        ),
        ("messages.yaml", "tool_error:", "tool_errors:", r"unknown message 'tool_errors'"),
        ("messages.yaml", 'not_json: "error: bad call"', "", r"message 'not_json' is missing"),
        ("messages.yaml", "question: |-", "question: [|-", r"messages\.yaml:\d+: "),
        ("tools.yaml", "search:\n", "find:\n", r"tools\.yaml: no tool 'find': .* search"),
        ("tools.yaml", " line:", " lines:", r"tools\.yaml: search: unknown key .*lines"),
        ("tools.yaml", "{{url}}", "{{uri}}", r"document: unknown placeholder \{\{uri\}\}"),
    ],
)
def test_a_mistake_is_named(copy: Path, file: str, old: str, new: str, message: str) -> None:
    change(copy / "en" / file, old, new)
    with pytest.raises(ConfigError, match=message):
        PromptSet.load(str(copy))


def test_what_is_filled_in_is_not_read_again() -> None:
    template = Template("{{a}} {{ b }} {c} }}")
    assert template.fill(a="{{b}}", b=2, unused="x") == "{{b}} 2 {c} }}"
