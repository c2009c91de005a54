"""Settings that belong to a model come from its folder."""

import json
import shutil
from pathlib import Path

import pytest

from wideseek_agents import TeamConfig
from wideseek_agents.profile import (
    ModelProfile,
    read_profile,
    suited_team,
    taught_settings,
    write_profile,
)
from wideseek_agents.prompts import BUILT_IN, PromptSet
from wideseek_core import DataError
from wideseek_core.config import validate

TAUGHT = ModelProfile(
    languages=("en",),
    team={
        "prompts": "compact",
        "calls": "reference",
        "lead": {"max_turns": 6},
        "subagent": {"max_turns": 7},
        "single": {"max_turns": 40},
    },
)


def team(given: dict[str, object], *profiles: ModelProfile | None) -> TeamConfig:
    return validate(TeamConfig, suited_team(given, *profiles))


def test_a_taught_model_brings_its_settings() -> None:
    found = team({}, TAUGHT, TAUGHT)
    roles = (found.lead, found.subagent, found.single)
    assert [role.max_turns for role in roles] == [6, 7, 40]
    assert {role.prompts for role in roles} == {"compact"}
    assert found.calls == "reference"
    assert found.lead.tools == ("create_sub_agents",)
    assert found.single.requests_per_turn == 1


def test_a_general_model_gets_the_defaults() -> None:
    assert team({}, None, None) == TeamConfig()


def test_subagents_of_another_model_get_nothing_of_the_leads() -> None:
    found = team({}, TAUGHT, None)
    assert (found.lead.prompts, found.lead.max_turns) == ("compact", 6)
    assert (found.subagent.prompts, found.subagent.max_turns) == ("", 20)
    reverse = team({}, None, TAUGHT)
    assert (reverse.lead.max_turns, reverse.subagent.max_turns) == (10, 7)
    assert reverse.calls == "report"


def test_what_is_given_comes_first() -> None:
    found = team({"prompts": "default", "lead": {"max_turns": 3}}, TAUGHT, TAUGHT)
    assert (found.prompts, found.lead.prompts, found.lead.max_turns) == ("default", "", 3)
    roles = ModelProfile(team={"lead": {"prompts": "compact"}, "subagent": {"prompts": "/gone"}})
    found = team({"prompts": "default"}, roles, roles)
    assert (found.prompts, found.lead.prompts, found.subagent.prompts) == ("default", "", "")
    found = team({"subagent": {"prompts": "default"}}, roles, roles)
    assert (found.lead.prompts, found.subagent.prompts) == ("compact", "default")


def test_settings_of_the_whole_team_are_those_of_its_lead() -> None:
    single = ModelProfile(team={"workflow": "single_agent", "top_k": 5, "budget": {}})
    assert (team({}, single, None).workflow, team({}, single, None).top_k) == ("single_agent", 5)
    assert team({}, None, single) == TeamConfig()
    assert team({"workflow": "multi_agent"}, single, single).workflow == "multi_agent"


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"prompts": "compact"},
        {"prompts": "compact", "lead": {"prompts": "compact"}},
        {"lead": {"prompts": "compact", "max_turns": 3}},
        {"workflow": "single_agent", "single": {"batched": True, "requests_per_call": 4}},
        {"subagent": {"tools": ["access"], "max_question_tokens": None}, "top_k": 5},
        {"calls": "reference", "coverage_audit": True, "max_document_chars": 9},
        {"lead": {"tool_call_format": "llama", "context_tokens": 900}, "max_page_chars": 10},
    ],
)
def test_a_team_is_the_same_by_the_profile_of_a_model_that_it_taught(
    tmp_path: Path, settings: dict[str, object]
) -> None:
    taught = validate(TeamConfig, settings)
    write_profile(tmp_path, ModelProfile(team=taught_settings(taught), window=900))
    profile = read_profile(tmp_path)
    assert profile is not None
    assert (profile.window, profile.turn_tokens) == (900, None)
    found = team({}, profile, profile)
    for role in ("lead", "subagent", "single"):
        was, now = getattr(taught, role), getattr(found, role)
        assert (was.prompts or taught.prompts) == (now.prompts or found.prompts)
        assert was.model_copy(update={"prompts": ""}) == now.model_copy(update={"prompts": ""})
    roles = {"prompts": "", "lead": None, "subagent": None, "single": None}
    assert found.model_copy(update=roles) == taught.model_copy(update=roles)
    assert team({"prompts": "default"}, profile, profile).lead.prompts in ("", "compact")


