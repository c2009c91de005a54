import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from wideseek_core import ColumnRule, DataError
from wideseek_core.files import (
    BLOCK,
    append_line,
    append_text,
    drop_torn_line,
    folder_atomically,
    locked,
    read_objects,
    read_records,
    sha256,
    write_atomically,
)


@contextmanager
def files_of_at_most(size: int) -> Generator[None]:
    """What a full disk does: writes beyond `size` bytes fail."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_file_is_written_with_its_folders_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "c.txt"
    write_atomically(path, "é")
    assert path.read_bytes() == "é".encode()
    write_atomically(path, b"\x00")
    assert path.read_bytes() == b"\x00"
    assert os.listdir(path.parent) == ["c.txt"]


def test_a_written_file_has_the_mode_of_any_other(tmp_path: Path) -> None:
    write_atomically(tmp_path / "whole", "x")
    (tmp_path / "plain").write_text("x")
    assert (tmp_path / "whole").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    write_atomically(path, "old")
    with pytest.raises(OSError, match="too large") as caught, files_of_at_most(1000):
        write_atomically(path, "new" * 1000)
    assert caught.value.filename == str(path)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["x.txt"]


def test_a_folder_appears_when_its_block_ends(tmp_path: Path) -> None:
    with folder_atomically(tmp_path / "deep" / "made") as work:
        (work / "x").write_text("1")
        assert not (tmp_path / "deep" / "made").exists()
    assert (tmp_path / "deep" / "made" / "x").read_text() == "1"
    assert os.listdir(tmp_path / "deep") == ["made"]


def test_a_folder_replaces_the_one_before(tmp_path: Path) -> None:
    target = tmp_path / "made"
    target.mkdir()
    (target / "old").touch()
    with folder_atomically(target) as work:
        (work / "new").touch()
    assert os.listdir(target) == ["new"]
    assert os.listdir(tmp_path) == ["made"]


def test_a_folder_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    target = tmp_path / "made"
    target.mkdir()
    (target / "old").touch()
    with pytest.raises(FileExistsError), folder_atomically(target) as work:
        os.symlink(work, work)
    assert os.listdir(target) == ["old"]
    assert os.listdir(tmp_path) == ["made"]


def test_lines_are_appended_as_json(tmp_path: Path) -> None:
    path = tmp_path / "new" / "rules.jsonl"
    append_line(path, ColumnRule(metric=("a\nb",)))
    append_line(path, ColumnRule(criterion=0.5))
    append_text(path, '{"metric": ["ü"]}')
    assert [rule.metric for rule in read_records(path, ColumnRule)] == [
        ("a\nb",),
        ("exact_match",),
        ("ü",),
    ]


def test_an_append_that_fails_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    with pytest.raises(OSError, match="too large") as caught, files_of_at_most(10):
        append_text(path, "a line that is too long")
    assert caught.value.filename == str(path)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", ""),
        ("whole\n", "whole\n"),
        ("one\ntwo\nto", "one\ntwo\n"),
        ("torn", ""),
        ("a\n" + "x" * (2 * BLOCK + 7), "a\n"),
        ("a" * BLOCK + "\n" + "x" * BLOCK, "a" * BLOCK + "\n"),
    ],
)
def test_a_torn_last_line_is_cut_off(tmp_path: Path, before: str, after: str) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text(before)
    drop_torn_line(path)
    assert path.read_text() == after


def test_a_missing_file_has_no_torn_line(tmp_path: Path) -> None:
    drop_torn_line(tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_objects_come_with_their_line_numbers(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('\ufeff{"a": 1}\n\n  {"b": [2]}  \n', "utf-8")
    assert list(read_objects(path)) == [(1, {"a": 1}), (3, {"b": [2]})]


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (b'{"a": 1', "not JSON"),
        (b"[1]", "expected a JSON object"),
        (b"\xff", "not UTF-8"),
        (b"[" * 100_000, "not JSON"),
    ],
)
def test_a_bad_line_is_named_by_file_and_number(
    tmp_path: Path, line: bytes, complaint: str
) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(b'{"a": 1}\n' + line + b"\n")
    with pytest.raises(DataError) as caught:
        list(read_objects(path))
    assert str(caught.value).startswith(f"{path}:2: {complaint}")


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ({"metric": 3}, "metric: Input should be a valid"),
        ({"metrics": ["a"]}, "metrics: Extra inputs are not permitted"),
    ],
)
def test_a_bad_record_is_named_by_file_line_and_key(
    tmp_path: Path, line: object, complaint: str
) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text(f"{{}}\n{json.dumps(line)}\n")
    with pytest.raises(DataError) as caught:
        list(read_records(path, ColumnRule))
    assert str(caught.value).startswith(f"{path}:2: {complaint}")


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        list(read_objects(tmp_path / "none"))
    with pytest.raises(DataError, match="is a folder"):
        list(read_objects(tmp_path))


def test_sha256_is_that_of_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc")
    assert sha256(tmp_path / "x").startswith("ba7816bf8f01cfea")


HOLD = """
import sys, time
from pathlib import Path
from wideseek_core.files import append_text, locked
with locked(Path(sys.argv[1])):
    append_text(Path(sys.argv[2]), "in")
    time.sleep(0.05)
    append_text(Path(sys.argv[2]), "out")
