"""How a model was taught to work as an agent, kept in its folder: prompts, limits, languages.

General models have no such file, and are used with the defaults of `TeamConfig`.
"""

import copy
from pathlib import Path
from typing import Any

from pydantic import Field, JsonValue, ValidationError

from wideseek_core import DataError, Language, Record
from wideseek_core.config import merge

PROFILE_FILE = "wideseek.json"


class ModelProfile(Record):
    """The contents of a `wideseek.json` beside a model's weights."""

    languages: tuple[Language, ...] = ()
    """Languages that the model knows; empty if that is not known."""
    team: dict[str, JsonValue] = Field(default_factory=dict[str, JsonValue])
    """Settings of a `TeamConfig` that the model was taught with."""


def read_profile(folder: Path) -> ModelProfile | None:
    """The profile of a model folder; None if it has none. Raises `DataError` naming the file."""
    file = folder / PROFILE_FILE
    if not file.is_file():
        return None
    try:
        return ModelProfile.model_validate_json(file.read_bytes())
    except (OSError, ValidationError) as error:
        raise DataError(f"{file}: not a model's profile: {str(error).splitlines()[0]}") from None


def suited_team(
    given: dict[str, Any], main: ModelProfile | None, subagent: ModelProfile | None
) -> dict[str, Any]:
    """Raw settings of a team on top of those that its models were taught with.

    The settings of the lead and the single agent come from the profile of `main`, those of
    subagents from that of `subagent`. What is `given` comes first.
    """
    team: dict[str, Any] = {}
    for roles, profile in ((("lead", "single"), main), (("subagent",), subagent)):
        taught: dict[str, Any] = copy.deepcopy(profile.team) if profile is not None else {}
        for role in roles:
            settings: dict[str, Any] = dict(taught.get(role) or {})
            if "prompts" in taught and "prompts" not in given:
                settings.setdefault("prompts", taught["prompts"])
            if settings:
                team[role] = settings
        if profile is main and "calls" in taught:
            team["calls"] = taught["calls"]
    merge(team, given)
    return team
