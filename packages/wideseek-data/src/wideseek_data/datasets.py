"""The bundled atlas as a data set: its configuration, and its tasks."""

from typing import Literal

from pydantic import Field

from wideseek_core.datasets import Selection
from wideseek_core.plugins import Plugin
from wideseek_core.tasks import Task

Domain = Literal[
    "airports", "cities", "computer_languages", "countries", "deep_sky",
    "elements", "holidays", "human_languages", "isotopes", "us_states",
]  # fmt: skip


class AtlasData(Selection):
    """The bundled world of true facts."""

    kind: Literal["atlas"] = "atlas"
    split: Literal["train", "dev", "test"] = "test"
    questions: Literal["wide", "qa"] = "wide"
    max_columns: int | None = Field(default=None, ge=1)
    """Only wide questions that ask for at most this many columns beside the key."""
    shapes: tuple[Literal["group", "both", "range", "top"], ...] | None = None
    """Only wide questions whose rows are picked so: all of a listed group, those with a second
    property too, those above or below a bound, the k largest."""
    domains: tuple[Domain, ...] | None = None
    """Only wide questions about these."""


def load_atlas(config: AtlasData) -> list[Task]:
    """The atlas's tasks that a configuration asks for."""
    # Imported on use: reading a configuration needs none of the atlas.
    from wideseek_data.atlas import load_tasks

    return load_tasks(
        config.split,
        kind=config.questions,
        limit=config.limit,
        seed=config.seed,
        max_rows=config.max_rows,
        min_rows=config.min_rows,
        max_columns=config.max_columns,
        shapes=config.shapes,
        domains=config.domains,
    )


ATLAS = Plugin(config=AtlasData, open=load_atlas)
"""The plug-in of the group `wideseek.datasets`."""
