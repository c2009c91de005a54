"""Settings of a team that belong to a model: read from the model's folder, never assumed."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from pydantic import BaseModel

from wideseek_agents.profile import ModelProfile, read_profile, suited_team
from wideseek_core import ConfigError, DataError, Language
from wideseek_rl.models import smollm2
from wideseek_rl.models.names import START, named_model
from wideseek_rl.models.start_policy import start_policy

MAX_WINDOW = 32_000
"""Tokens of an agent's conversation that a general model gets at most."""
_SERVED = ("vllm", "sglang")
"""Policies behind servers of which the model's folder is known, too."""


def local_folder(model: str) -> Path:
    """The folder of a local model's name; in a checkpoint the optimizer is beside the model."""
    if model == smollm2.NAME:
        return smollm2.adapter_folder()  # what its agents were taught is beside the adapter
    folder = start_policy() if model == START else Path(named_model(model))
    inner = folder / "model"
    return inner if inner.is_dir() and not (folder / "config.json").exists() else folder


def profile_of(policy: object) -> ModelProfile | None:
    """What a policy's model was taught with; None for endpoints and general models.

    What an adapter was taught, if that is said beside it, comes before what its base was.
    `policy` is a configuration or its raw values. Raises `ConfigError` for a broken profile.
    """
    values: Mapping[str, Any] = {}
    if isinstance(policy, BaseModel):
        values = policy.model_dump()
    elif isinstance(policy, Mapping):
        values = cast(Mapping[str, Any], policy)
    kind = values.get("kind", "local")
    model: object = values.get("tokenizer" if kind in _SERVED else "model", START)
    if kind not in ("local", *_SERVED) or not isinstance(model, str | Path):
        return None
    adapter = values.get("adapter")
    folders = [Path(adapter), Path(adapter) / "adapter"] if isinstance(adapter, str | Path) else []
    try:
        found = (read_profile(one) for one in (*folders, local_folder(str(model))))
        return next((one for one in found if one is not None), None)
    except DataError as error:
        raise ConfigError(str(error)) from None


def taught_limits(policy: object) -> dict[str, int]:
    """The limits that a policy's model was taught with, by the names that its kind has for them."""
    profile = profile_of(policy)
    if profile is None:
        return {}
    kind = getattr(policy, "kind", None) or cast(Mapping[str, Any], policy).get("kind", "local")
    window = "context_tokens" if kind in _SERVED else "window"
    limits = {window: profile.window, "turn_tokens": profile.turn_tokens}
    return {name: value for name, value in limits.items() if value is not None}


def taught_policy(policy: object) -> object:
    """Raw values of a policy on top of the limits that its model was taught with."""
    if not isinstance(policy, Mapping):
        return policy
    return taught_limits(cast(object, policy)) | dict(cast(Mapping[str, Any], policy))


def general_window(model: object) -> int:
    """The window of a model that was not taught to work as an agent: its own, within limits."""
    try:
        config = json.loads((local_folder(str(model)) / "config.json").read_bytes())
        positions = config["max_position_embeddings"]
    except (OSError, ValueError, KeyError, TypeError):
        positions = None  # whoever loads the model says what is wrong with it
    return (
        min(positions, MAX_WINDOW) if isinstance(positions, int) and positions > 0 else MAX_WINDOW
    )


def language_warnings(policies: Mapping[str, object], language: Language) -> list[str]:
    """One line for each model that was not taught a language, by the key of its policy."""
    lines: list[str] = []
    for key, policy in policies.items():
        profile = None if policy is None else profile_of(policy)
        known = () if profile is None else profile.languages
        if known and language.partition("-")[0] not in known:
            names = ", ".join(known)
            lines.append(f"the model of {key} knows only {names}, and not the language {language}")
    return lines


def taught_team(given: object, policy: object, subagent_policy: object = None) -> dict[str, Any]:
    """Raw settings of a team: those given, on top of those that its models were taught with."""
    raw: dict[str, Any] = {}
    if isinstance(given, BaseModel):
        raw = given.model_dump(exclude_unset=True)
    elif isinstance(given, Mapping):
        raw = dict(cast(Mapping[str, Any], given))
    main = profile_of(policy)
    return suited_team(raw, main, main if subagent_policy is None else profile_of(subagent_policy))
