"""The bundled atlas as a data set: its configuration, and its tasks."""

from typing import Literal, Self

from pydantic import Field, model_validator

from wideseek_core.counting import counted
from wideseek_core.datasets import Selection, select_mixture
from wideseek_core.errors import DataError
from wideseek_core.plugins import Plugin
from wideseek_core.tasks import Task

Questions = Literal["wide", "qa"]
Domain = Literal[
    "airports", "cities", "computer_languages", "countries", "deep_sky",
    "elements", "holidays", "human_languages", "isotopes", "us_states",
]  # fmt: skip


class AtlasData(Selection):
    """The bundled world of true facts."""

    kind: Literal["atlas"] = "atlas"
    split: Literal["train", "dev", "test"] = "test"
    questions: Questions | tuple[Questions, ...] = "wide"
    """Questions with tables (`wide`), questions with short answers (`qa`), or a list of both."""
    weights: tuple[float, ...] = ()
    """For a list of both: their shares among the tasks; without weights all of both are taken."""
    max_columns: int | None = Field(default=None, ge=1)
    """Only wide questions that ask for at most this many columns beside the key."""
    shapes: tuple[Literal["group", "both", "range", "top"], ...] | None = None
    """Only wide questions whose rows are picked so: all of a listed group, those with a second
    property too, those above or below a bound, the k largest."""
    domains: tuple[Domain, ...] | None = None
    """Only wide questions about these."""

    @property
    def kinds(self) -> tuple[Questions, ...]:
        """The kinds of questions as a list."""
        return (self.questions,) if isinstance(self.questions, str) else self.questions

    @model_validator(mode="after")
    def _one_weight_a_kind(self) -> Self:
        if not self.kinds or len(set(self.kinds)) != len(self.kinds):
            raise ValueError("questions must be wide, qa, or a list of both")
        if self.weights and len(self.weights) != len(self.kinds):
            raise ValueError(
                f"{counted(len(self.weights), 'weight')} for {counted(len(self.kinds), 'kind')}"
            )
        if any(not 0 < weight < float("inf") for weight in self.weights):
            raise ValueError("weights must be positive numbers")
        return self


def load_atlas(config: AtlasData) -> list[Task]:
    """The atlas's tasks that a configuration asks for.

    Without `shuffle` they are in a fixed order in which any first few are balanced over the
    domains. The limits of rows, columns, shapes and domains concern wide questions only.
    Raises `DataError` if there are none.
    """
    # Imported on use: reading a configuration needs none of the atlas.
    from wideseek_data.atlas import load_tasks

    groups = [
        load_tasks(
            config.split,
            kind=kind,
            max_rows=config.max_rows,
            min_rows=config.min_rows,
            max_columns=config.max_columns,
            shapes=config.shapes,
            domains=config.domains,
        )
        for kind in config.kinds
    ]
    for kind, group in zip(config.kinds, groups, strict=True):
        if not group:
            raise DataError(f"no {kind} questions of split {config.split!r} are left to ask")
    return select_mixture(groups, config.weights, _without_row_limits(config))


def _without_row_limits(config: AtlasData) -> Selection:
    """They are applied already, and short answers have no rows."""
    return Selection(limit=config.limit, shuffle=config.shuffle, seed=config.seed)


ATLAS = Plugin(config=AtlasData, open=load_atlas)
"""The plug-in of the group `wideseek.datasets`."""
