"""Files and folders written atomically, append-only JSON lines, and lock files."""

import errno
import fcntl
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TypeVar

from pydantic import BaseModel

from wideseek_core.errors import DataError
from wideseek_core.json_text import parse_json, parse_record, to_json
from wideseek_core.text import clean

R = TypeVar("R", bound=BaseModel)

BLOCK = 1 << 16
"""Bytes read at a time when a file is read backwards."""


def write_atomically(path: Path, content: str | bytes) -> None:
    """Writes a whole file or nothing; text that UTF-8 can't hold becomes U+FFFD.

    A symbolic link keeps pointing to its file, which is replaced. What can't be replaced (a pipe,
    a device, `/dev/stdout`) is written to.
    """
    data = clean(content).encode() if isinstance(content, str) else content
    stream = _open_stream(path)
    if stream is not None:
        with stream:
            stream.write(data)
        return
    with file_atomically(path) as file:
        file.write(data)


def _open_stream(path: Path) -> IO[bytes] | None:
    """`path` opened for writing if it is a descriptor, a pipe or a device; None for files."""
    descriptor = _DESCRIPTOR.fullmatch(str(path))
    if descriptor is not None:
        number = descriptor["number"]
        # The process's own descriptor: opening the path again would truncate a redirected file.
        return os.fdopen(os.dup(int(number or _STANDARD[path.name])), "wb")
    if path.exists() and not path.is_file() and not path.is_dir():
        return path.open("wb")
    return None


_DESCRIPTOR = re.compile(r"/dev/(?:stdout|stderr)|/(?:dev|proc/self)/fd/(?P<number>\d+)")
_STANDARD = {"stdout": 1, "stderr": 2}


@contextmanager
def file_atomically(path: Path) -> Generator[IO[bytes]]:
    """A file to write that becomes `path` (replacing it) if the block succeeds: fsync, rename.

    The file that a symbolic link points to is replaced, not the link.
    """
    path = Path(os.path.realpath(path)) if path.is_symlink() else path
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with _naming(path), os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, 0o666 & ~_umask())
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
        sync_folder(path.parent)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def sync_folder(path: Path) -> None:
    """Flushes a folder's entries to disk, so that a rename in it survives a loss of power."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_files(folder: Path) -> None:
    """Flushes all files and folders below `folder` to disk."""
    for parent, _, names in os.walk(folder):
        for name in names:
            with (Path(parent) / name).open("rb") as file:
                os.fsync(file.fileno())
        sync_folder(Path(parent))


@contextmanager
def _naming(path: Path) -> Generator[None]:
    """Adds the file's name to errors of writing: a full disk's has none."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


def _umask() -> int:
    """The process's umask, which can only be read by setting it."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


@contextmanager
def folder_atomically(path: Path) -> Generator[Path]:
    """A temporary sibling folder that becomes `path` (replacing it) if the block succeeds.

    All its files are flushed to disk before the rename.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    work.chmod(0o777 & ~_umask())
    try:
        yield work
        _sync_files(work)
        if path.exists():
            old = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.old."))
            os.rename(path, old / "old")
            os.rename(work, path)
            shutil.rmtree(old, ignore_errors=True)
        else:
            os.rename(work, path)
        sync_folder(path.parent)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise


@contextmanager
def locked(path: Path) -> Generator[None]:
    """Holds an exclusive lock file; waits for other processes. Freed even by kill -9."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def append_line(path: Path, record: BaseModel) -> None:
    """Appends one record as a JSON line, in one write, flushed to disk."""
    append_text(path, to_json(record))


def append_text(path: Path, line: str) -> None:
    """Appends one line, in one write, flushed to disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        with _naming(path):
            data = memoryview((clean(line) + "\n").encode())
            while data:
                data = data[os.write(descriptor, data) :]
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def drop_torn_line(path: Path) -> None:
    """Cuts off a last line without newline, which a killed writer left behind."""
    if not path.exists():
        return
    with path.open("rb+") as file:
        end = file.seek(0, os.SEEK_END)
        start = end
        # From the end, block by block: the file may be large, the torn line is not.
        while start > 0:
            size = min(BLOCK, start)
            start = file.seek(start - size)
            newline = file.read(size).rfind(b"\n")
            if newline >= 0:
                start += newline + 1
                break
        if start < end:
            file.truncate(start)


def read_records(path: Path, cls: type[R], *, growing: bool = False) -> Iterator[R]:
    """The records of a JSON-lines file. Raises `DataError` with file:line.

    Of a `growing` file, whose writer may be at work or may have been killed, a last line without
    its newline is not read.
    """
    for number, line in _lines(path, growing=growing):
        try:
            yield parse_record(line, cls)
        except DataError as error:
            raise DataError(f"{path}:{number}: {error}") from None


def read_objects(path: Path, *, growing: bool = False) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line number and object of each line of a JSON-lines file. Raises `DataError`.

    Of a `growing` file a last line without its newline is not read, as by `read_records`.
    """
    for number, line in _lines(path, growing=growing):
        try:
            value = parse_json(line)
        except DataError as error:
            raise DataError(f"{path}:{number}: {error}") from None
        if not isinstance(value, dict):
            raise DataError(f"{path}:{number}: expected a JSON object")
        yield number, value


def _lines(path: Path, *, growing: bool = False) -> Iterator[tuple[int, str]]:
    """Number and text of the non-blank lines, streamed."""
    try:
        with path.open("rb") as file:
            for number, raw in enumerate(file, 1):
                if growing and not raw.endswith(b"\n"):
                    return
                try:
                    line = raw.decode("utf-8-sig" if number == 1 else "utf-8").strip()
                except UnicodeDecodeError:
                    raise DataError(f"{path}:{number}: not UTF-8") from None
                if line:
                    yield number, line
    except FileNotFoundError:
        raise DataError(f"no such file: {path}") from None
    except IsADirectoryError:
        raise DataError(f"{path} is a folder, not a file") from None


def sha256(path: Path) -> str:
    """Hex digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
