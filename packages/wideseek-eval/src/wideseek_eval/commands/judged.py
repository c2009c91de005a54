"""Settings that the commands share which judge answers."""

from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, cast

from pydantic import Field, JsonValue, field_validator

from wideseek_core import Config, Judge
from wideseek_core.files import sha256
from wideseek_eval.judges import open_judge
from wideseek_eval.runs.scoring import ResponseFiles

# The settings belong to another package, which reads each value as its own fields want it. Until
# then a plain scalar stays the text that was written: a model named 007 keeps its zeros.
_Inner = str | list[str] | None | Any
_Value = str | list[str] | dict[str, _Inner] | None | Any


class JudgedConfig(Config):
    """How answers are judged."""

    mode: str = "official"
    """How tables are scored: with `wideseek-judge`, `official`, `strict` or `reward`."""
    judge: dict[str, _Value] = Field(default_factory=dict[str, Any])
    """The judge: `judge.kind` decides on cells (with `wideseek-judge`: `normalized`, the default,
    `exact` or `llm`), the other keys are its settings, such as `judge.endpoint.base_url` and
    `judge.endpoint.model`."""
    max_concurrent: int = Field(default=8, ge=1)
    """Answers judged at a time."""

    @field_validator("judge")
    @classmethod
    def _check_judge(cls, value: dict[str, Any]) -> dict[str, Any]:
        if "mode" in value:
            raise ValueError("unknown key 'judge.mode'; did you mean 'mode'?")
        if not isinstance(value.get("kind", ""), str):
            raise ValueError("'judge.kind' must be the name of a judge")
        return value

    def open_judge(self) -> AbstractAsyncContextManager[Judge]:
        """The judge. Raises `ConfigError`."""
        settings = self._judge()
        kind = cast(str, settings.pop("kind"))
        return open_judge(self.mode, kind, settings)

    def settings(self) -> dict[str, JsonValue]:
        """What shapes scores, as it was asked for."""
        return {"mode": self.mode, "judge": self._judge()}

    def _judge(self) -> dict[str, JsonValue]:
        return {"kind": "normalized", **cast(dict[str, JsonValue], self.judge)}


class _FilesConfig(Config):
    """Response files of the official format."""

    tasks: Path
    """The questions, as JSON lines."""
    responses: Path
    """The responses: a `.jsonl` file, or a folder of such files."""
    gold: Path | None = None
    """Folder of gold CSV tables; null if the tasks hold their answers."""
    expect: int | None = None
    """How many tasks there must be; null for any number."""


class ResponsesConfig(JudgedConfig, _FilesConfig):  # fields of the last base come first in the help
    """Response files of the official format, and how they are judged."""

    def files(self) -> ResponseFiles:
        """Where everything is."""
        return ResponseFiles(
            tasks=self.tasks,
            gold=self.gold,
            responses=self.responses,
            expect=self.expect,
            missing_as_empty=self.mode == "official",
        )

    def digest(self) -> str:
        """Tells the responses from others."""
        path = self.responses
        files = sorted(path.glob("*.jsonl")) if path.is_dir() else [path]
        return " ".join(sha256(file) for file in files if file.is_file())
