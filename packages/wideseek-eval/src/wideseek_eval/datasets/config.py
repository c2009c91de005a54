"""The known data sets as configuration."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, model_validator

from wideseek_core.counting import counted
from wideseek_core.datasets import Selection
from wideseek_core.plugins import kind_union
from wideseek_eval.datasets.widesearch import REVISION


class Files(Selection):
    """Task files that are read in one go."""

    path: Path | tuple[Path, ...]
    """A file, or a list of files: JSON lines, or `.json` with one array."""
    weights: tuple[float, ...] = ()
    """For a list of files: their shares among the tasks. No task is taken twice, so the scarcest
    file bounds how many there are. Without weights all tasks of all files are taken."""
    skip_malformed: bool = False
    """Leave malformed tasks out, with a warning, instead of stopping at the first."""

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files as a list."""
        return (self.path,) if isinstance(self.path, Path) else self.path

    @model_validator(mode="after")
    def _one_weight_a_file(self) -> Self:
        if not self.paths:
            raise ValueError("path is an empty list")
        if self.weights and len(self.weights) != len(self.paths):
            raise ValueError(
                f"{counted(len(self.weights), 'weight')} for {counted(len(self.paths), 'file')}"
            )
        if any(not 0 < weight < float("inf") for weight in self.weights):
            raise ValueError("weights must be positive numbers")
        return self


class JsonlData(Files):
    """Tasks with `question` (or `query`) and `answer`: tables, short answers, or both."""

    kind: Literal["jsonl"] = "jsonl"
    question_key: str = ""
    """Key of the question; `question` or `query` if empty."""
    answer_key: str = ""
    """Key of the answer; `answer` or `gt` if empty."""
    normalize_columns: bool = True
    """Match column names in lower case and without spaces; false matches them as written."""


class QaData(Files):
    """A question-answering set: `question`, and `answer` or `gt` as a string or a list."""

    kind: Literal["qa"] = "qa"


class WideSearchData(Selection):
    """WideSearch in its official layout."""

    kind: Literal["widesearch"] = "widesearch"
    path: Path | None = None
    """The folder or the .jsonl file; downloaded from the hub if null."""
    gold: Path | None = None
    """The folder of `{instance_id}.csv`; `widesearch_gold` beside the tasks if null."""
    revision: str = REVISION
    """Commit of the hub's repository, for a download."""
    sha256: str = ""
    """Digest of task file and gold tables together; if empty, only a download of the pinned
    revision is checked."""
    expect: int | None = Field(default=200, ge=0)
    """How many tasks there must be; not checked if null."""
    skip_malformed: bool = False
    """Leave malformed tasks out, with a warning, instead of stopping at the first."""
    normalize_columns: bool = True
    """Match column names in lower case and without spaces; false matches them as written."""


DATASETS = "wideseek.datasets"
"""Entry-point group of data sets from other distributions: each a `Plugin`, whose configuration is
a `Selection` and whose `open` gives the tasks that one asks for."""

if TYPE_CHECKING:
    DataConfig = Selection
else:
    DataConfig = kind_union(DATASETS, JsonlData, QaData, WideSearchData)
"""Any of the known data sets, distinguished by `kind`."""
