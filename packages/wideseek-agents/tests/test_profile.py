"""Settings that belong to a model come from its folder."""

import json
from pathlib import Path

import pytest

from wideseek_agents import TeamConfig
from wideseek_agents.profile import ModelProfile, read_profile, suited_team
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


def test_a_folder_without_a_profile_has_none(tmp_path: Path) -> None:
    assert read_profile(tmp_path) is None


@pytest.mark.parametrize("text", ["{", '{"teams": {}}', '{"team": []}', "\xff"])
def test_a_broken_profile_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "wideseek.json").write_text(text, "latin-1")
    with pytest.raises(DataError, match=r"wideseek\.json: not a model's profile"):
        read_profile(tmp_path)


def test_a_profile_is_read_back(tmp_path: Path) -> None:
    (tmp_path / "wideseek.json").write_text(json.dumps(TAUGHT.model_dump(mode="json")))
    assert read_profile(tmp_path) == TAUGHT
