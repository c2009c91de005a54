"""Passages (what a search finds) and pages (what can be read), streamed from JSON lines."""

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, cast

from wideseek_core.errors import DataError, ToolRefused
from wideseek_core.search import Document
from wideseek_tools.urls import page_key


@dataclass(frozen=True, kw_only=True)
class Passage:
    """One row of an index. `contents` may open with the title in quotes, as in public corpora."""

    # No slots: `wire` is kept in the instance's dictionary.
    id: str
    url: str
    title: str
    contents: str

    @property
    def text(self) -> str:
        """The contents without the line that repeats the title."""
        first, newline, rest = self.contents.partition("\n")
        return rest if newline and first.strip('" ') == self.title else self.contents

    @property
    def searchable(self) -> str:
        """What is indexed: title and text."""
        return f"{self.title}\n{self.text}"

    @cached_property
    def wire(self) -> bytes:
        """The passage in the JSON that public clients know; made once, sent many times."""
        fields = {
            "id": self.id,
            "contents": self.contents,
            "url": self.url,
            "title": self.title,
        }
        return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode(
            "utf-8", "replace"
        )

    @property
    def key(self) -> int:
        """The same for passages that differ in nothing but their id and the spelling of the URL."""
        words = "\0".join((_page_of(self.url), self.title, self.contents))
        digest = hashlib.blake2b(words.encode("utf-8", "replace"), digest_size=8)
        return int.from_bytes(digest.digest())

    def document(self, score: float = 0.0) -> Document:
        """The passage as agents see it."""
        return Document(url=self.url, title=self.title, text=self.text, score=score)


@lru_cache(maxsize=1024)  # passages of a page follow one another
def _page_of(url: str) -> str:
    try:
        return page_key(url)
    except ToolRefused:  # a corpus may name its pages by anything
        return url


Hit = tuple[Passage, float]
"""A passage that a search found, and its score."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A place between two lines of a file."""

    line: int = 0
    """Lines before it."""
    offset: int = 0
    """Bytes before it."""


@dataclass(frozen=True, slots=True)
class Row:
    """One JSON object of a file and the place behind it."""

    path: Path
    value: dict[str, Any]
    end: Mark

    def text(self, name: str) -> str:
        """A field that must be a non-empty string. Raises `DataError` with file:line."""
        found = self.value.get(name)
        if not isinstance(found, str) or not found.strip():
            problem = "missing" if found is None else "not a non-empty string:"
            raise DataError(f"{self.path}:{self.end.line}: {problem} {name!r}")
        return found

    def title(self, contents: str) -> str:
        """The `title`, else the quoted first line of the contents, else nothing."""
        found = self.value.get("title")
        if isinstance(found, str) and found.strip():
            return found.strip()
        return quoted_title(contents)


def quoted_title(contents: str) -> str:
    """The first line if it is in double quotes, as public corpora give the title; else nothing."""
    first = contents.partition("\n")[0].strip()
    return first[1:-1] if len(first) > 2 and first[0] == first[-1] == '"' else ""


def read_rows(path: Path, start: Mark = Mark()) -> Iterator[Row]:
    """The objects of a JSON-lines file from `start` on. Raises `DataError` with file:line."""
    try:
        file = path.open("rb")
    except OSError as error:
        raise DataError(f"{path}: can't be read: {error.strerror}") from None
    with file:
        file.seek(start.offset)
        line, offset = start.line, start.offset
        for raw in file:
            line, offset = line + 1, offset + len(raw)
            if not raw.strip():
                continue
            try:
                value = json.loads(raw.removeprefix(b"\xef\xbb\xbf"))
            except (ValueError, RecursionError) as error:
                raise DataError(f"{path}:{line}: not JSON: {error}") from None
            if not isinstance(value, dict):
                raise DataError(f"{path}:{line}: expected a JSON object")
            yield Row(path, cast(dict[str, Any], value), Mark(line, offset))


def passage_of_row(row: Row) -> Passage:
    """A row of a corpus file: `url` and `contents`, with `id` (else its line) and `title`."""
    contents = row.text("contents")
    identity = row.value.get("id", row.end.line)
    return Passage(
        id=str(identity), url=row.text("url"), title=row.title(contents), contents=contents
    )


def passage_of_page(row: Row, words: int) -> Passage:
    """A page's own passage: its title and its first `words` words."""
    contents = row.text("contents")
    title = row.title(contents)
    text = Passage(id="", url="", title=title, contents=contents).text
    return Passage(
        id=str(row.end.line),
        url=row.text("url"),
        title=title,
        contents=f'"{title}"\n{first_words(text, words)}',
    )


def first_words(text: str, words: int) -> str:
    """The text up to its `words`-th word, line breaks kept; an ellipsis if something is cut off."""
    found = re.match(rf"(?:\s*\S+){{0,{words}}}", text)
    place = found.end() if found else 0
    return text[:place].strip() + (" ..." if text[place:].strip() else "")
