"""How a model was taught to work as an agent, kept in its folder: prompts, limits, languages.

General models have no such file, and are used with the defaults of `TeamConfig`.
"""

import copy
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import Field, JsonValue

from wideseek_agents.config import TeamConfig
from wideseek_agents.prompts import copy_set, lasting_name
from wideseek_core import ConfigError, DataError, Language, Record
from wideseek_core.config import merge, validate
from wideseek_core.files import write_atomically
from wideseek_core.json_text import parse_record

logger = logging.getLogger(__name__)

PROFILE_FILE = "wideseek.json"
PROMPTS_FOLDER = "wideseek-prompts"
"""Where prompt sets are kept beside a profile, if they are not those of a package."""
ROLES = ("lead", "subagent", "single")
SHARED = (
    "calls",
    "workflow",
    "coverage_audit",
    "top_k",
    "max_document_chars",
    "max_page_chars",
)
"""Settings of a team, beside those of its roles, that a model is taught with. Others are of whoever
runs it: what may be spent, how long tools may take, their keys, and a model that summarizes."""


class ModelProfile(Record):
    """The contents of a `wideseek.json` beside a model's weights."""

    languages: tuple[Language, ...] = ()
    """Languages that the model knows; empty if that is not known."""
    team: dict[str, JsonValue] = Field(default_factory=dict[str, JsonValue])
    """Settings of a `TeamConfig` that the model was taught with."""
    window: int | None = Field(default=None, ge=64)
    """Tokens of an agent's whole conversation; null if that is not known."""
    turn_tokens: int | None = Field(default=None, ge=1)
    """Most tokens of one turn; null if that is not known."""


def read_profile(folder: Path) -> ModelProfile | None:
    """The profile of a model folder; None if it has none. Raises `DataError` naming the file."""
    file = folder / PROFILE_FILE
    if not file.is_file():
        return None
    try:
        profile = parse_record(file.read_bytes(), ModelProfile)
        validate(TeamConfig, profile.team)
    except (OSError, DataError, ConfigError) as error:
        raise DataError(f"{file}: not a model's profile: {error}") from None

    def absolute(name: str) -> str:
        kept = Path(name).parts[:1] == (PROMPTS_FOLDER,)
        return str((folder / name).absolute()) if kept else name

    return _with_prompts(profile, absolute)


def write_profile(folder: Path, profile: ModelProfile) -> None:
    """Writes a profile into the folder of a model or an adapter, with the prompts that it names."""
    kept: dict[str, Path] = {}

    def relative(name: str) -> str:
        if not Path(name).is_absolute():
            return name
        target = next((to for to, source in kept.items() if source == Path(name)), None)
        if target is None:
            target, number = f"{PROMPTS_FOLDER}/{Path(name).name or 'set'}", 2
            while target in kept:
                target, number = f"{PROMPTS_FOLDER}/{Path(name).name or 'set'}-{number}", number + 1
            if not _keep(Path(name), folder / target):
                return name
            kept[target] = Path(name)
        return target

    profile = _with_prompts(profile, relative)
    unknown = {name for name in ("window", "turn_tokens") if getattr(profile, name) is None}
    text = profile.model_dump_json(indent=1, exclude=unknown)
    write_atomically(folder / PROFILE_FILE, text + "\n")


def _keep(prompts: Path, target: Path) -> bool:
    """Copies a prompt set to where a profile is; False if that can't be done."""
    try:
        if prompts.resolve() != target.resolve():
            target.parent.mkdir(exist_ok=True)
            copy_set(prompts, target)
    except OSError as error:
        logger.warning("prompts %s are not kept beside the model: %s", prompts, error)
        return False
    return True


def _with_prompts(profile: ModelProfile, change: Callable[[str], str]) -> ModelProfile:
    """A profile with other names of prompt sets, of the team and of its roles."""
    team = copy.deepcopy(profile.team)
    for values in (team, *(team.get(role) for role in ROLES)):
        if isinstance(values, dict) and isinstance(name := values.get("prompts"), str):
            values["prompts"] = change(name)
    return profile.model_copy(update={"team": team})


def taught_settings(team: TeamConfig) -> dict[str, JsonValue]:
    """What a profile keeps of the team that a model was taught in, where it is not the default.

    Raises `ConfigError` for a prompt set that is not there.
    """
    values = team.model_dump(mode="json", exclude_defaults=True)
    taught: dict[str, JsonValue] = {name: values[name] for name in SHARED if name in values}
    prompts = {role: lasting_name(getattr(team, role).prompts or team.prompts) for role in ROLES}
    shared = len(set(prompts.values())) == 1
    if shared:
        taught["prompts"] = prompts["lead"]
    for role in ROLES:
        own = {k: v for k, v in values.get(role, {}).items() if k not in ("deadline_s", "prompts")}
        own |= {} if shared else {"prompts": prompts[role]}
        if own:
            taught[role] = own
    return taught


def suited_team(
    given: dict[str, Any], main: ModelProfile | None, subagent: ModelProfile | None
) -> dict[str, Any]:
    """Raw settings of a team on top of those that its models were taught with.

    The settings of the lead, of the single agent and of the team as a whole come from the profile
    of `main`, those of subagents from that of `subagent`. What is `given` comes first.
    """
    team: dict[str, Any] = {}
    for roles, profile in ((("lead", "single"), main), (("subagent",), subagent)):
        taught: dict[str, Any] = copy.deepcopy(profile.team) if profile is not None else {}
        for role in roles:
            settings: dict[str, Any] = dict(taught.get(role) or {})
            if "prompts" in given:
                settings.pop("prompts", None)
            elif "prompts" in taught:
                settings.setdefault("prompts", taught["prompts"])
            if settings:
                team[role] = settings
        if roles[0] == "lead":
            team |= {name: taught[name] for name in SHARED if name in taught}
    merge(team, given)
    return team
