"""`wideseek-eval export`: a run's responses, its traces or its results in formats of others."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from wideseek_core import Config, ConfigError
from wideseek_core.config import load_config
from wideseek_core.counting import counted
from wideseek_core.progress import show
from wideseek_core.tracing import write_inspect_log, write_otlp
from wideseek_eval.runs.find import find_run
from wideseek_eval.runs.responses import export_responses
from wideseek_eval.runs.result_tables import write_csv, write_parquet
from wideseek_eval.runs.traced import read_traced

USAGE = "wideseek-eval export RUN TARGET [KEY=VALUE ...]"

Format = Literal["responses", "csv", "parquet", "inspect", "otlp"]
_BY_SUFFIX: dict[str, Format] = {".csv": "csv", ".parquet": "parquet", ".eval": "inspect"}
_OTHERS = (".xlsx", ".xls", ".ods", ".html", ".htm", ".md", ".txt", ".tsv", ".pdf", ".yaml", ".db")
"""Endings that nobody gives to response files."""


class ExportConfig(Config):
    """Writes a run's responses in the official format, its results as a table, or its traces."""

    run: str
    """A run's folder, FOLDER:GRADING for a regrading, or a training run's folder."""
    target: Path
    """Where to write: a file, or for responses also a folder of one file each."""
    format: Format | None = None
    """`responses` of the official format, `csv` or `parquet` with a row for each rollout (Parquet
    needs the extra `parquet`), an `inspect` log that `inspect view` opens, or `otlp`: OpenTelemetry
    spans with the attributes of GenAI and OpenInference, one trace a line. null goes by the
    target's ending: .csv, .parquet, .eval (inspect), and responses for JSON files and folders."""
    content: bool = True
    """Whether OTLP traces hold the text of prompts, answers and pages."""
    model: str = "wideseek"
    """The name that the names of response files in a folder begin with."""


def run(arguments: Sequence[str]) -> None:
    """Runs the command."""
    config = load_config(ExportConfig, arguments, positional=("run", "target"), usage=USAGE)
    count, noun = _export(config, config.format or _format_of(config.target))
    show(f"{counted(count, noun)}: {config.target}")


def _format_of(target: Path) -> Format:
    """What a target's ending means. Raises `ConfigError` for that of another program's files."""
    ending = target.suffix.lower()
    if ending in _BY_SUFFIX:
        return _BY_SUFFIX[ending]
    if ending in _OTHERS:
        raise ConfigError(f"{target}: {ending} can't be written; use .csv, .parquet, or set format")
    return "responses"


def _export(config: ExportConfig, form: Format | None) -> tuple[int, str]:
    """Writes it; how many of what were written."""
    target = config.target
    match form:
        case "csv":
            return write_csv(config.run, target), "result"
        case "parquet":
            return write_parquet(config.run, target), "result"
        case "inspect":
            rollouts = list(read_traced(config.run))
            write_inspect_log(target, rollouts, task=Path(config.run).name)
            return len(rollouts), "rollout"
        case "otlp":
            rollouts = list(read_traced(config.run))
            write_otlp(target, rollouts, content=config.content)
            return len(rollouts), "rollout"
        case _:
            run_folder = find_run(config.run).path
            return export_responses(run_folder, target, model=config.model), "response"
