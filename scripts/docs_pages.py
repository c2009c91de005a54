"""Pages of the documentation site that are files elsewhere: READMEs, CONTRIBUTING, CHANGELOG.

A hook of mkdocs (see mkdocs.yml). Links between those files and `docs/` are rewritten to where the
pages are; a link to a file that the site does not have becomes its text.
"""

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
PAGES = {
    f"packages/{path.parent.name}.md": path for path in sorted(ROOT.glob("packages/*/README.md"))
} | {
    "project/contributing.md": ROOT / "CONTRIBUTING.md",
    "project/changelog.md": ROOT / "CHANGELOG.md",
}
"""Pages of the site, and the files that they are made of."""

_LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!https?:|#)([^)#\s]+)(#[^)\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages."""
    for page, source in PAGES.items():
        text = rewritten(source.read_text("utf-8"), source, page)
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: object, config: MkDocsConfig, files: Files) -> str:
    """Rewrites links of pages in `docs/` that leave it."""
    name: str = getattr(page, "file").src_uri  # noqa: B009 - mkdocs has no type for it here
    source = ROOT / "docs" / name
    return rewritten(markdown, source, name) if name not in PAGES else markdown


def rewritten(text: str, source: Path, page: str) -> str:
    """A file's text with links that lead from the page."""

    def link(match: re.Match[str]) -> str:
        mark, label, path, anchor = match[1], match[2], match[3], match[4] or ""
        target = (source.parent / path).resolve()
        uri = page_of(target)
        if uri is None:
            return f"{mark}[{label}]({path}{anchor})" if in_docs(target) else label
        start = posixpath.dirname(page)
        return f"{mark}[{label}]({posixpath.relpath(uri, start or '.')}{anchor})"

    return _LINK.sub(link, text)


def in_docs(target: Path) -> bool:
    """Whether a link stays within `docs/`, so that mkdocs can check it."""
    return target.is_relative_to(ROOT / "docs")


def page_of(target: Path) -> str | None:
    """The page that shows a file; None if none does."""
    if in_docs(target):
        return target.relative_to(ROOT / "docs").as_posix()
    if target.is_dir():
        target /= "README.md"
    return next((page for page, source in PAGES.items() if source == target), None)
