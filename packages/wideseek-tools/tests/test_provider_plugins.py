"""A search provider and a page source that another distribution adds."""

import subprocess
import sys
from pathlib import Path

import pytest

ENTRY_POINTS = """\
[wideseek.search_backends]
wiki = extra_tools:SEARCH

[wideseek.page_sources]
wiki = extra_tools:PAGES
"""

MODULE = '''
from contextlib import asynccontextmanager
from typing import Literal

from wideseek_core import Config, Document, Page
from wideseek_core.plugins import Plugin


class WikiConfig(Config):
    kind: Literal["wiki"] = "wiki"
    language: str = "en"
    """Language of the articles."""


class WikiPagesConfig(Config):
    kind: Literal["wiki"] = "wiki"


class Wiki:
    def __init__(self, language):
        self.language = language

    async def search(self, query, k):
        return [Document(url=f"{self.language}:{query}", title=query, text="found")][:k]

    async def read(self, url):
        return Page(url=url, text=f"the article {url}", source="wiki")


@asynccontextmanager
async def open_wiki(config):
    yield Wiki(config.language)


@asynccontextmanager
async def open_pages(config):
    yield Wiki("en")


SEARCH = Plugin(config=WikiConfig, open=open_wiki)
PAGES = Plugin(config=WikiPagesConfig, open=open_pages)
'''


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "extra_tools.py").write_text(MODULE)
    info = tmp_path / "extra_tools-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: extra-tools\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    call = [sys.executable, "-m", "wideseek_tools.cli", *arguments]
    return subprocess.run(call, capture_output=True, text=True, timeout=120)


def test_a_provider_of_another_distribution_is_used_like_any_other(run: Path) -> None:
    settings = ["search.kind=wiki", "search.language=no", "pages.kind=wiki"]
    found = command("search", "fjords", *settings)
    assert (found.stdout, found.stderr) == ("[1] fjords\nno:fjords\nfound\n", "")
    page = command("access", "Fjord", *settings, "cache.path=" + str(run / "cache.sqlite"))
    assert page.stdout.endswith("the article Fjord\n")


def test_its_settings_are_checked_and_described(run: Path) -> None:
    wrong = command("search", "fjords", "search.kind=wiki", "search.langage=no", "pages.kind=wiki")
    assert wrong.returncode == 2
    assert "did you mean 'search.language'" in wrong.stderr
    assert "Language of the articles." in command("search", "--help", "search").stdout


def test_check_knows_it_too(run: Path) -> None:
    assert "wiki" in command("check", "--help", "search").stdout