"""


def test_a_lock_lets_one_process_in_at_a_time(tmp_path: Path) -> None:
    lock, marks = tmp_path / "lock", tmp_path / "marks"
    with locked(lock):
        command = [sys.executable, "-c", HOLD, str(lock), str(marks)]
        others = [subprocess.Popen(command) for _ in range(2)]
        time.sleep(0.2)
        assert not marks.exists()
    assert [other.wait() for other in others] == [0, 0]
    assert marks.read_text().split() == ["in", "out", "in", "out"]


def test_a_lock_dies_with_its_process(tmp_path: Path) -> None:
    child = os.fork()
    if child == 0:
        with locked(tmp_path / "lock"):
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    with locked(tmp_path / "lock"):
        pass


def test_text_that_utf8_cannot_hold_is_written_as_the_replacement_character(tmp_path: Path) -> None:
    write_atomically(tmp_path / "a.txt", "cut \ud83d")
    append_text(tmp_path / "a.txt", "\ud83d\ude00")
    assert (tmp_path / "a.txt").read_text("utf-8") == "cut \ufffd\U0001f600\n"


def test_a_symbolic_link_stays_and_its_file_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "real.json").write_text("old")
    (tmp_path / "link.json").symlink_to("real.json")
    (tmp_path / "new.json").symlink_to(tmp_path / "below" / "made.json")
    write_atomically(tmp_path / "link.json", "new")
    write_atomically(tmp_path / "new.json", "made")
    assert (tmp_path / "link.json").is_symlink()
    assert (tmp_path / "real.json").read_text() == "new"
    assert (tmp_path / "below" / "made.json").read_text() == "made"


def test_a_pipe_is_written_to_and_stays_a_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen(["cat", str(pipe)], stdout=subprocess.PIPE, text=True) as reader:
        write_atomically(pipe, "through")
        assert reader.communicate(timeout=120)[0] == "through"
    assert pipe.is_fifo()


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
def test_standard_output_is_written_to_where_it_is(tmp_path: Path, name: str) -> None:
    script = (
        "import sys; from pathlib import Path; from wideseek_core.files import write_atomically\n"
        "print('table', flush=True); write_atomically(Path(sys.argv[1]), '{}\\n')"
    )
    command = [sys.executable, "-c", script, name]
    piped = subprocess.run(command, capture_output=True, text=True, check=True)
    assert piped.stdout == "table\n{}\n"
    with (tmp_path / "out").open("w") as file:
        subprocess.run(command, stdout=file, check=True)
    assert (tmp_path / "out").read_text() == "table\n{}\n"


def test_a_device_is_written_to(tmp_path: Path) -> None:
    write_atomically(Path("/dev/null"), "gone")
    assert Path("/dev/null").is_char_device()
    with pytest.raises(OSError, match="No space left"):
        write_atomically(Path("/dev/full"), "kept")


def test_a_folder_in_the_place_of_a_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError) as raised:
        write_atomically(tmp_path, "x")
    assert raised.value.filename == str(tmp_path)
    assert list(tmp_path.parent.glob(f".{tmp_path.name}.*")) == []


def test_a_link_to_itself_is_replaced_by_the_file(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    write_atomically(tmp_path / "loop", "x")
    assert (tmp_path / "loop").read_text() == "x"
