"""Code blocks and commands of the documentation, and how a command is run in a test.

A command runs as it is printed, with two kinds of change: names that stand for files of the reader
become those of the test, and evaluations get limits that make them small.
"""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "packages/*/README.md", "packages/*/src/**/README.md")
    for path in ROOT.glob(pattern)
    if path.name != "CHANGELOG.md"
)
SHELL = ("bash", "sh", "console", "shell", "")
PROGRAMS = (
    "wideseek",
    "uv",
    "pip",
    "python",
    "tensorboard",
    "hf",
    "nox",
    "git",
    "OMP_NUM_THREADS=",
)

_BLOCK = re.compile(r"^( *)```(\w*)([^\n]*)\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
_TITLE = re.compile(r'title="([^"]+)"')
_INDENTED = re.compile(r"^    (?=\S)(.+)$", re.MULTILINE)
_SNIPPET = re.compile(r"^--8<-- \"(.+)\"$", re.MULTILINE)
_INLINE = re.compile(r"`([^`\n]+(?:\n(?!\n)[^`\n]+)?)`")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A fenced block."""

    page: Path
    line: int
    language: str
    text: str
    title: str = ""
    """The file that it shows; empty for none."""

    @property
    def is_module(self) -> bool:
        """Whether it is a module of a distribution, which is run by installing that."""
        return self.title.startswith("src/")

    @property
    def name(self) -> str:
        """Where it is."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownCommand:
    """A command that a page shows."""

    page: Path
    text: str

    @property
    def name(self) -> str:
        """Where it is, and what it is."""
        return f"{self.page.relative_to(ROOT)}: {self.text}"


def is_record(page: Path) -> bool:
    """Whether a page reports runs that were made once: results, and how a model was made."""
    path = page.relative_to(ROOT)
    return path.parts[:2] in (("docs", "results"), ("docs", "results.md")) or "src" in path.parts


def page_text(page: Path) -> str:
    """A page with the files that it includes."""

    def included(match: re.Match[str]) -> str:
        return (ROOT / match[1]).read_text("utf-8").rstrip()

    return _SNIPPET.sub(included, page.read_text("utf-8"))


def blocks(page: Path) -> Iterator[Block]:
    """The fenced blocks of a page."""
    text = page_text(page)
    for match in _BLOCK.finditer(text):
        indent, language, options, content = match.groups()
        title = _TITLE.search(options)
        lines = [line.removeprefix(indent) for line in content.splitlines()]
        line = text.count("\n", 0, match.start()) + 1
        yield Block(
            page=page,
            line=line,
            language=language,
            text="\n".join(lines) + "\n",
            title=title[1] if title else "",
        )


def commands(page: Path) -> Iterator[ShownCommand]:
    """The commands of a page: lines of shell blocks, indented lines, and inline code."""
    shell = [block.text for block in blocks(page) if block.language in SHELL]
    prose = _BLOCK.sub("", page_text(page))
    lines = [line for text in shell for line in text.replace("\\\n", " ").splitlines()]
    lines += [match[1] for match in _INDENTED.finditer(prose)]
    lines += [_with_help(" ".join(match[1].split())) for match in _INLINE.finditer(prose)]
    seen: set[str] = set()
    for line in lines:
        for part in map(_help_of, _parts(line)) if is_record(page) else _parts(line):
            if part not in seen and is_command(part):
                seen.add(part)
                yield ShownCommand(page=page, text=part)


def _help_of(text: str) -> str:
    """For a run that is on record: that the command is there."""
    words = words_of(text) if is_command(text) else []
    known = words[:1] and words[0].startswith("wideseek")
    return " ".join([*words[:2], "--help"]) if known else text


def _with_help(text: str) -> str:
    """The name of a command without anything behind it: that there is one, its help shows."""
    named = re.fullmatch(r"(?:uv run )?wideseek(?:-\w+)? \w+", text)
    return f"{text} --help" if named else text


def _parts(line: str) -> list[str]:
    return [part.strip().removeprefix("$ ") for part in re.split(r"&&|;(?= )", line)]


def is_command(text: str) -> bool:
    """Whether a text is a command with arguments, rather than the name of one."""
    first, _, rest = text.partition(" ")
    return bool(rest.strip()) and (
        first in PROGRAMS or re.fullmatch(r"wideseek(-\w+)?|[A-Z_]+=\S+", first) is not None
    )


def words_of(command: str) -> list[str]:
    """The words of a command that this project is to run; `uv run` is left out."""
    words = shlex.split(command, comments=True)
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
        words = words[1:]
    if words[:2] == ["uv", "run"]:
        words = words[2:]
        while words and words[0].startswith("--"):
            words = words[2:] if words[0] in ("--extra", "--with", "--group") else words[1:]
    if words and words[0].startswith("apps/"):
        words = ["wideseek", words[0].removeprefix("apps/"), *words[1:]]
    return words