def test_a_profile_keeps_nothing_of_whoever_runs_a_team(tmp_path: Path) -> None:
    settings = {
        "budget": {"max_cost": 1.0},
        "tool_timeout_s": 5.0,
        "use_access_summary": True,
        "subagent": {"deadline_s": 3.0, "max_turns": 4},
        "tool_settings": {"mine": {"api_key": "hunter2"}},
    }
    taught = taught_settings(validate(TeamConfig, settings))
    assert taught == {"prompts": "default", "subagent": {"max_turns": 4}}


def test_prompts_of_a_folder_are_found_from_any_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("mine", "compact"):  # a built-in set comes before a folder of its name
        shutil.copytree(BUILT_IN / "compact", tmp_path / name)
    monkeypatch.chdir(tmp_path)
    names = [taught_settings(TeamConfig(prompts=name))["prompts"] for name in ("mine", "compact")]
    assert names == [str(tmp_path / "mine"), "compact"]


def test_a_folder_without_a_profile_has_none(tmp_path: Path) -> None:
    assert read_profile(tmp_path) is None


@pytest.mark.parametrize(
    "text",
    [
        *("{", '{"teams": {}}', '{"team": []}', "\xff", "[]", '{"window": 5}'),
        *('{"team": {"lead": 5}}', '{"team": {"lead": [1]}}', '{"team": {"single": {"turns": 4}}}'),
    ],
)
def test_a_broken_profile_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "wideseek.json").write_text(text, "latin-1")
    with pytest.raises(DataError, match=r"wideseek\.json: not a model's profile"):
        read_profile(tmp_path)


def test_a_profile_is_read_back(tmp_path: Path) -> None:
    (tmp_path / "wideseek.json").write_text(json.dumps(TAUGHT.model_dump(mode="json")))
    assert read_profile(tmp_path) == TAUGHT


def test_prompts_of_a_folder_go_with_the_model(tmp_path: Path) -> None:
    """A model that is copied to another machine has them, and no path of the first."""
    for name in ("a/mine", "b/mine"):
        shutil.copytree(BUILT_IN / "compact", tmp_path / name)
    (tmp_path / "a" / "mine" / "secret.txt").write_text("hunter2")
    (tmp_path / "b" / "mine" / "en" / "lead.md").write_text("You lead. {{tools}}")
    settings = {
        role: {"prompts": str(tmp_path / folder / "mine")}
        for role, folder in (("lead", "b"), ("subagent", "a"), ("single", "a"))
    }
    first, moved = tmp_path / "first", tmp_path / "moved"
    first.mkdir()
    taught = taught_settings(validate(TeamConfig, settings))
    for _ in range(2):
        write_profile(first, ModelProfile(team=taught))
    assert str(tmp_path) not in (first / "wideseek.json").read_text()
    shutil.move(first, moved)
    for name in "ab":
        shutil.rmtree(tmp_path / name)
    profile = read_profile(moved)
    assert profile is not None
    found = team({}, profile, profile)
    assert found.subagent.prompts == found.single.prompts
    texts = [PromptSet.load(role.prompts).localized("en") for role in (found.lead, found.subagent)]
    assert [str(text.systems["lead"]).count("You lead.") for text in texts] == [1, 0]
    assert not list(moved.rglob("secret.txt"))
    (again := tmp_path / "again").mkdir()
    write_profile(again, ModelProfile(team=taught_settings(found)))
    assert {path.name for path in again.rglob("*mine*")} == {"mine", "mine-2"}
    assert str(tmp_path) not in (again / "wideseek.json").read_text()


def test_prompts_that_are_gone_are_named_all_the_same(tmp_path: Path) -> None:
    gone = ModelProfile(team={"prompts": str(tmp_path / "gone")})
    write_profile(tmp_path, gone)
    assert read_profile(tmp_path) == gone


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"window": 5}', "window: Input should be greater than or equal to 64"),
        ('{"team": {"lead": {"max_turns": 0}}}', "lead.max_turns: "),
        ('{"team": {"leed": {}}}', "unknown key 'leed'"),
    ],
)
def test_what_is_wrong_in_a_profile_is_said(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "wideseek.json").write_text(text)
    with pytest.raises(DataError, match=r"wideseek\.json: not a model's profile: ") as caught:
        read_profile(tmp_path)
    assert problem in str(caught.value)
    assert "\n" not in str(caught.value)
