"""Files for training on real tables: the world of wikitables and the atlas, tasks, listings.

The leak rule: what is trained on (`TRAIN`, `PARTS`, `ATLAS_TRAIN`, `INVENTED_TRAIN`, `LISTINGS`) is
made of tables whose split is `train`, of the atlas's training questions, and of invented listings
in other layouts than those that are measured on; pages of all tables are in the world. A table that
is in both splits, under whatever name, is refused.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field, JsonValue

from wideseek_core import Config, ConfigError, TableGold, Task
from wideseek_core.files import file_atomically
from wideseek_data.atlas.store import materialize
from wideseek_data.datasets import AtlasData, load_atlas
from wideseek_data.stored_pages import StoredPage
from wideseek_data.tables.values import normalized
from wideseek_data.teaching.invented_listings import invent_worlds
from wideseek_data.teaching.leaks import check_no_leak
from wideseek_data.teaching.listing import Listing, narrower
from wideseek_data.teaching.wikitables import SPLITS, read_pages, read_wikitables
from wideseek_tools.passages import first_words

PAGES, CORPUS = "pages.jsonl", "corpus.jsonl"
TRAIN, EVALUATION = "wikitables_train.jsonl", "wikitables_evaluation.jsonl"
ATLAS_TRAIN, ATLAS_TEST = "atlas_train.jsonl", "atlas_test.jsonl"
INVENTED_TRAIN, INVENTED_TEST = "invented_train.jsonl", "invented_test.jsonl"
LISTINGS = "listings_train.jsonl"
PARTS = "wikitables_parts.jsonl"
"""More questions about the tables of `TRAIN`, for some of their columns."""
PASSAGE_WORDS = 100
"""Words of the page of a table that make its passage."""

Json = Mapping[str, JsonValue]


class LearningDataConfig(Config):
    """Where the wikitables data is, and where the files go.

    Tasks and listings to train on are made of the tables whose split is `train`. A table that is in
    the split `evaluation` as well, under whatever name, is refused.
    """

    source: Path = Path("wikitables")
    """Folder with `pages.jsonl`, `wide_dev.jsonl` and `splits.jsonl`."""
    folder: Path = Path("runs/wikitables-data")
    """Where the files are written."""
    atlas_rows: int = Field(default=12, ge=2)
    """Most rows of the atlas's questions."""
    parts: int = Field(default=2, ge=0)
    """Further questions about each table to train on, for some of its columns in another order."""
    invented: int = Field(default=400, ge=1)
    """Questions to train on about invented listings, in many layouts of pages; up to four other
    listings come with each, as pages that do not answer the question."""
    invented_test: int = Field(default=60, ge=1)
    """Questions to measure on about such listings, in layouts that are nowhere else."""


def check_learning_data(config: LearningDataConfig) -> None:
    """Raises `ConfigError` if the source is not there."""
    if not (config.source / SPLITS).is_file():
        raise ConfigError(f"source: no {SPLITS} in {config.source}")


def write_learning_data(config: LearningDataConfig) -> dict[str, int]:
    """Writes all files; returns how many lines each has. Raises `DataError`."""
    folder = config.folder
    listings = read_wikitables(config.source, "train")
    held_out = read_wikitables(config.source, "evaluation")
    taken = {normalized(listing.title) for listing in (*listings, *held_out)}
    test = invent_worlds(config.invented_test, "test", taken)
    train = invent_worlds(config.invented, "train", taken)
    check_no_leak([*listings, *_all(train)], [*held_out, *_all(test)])
    files: dict[str, Iterable[Json]] = {
        TRAIN: [task_json(listing.task) for listing in listings],
        PARTS: [task_json(part.task) for one in listings for part in narrower(one, config.parts)],
        EVALUATION: [task_json(listing.task) for listing in held_out],
        ATLAS_TRAIN: [task_json(task) for task in atlas_tasks("train", config.atlas_rows)],
        ATLAS_TEST: [task_json(task) for task in atlas_tasks("test", config.atlas_rows)],
        INVENTED_TRAIN: [task_json(world[0].task) for world in train],
        INVENTED_TEST: [task_json(world[0].task) for world in test],
        LISTINGS: [listing.model_dump(mode="json") for listing in listings],
        **_world(folder, [*read_pages(config.source).values(), *_pages([*train, *test])]),
    }
    return {name: _write(folder / name, lines) for name, lines in files.items()}


def atlas_tasks(split: Literal["train", "test"], rows: int) -> list[Task]:
    """Questions of the atlas for all members of a listed group."""
    data = AtlasData(split=split, shapes=("group",), min_rows=2, max_rows=rows)
    return [task.model_copy(update={"source": "atlas"}) for task in load_atlas(data)]


def task_json(task: Task) -> dict[str, JsonValue]:
    """A table task as a line of a task file."""
    gold = task.gold
    assert isinstance(gold, TableGold)
    rules: dict[str, JsonValue] = {
        column: {"metric": list(rule.metric), "criterion": rule.criterion}
        for column, rule in gold.rules.items()
    }
    return {
        "id": task.id,
        "question": task.question,
        "answer": f"```markdown\n{gold.text}\n```",
        "is_markdown": True,
        "language": task.language,
        "evaluation": {
            "required": list(gold.required_columns),
            "unique_columns": list(gold.key_columns),
            "eval_pipeline": rules,
        },
        "source": task.source,
    }


def _all(worlds: Iterable[Sequence[Listing]]) -> list[Listing]:
    return [listing for world in worlds for listing in world]


def _pages(worlds: Iterable[Sequence[Listing]]) -> Iterator[StoredPage]:
    """The pages of all listings, those that nobody asks about as well."""
    for listing in _all(worlds):
        yield from listing.pages


def _world(folder: Path, listed: Iterable[StoredPage]) -> dict[str, list[Json]]:
    """Pages and passages of all tables and of the atlas."""
    files = materialize(folder / "atlas")
    pages: list[Json] = list(_read(files.pages))
    corpus: list[Json] = list(_read(files.corpus))
    for number, page in enumerate(listed):
        entry: dict[str, JsonValue] = {"url": page.url, "title": page.title}
        pages.append({**entry, "contents": page.contents})
        text = first_words(page.contents, PASSAGE_WORDS)
        corpus.append({"id": f"w{number}", **entry, "contents": f'"{page.title}"\n{text}'})
    return {PAGES: pages, CORPUS: corpus}


def _read(path: Path) -> Sequence[Json]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def _write(path: Path, lines: Iterable[Json]) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    count = 0
    with file_atomically(path) as file:
        for line in lines:
            file.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")
            count += 1
    return count
