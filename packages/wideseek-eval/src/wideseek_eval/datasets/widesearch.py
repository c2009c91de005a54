"""The official layout of WideSearch: one JSON-lines file and a folder of gold CSV tables."""

import hashlib
from collections import Counter
from functools import partial
from pathlib import Path

from wideseek_core import ConfigError, DataError, Task
from wideseek_eval.datasets.json_objects import (
    JsonObject,
    TaskFile,
    collect,
    id_of,
    language_of,
    read_json_objects,
    text_of,
)
from wideseek_eval.datasets.reference_tables import ReferenceReader

REPOSITORY = "ByteDance-Seed/WideSearch"
GOLD = "widesearch_gold"
REVISION = "6531a7e5b497d44c8912407e0cb3dc95bd98cc09"
"""The state of the hub's repository in which all 200 gold tables hold their required columns."""
SHA256 = "72e49ba83511714221f82e9efe8e3cdd86ce03a6d588e64485b51b08f7fe21ee"
"""`digest` of that state."""


def load_widesearch(
    tasks: Path, gold: Path, *, normalize_columns: bool = True, skip_malformed: bool = False
) -> TaskFile:
    """The tasks of `tasks` with their tables from `gold/{instance_id}.csv`."""
    if not gold.is_dir():
        raise DataError(f"no such folder of gold tables: {gold}")
    keys = Counter[str]()
    reader = ReferenceReader(normalize_columns=normalize_columns, chosen_keys=keys)
    read = partial(_read_task, gold, reader)
    file = collect(read_json_objects(tasks), read, skip_malformed=skip_malformed)
    file.chosen_keys = keys
    return file


def _read_task(folder: Path, reader: ReferenceReader, index: int, values: JsonObject) -> Task:
    question = text_of(values, "query", "question")
    name = id_of(values, "")
    if not name:
        raise DataError("missing 'instance_id'")
    if Path(name).name != name:
        raise DataError(f"'instance_id' {name!r} can't be part of a file name")
    path = folder / f"{name}.csv"
    try:
        # Some of the tables begin with a byte order mark.
        text = path.read_text("utf-8-sig")
    except FileNotFoundError:
        raise DataError(f"no gold table {path}") from None
    except UnicodeDecodeError:
        raise DataError(f"gold table {path} is not UTF-8") from None
    try:
        gold, rows = reader.read(values, text, "csv")
    except DataError as error:
        raise DataError(f"{error} (gold table {path})") from None
    return Task(
        id=name,
        question=question,
        language=language_of(values, question),
        gold=gold,
        source="widesearch",
        rows=rows,
    )


def locate(path: Path | None, gold: Path | None, revision: str) -> tuple[Path, Path]:
    """The task file and the gold folder: of a local folder or file, or downloaded from the hub."""
    root = path if path is not None else _download(revision)
    if root.is_dir():
        found = sorted(root.glob("*.jsonl"))
        if len(found) != 1:
            raise DataError(f"{root}: expected one .jsonl file, found {len(found)}")
        return found[0], gold or root / GOLD
    return root, gold or root.parent / GOLD


def digest(tasks: Path, gold: Path) -> str:
    """One sha256 over the task file and its gold tables.

    Each file in turn, tasks first, then tables by name: relative path, NUL, bytes, NUL.
    """
    sha = hashlib.sha256()
    names = [(tasks.name, tasks)]
    names += [(f"{gold.name}/{path.name}", path) for path in sorted(gold.glob("*.csv"))]
    for name, path in names:
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            raise DataError(f"no such file: {path}") from None
        sha.update(name.encode() + b"\0" + content + b"\0")
    return sha.hexdigest()


def _download(revision: str) -> Path:
    try:
        from huggingface_hub import (
            snapshot_download,  # pyright: ignore[reportUnknownVariableType]
        )
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
    except ImportError:
        message = "data.path: give the folder of WideSearch, or pip install 'wideseek-eval[hub]'"
        raise ConfigError(message) from None
    try:
        folder = snapshot_download(
            REPOSITORY,
            repo_type="dataset",
            revision=revision,
            allow_patterns=["*.jsonl", f"{GOLD}/*.csv"],
        )
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"can't download {REPOSITORY} at {revision}: {reason}") from None
    return Path(folder)
