"""What the bundled start policy and the bundled world are used with by default."""

from typing import Literal

from wideseek_agents import AgentConfig, LeadConfig, SingleConfig, TeamConfig
from wideseek_data import AtlasData

ATLAS_TEAM = TeamConfig(
    prompts="compact",
    lead=LeadConfig(max_turns=6),
    subagent=AgentConfig(max_turns=6),
    single=SingleConfig(max_turns=40),
    calls="reference",
)
"""How the start policy was taught to work."""


def small_tables(split: Literal["train", "dev"]) -> AtlasData:
    """What is measured: listed groups of a few members."""
    return AtlasData(split=split, shapes=("group",), min_rows=2, max_rows=6, max_columns=3)


def small_mixture() -> AtlasData:
    """What some sixty steps on two cores can learn from.

    Questions of all shapes, and one in five with a short answer: a policy that is trained on listed
    groups alone forgets the others.
    """
    return AtlasData(
        split="train",
        questions=("wide", "qa"),
        weights=(0.8, 0.2),
        min_rows=2,
        max_rows=6,
        max_columns=3,
    )
