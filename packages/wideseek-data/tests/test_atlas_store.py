import json
import lzma
from pathlib import Path

import pytest

from wideseek_core import CorruptFile, TableGold
from wideseek_data.atlas import fingerprint, load_tasks, load_wide, manifest, materialize
from wideseek_data.atlas.store import read_content


def test_the_same_seed_gives_the_same_tasks() -> None:
    assert load_tasks("dev", seed=3) == load_tasks("dev", seed=3)
    assert load_tasks("dev", seed=3) != load_tasks("dev", seed=4)


def test_a_limit_takes_the_first_of_a_balanced_order() -> None:
    some = load_tasks("train", limit=20)
    assert some == load_tasks("train")[:20]
    assert sorted({task.source.partition("/")[0] for task in some[:10]}) == sorted(
        {task.source.partition("/")[0] for task in load_tasks("train")}
    )


def test_limits_on_tables_hold() -> None:
    tasks = load_tasks("test", min_rows=3, max_rows=5, max_columns=1, shapes=("range", "top"))
    assert tasks
    for task in tasks:
        assert 3 <= task.rows <= 5
        assert task.source.endswith(("/range", "/top"))
        assert isinstance(task.gold, TableGold)
        assert len(task.gold.required_columns) == 2


def test_plans_belong_to_the_same_tasks() -> None:
    plans = load_wide("dev", limit=7, seed=5, max_rows=6)
    assert [plan.task for plan in plans] == load_tasks("dev", limit=7, seed=5, max_rows=6)


def test_materialized_files_hold_leads_and_whole_pages(tmp_path: Path) -> None:
    made = materialize(tmp_path)
    passages = [json.loads(line) for line in made.corpus.read_text(encoding="utf-8").splitlines()]
    whole = [json.loads(line) for line in made.pages.read_text(encoding="utf-8").splitlines()]
    assert [passage["url"] for passage in passages] == [page["url"] for page in whole]
    assert [passage["id"] for passage in passages[:3]] == ["0", "1", "2"]
    albania = next(page for page in whole if page["title"] == "Albania")
    assert albania["url"] == "atlas:Albania"
    assert "Tirana" in albania["contents"]
    passage = next(passage for passage in passages if passage["title"] == "Albania")
    assert passage["contents"] == (
        '"Albania"\nAlbania (ISO code ALB) is a country or territory in Southern Europe. '
        "This page names its capital."
    )


def test_materializing_again_repairs_and_otherwise_writes_nothing(tmp_path: Path) -> None:
    made = materialize(tmp_path)
    before = made.corpus.stat().st_mtime_ns
    content = made.pages.read_bytes()
    made.pages.write_bytes(content[:1000])
    again = materialize(tmp_path)
    assert again.pages.read_bytes() == content
    assert again.corpus.stat().st_mtime_ns == before


def test_the_fingerprint_is_a_digest() -> None:
    assert len(fingerprint()) == 64
    assert set(manifest().files) == {"pages", "domains", "wide", "qa"}


def test_a_truncated_data_file_is_corrupt(tmp_path: Path) -> None:
    path = tmp_path / "wide.jsonl.xz"
    path.write_bytes(lzma.compress(b"{}\n" * 100)[:-9])
    with pytest.raises(CorruptFile, match=r"wide\.jsonl\.xz"):
        read_content(path, "0" * 64)


def test_data_of_another_world_is_corrupt(tmp_path: Path) -> None:
    path = tmp_path / "wide.jsonl.xz"
    path.write_bytes(lzma.compress(b"{}\n"))
    with pytest.raises(CorruptFile, match="does not match"):
        read_content(path, "0" * 64)


def test_a_missing_data_file_is_corrupt(tmp_path: Path) -> None:
    with pytest.raises(CorruptFile, match=r"pages\.jsonl\.xz"):
        read_content(tmp_path / "pages.jsonl.xz", "0" * 64)
