import sqlite3
from pathlib import Path

import pytest

from wideseek_core import CorruptFile
from wideseek_judge.llm.cache import VerdictCache, cache_key


def test_verdicts_outlive_the_process(tmp_path: Path) -> None:
    first = VerdictCache(tmp_path)
    first.put({f"k{i}": str(i % 2) for i in range(1200)})
    first.close()
    second = VerdictCache(tmp_path)
    assert second.get([f"k{i}" for i in range(1300)]) == {f"k{i}": str(i % 2) for i in range(1200)}
    second.close()


def test_keys_depend_on_every_part_and_its_place() -> None:
    keys = {cache_key("a", "b"), cache_key("b", "a"), cache_key("ab"), cache_key("a", "b", "")}
    assert len(keys) == 4
    assert cache_key("\ud800") != cache_key("\ud801")


def test_a_file_of_another_kind_is_named(tmp_path: Path) -> None:
    (tmp_path / "verdicts.sqlite").write_bytes(b"no database at all, " * 100)
    with pytest.raises(CorruptFile, match=r"verdicts\.sqlite: not a verdict cache"):
        VerdictCache(tmp_path)


def test_a_cache_that_cannot_be_written_is_done_without(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache = VerdictCache(tmp_path)
    cache.put({"a": "1"})
    other = sqlite3.connect(tmp_path / "verdicts.sqlite")
    other.execute("DROP TABLE verdicts")
    other.close()
    cache.put({"b": "1"})
    cache.put({"c": "1"})
    assert len(caplog.records) == 1
    cache.close()
