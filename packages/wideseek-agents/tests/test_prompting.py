import shutil
from pathlib import Path

import pytest

from wideseek_agents import PromptSet
from wideseek_agents.prompting import BUILT_IN
from wideseek_agents.template import Template
from wideseek_core import ConfigError


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(BUILT_IN / "compact", tmp_path / "mine"))


def change(file: Path, old: str, new: str) -> None:
    text = file.read_text("utf-8")
    assert old in text
    file.write_text(text.replace(old, new), "utf-8")


@pytest.mark.parametrize("name", ["default", "compact"])
def test_built_in_sets_load(name: str) -> None:
    wording = PromptSet.load(name).wording("en")
    assert set(wording.lead.tools) == {"create_sub_agents"}
    assert set(wording.subagent.tools) == set(wording.single.tools) == {"search", "access"}


def test_the_default_set_speaks_chinese() -> None:
    prompts = PromptSet.load("default")
    assert "子智能体" in prompts.wording("zh").lead.system.text
    assert prompts.wording("zh").messages.hint(2, 4) != prompts.wording("en").messages.hint(2, 4)


def test_a_set_without_chinese_falls_back_to_english() -> None:
    prompts = PromptSet.load("compact")
    assert prompts.wording("zh") is prompts.wording("en")


def test_compact_system_prompts_stay_short() -> None:
    wording = PromptSet.load("compact").wording("en")
    for prompt in (wording.lead, wording.subagent, wording.single):
        assert len(prompt.system.fill(tools=prompt.block, format="a markdown table").split()) <= 25


def test_the_default_tools_block_holds_a_schema_for_each_tool() -> None:
    block = PromptSet.load("default").wording("en").subagent.block
    lines = block.split("<tools>\n")[1].split("\n</tools>")[0].splitlines()
    assert [line[:50] for line in lines] == [
        '{"type": "function", "function": {"name": "search"',
        '{"type": "function", "function": {"name": "access"',
    ]


def test_hints_say_which_turn_comes_and_how_many_are_left() -> None:
    messages = PromptSet.load("default").wording("en").messages
    assert messages.hint(1, 3).startswith("Turn 1 of 3")
    assert "2 are left" in messages.hint(2, 3)
    assert "last" in messages.hint(3, 3)
    assert "last" in messages.hint(1, 1)


def test_a_folder_is_a_set(copy: Path) -> None:
    change(copy / "en" / "lead.md", "Lead.", "Boss.")
    assert PromptSet.load(str(copy)).wording("en").lead.system.text.startswith("Boss.")


def test_an_unknown_set_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"no prompt set 'terse': .* compact, default"):
        PromptSet.load("terse")


def test_a_set_without_languages_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="needs a folder en or zh"):
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
        ("messages.yaml", "no_content:", "no_contents:", r"unknown message 'no_contents'"),
        ("messages.yaml", "no_content: no content", "", r"message 'no_content' is missing"),
        ("messages.yaml", "question: |-", "question: [|-", r"messages\.yaml:\d+: "),
        ("tools.yaml", "name: search", "name: find", r"tools\.yaml: subagent: expected the tools"),
        ("tools.yaml", "line:", "lines:", r"tools\.yaml: unknown key .*lines"),
    ],
)
def test_a_mistake_is_named(copy: Path, file: str, old: str, new: str, message: str) -> None:
    change(copy / "en" / file, old, new)
    with pytest.raises(ConfigError, match=message):
        PromptSet.load(str(copy))


def test_what_is_filled_in_is_not_read_again() -> None:
    template = Template("{{a}} {{ b }} {c} }}")
    assert template.fill(a="{{b}}", b=2, unused="x") == "{{b}} 2 {c} }}"
