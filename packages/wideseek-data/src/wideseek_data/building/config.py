"""What a data set is built from, and how."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from wideseek_core import Config
from wideseek_core.tasks import Language
from wideseek_data.checks.contamination import DecontaminationConfig, TestSetConfig
from wideseek_data.rewriting.model import RewritingConfig
from wideseek_data.sources.config import SourceConfig


class SecondAnswerConfig(Config):
    """Independent answers that are compared with the gold."""

    by: Literal["nobody", "teacher", "model"] = "nobody"
    """`teacher`: the scripted agents search and read; `model`: agents of a language model do."""
    share: float = Field(default=0.05, ge=0, le=1)
    """Share of the tasks that are answered a second time, picked by a hash of their ids."""
    threshold: float = Field(default=0.9, ge=0, le=1)
    """Tasks whose second answer scores less are dropped."""


class ChecksConfig(Config):
    """What is checked of each task."""

    reachable: bool = True
    """Each cell that the answer depends on stands on a page that search finds."""
    results: int = Field(default=5, ge=1)
    """Search results among which a page counts as found."""
    undated: Literal["repair", "drop", "keep"] = "repair"
    """What becomes of questions about facts that change with time where nothing says when."""
    similarity: float = Field(default=0.9, gt=0, le=1)
    """Share of common word sequences from which two questions are nearly the same."""
    second: SecondAnswerConfig = SecondAnswerConfig()
    test_sets: tuple[TestSetConfig, ...] = ()
    """Questions that the tasks must not repeat."""
    decontaminate: DecontaminationConfig = DecontaminationConfig()
    """What a task may share with the test sets."""

    @model_validator(mode="after")
    def _has_names(self) -> Self:
        names = [item.name for item in self.test_sets]
        if len(set(names)) < len(names):
            raise ValueError("test_sets: two have the same name")
        return self


class BuildConfig(Config):
    """Builds training tasks from tables and pages."""

    folder: Path = Path("runs/data")
    """The run's folder. A run that was stopped resumes there."""
    sources: tuple[SourceConfig, ...] = Field(min_length=1)
    """Where tables and pages come from."""
    languages: dict[Language, float] = Field(default_factory=lambda: {"en": 1.0}, min_length=1)
    """Shares of the languages of the questions; phrases exist for `en` and `zh`."""
    wide_per_table: int = Field(default=14, ge=0)
    """Wide tasks that are tried on each table."""
    short_per_table: int = Field(default=30, ge=0)
    """Short questions that are tried on each table."""
    rewriting: RewritingConfig | None = None
    """Rewriting by a language model; null for the built-in phrases alone."""
    checks: ChecksConfig = ChecksConfig()
    splits: dict[str, float] = Field(
        default_factory=lambda: {"train": 0.9, "dev": 0.05, "test": 0.05}, min_length=1
    )
    """Shares of the splits. A hash of its entities decides where a task belongs, so that a larger
    source moves no task."""
    scores: Path | None = None
    """JSON lines with `id` and `score`: how well a policy answered tasks, for the dataset card."""
    seed: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _has_shares(self) -> Self:
        for name, shares in (("splits", self.splits), ("languages", self.languages)):
            if any(share < 0 for share in shares.values()) or not sum(shares.values()):
                raise ValueError(f"{name}: shares must be positive")
        return self
