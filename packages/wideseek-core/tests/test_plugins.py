"""Plug-ins as other distributions install them: a module and its metadata on the path."""

import subprocess
import sys
from pathlib import Path

import pytest

MODULE = """
from typing import Literal
from wideseek_core import Config
from wideseek_core.plugins import Plugin

class ExaConfig(Config):
    kind: Literal["exa"] = "exa"
    depth: int = 3

exa = Plugin(config=ExaConfig, open=lambda config: f"exa at depth {config.depth}")
number = 7
"""

USE = """
import sys
from typing import Literal
from wideseek_core import Config, WideSeekError, load_config
from wideseek_core.plugins import installed, kind_union, opener

class OwnConfig(Config):
    kind: Literal["own"] = "own"

try:
    class Whole(Config):
        part: kind_union("test.parts", OwnConfig) = OwnConfig()

    part = load_config(Whole, sys.argv[1:]).part
    print(opener("test.parts", part)(part) if part.kind != "own" else "own")
except WideSeekError as error:
    print(f"{type(error).__name__}: {error}")
"""


def use(folder: Path, entries: str, *arguments: str) -> str:
    """What a program prints that has a distribution with these entry points on its path."""
    metadata = folder / "exa_search-1.0.dist-info"
    metadata.mkdir(parents=True)
    (folder / "exa_search.py").write_text(MODULE)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: exa-search\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[test.parts]\n{entries}\n")
    command = [sys.executable, "-c", USE, *arguments]
    environment = {"PYTHONPATH": str(folder)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        ((), "own"),
        (("part.kind=exa",), "exa at depth 3"),
        (("part.kind=exa", "part.depth=5"), "exa at depth 5"),
    ],
)
def test_an_installed_plugin_is_a_kind_like_any_other(
    arguments: tuple[str, ...], shown: str, tmp_path: Path
) -> None:
    assert use(tmp_path, "exa = exa_search:exa", *arguments) == shown


def test_help_and_errors_know_an_installed_plugin(tmp_path: Path) -> None:
    shown = use(tmp_path, "exa = exa_search:exa", "part.kind=exa", "part.dpth=5")
    assert shown.startswith("ConfigError: unknown key 'part.dpth'; did you mean 'part.depth'")


@pytest.mark.parametrize(
    ("entries", "problem"),
    [
        ("exa = exa_search:absent", "plug-in 'exa' of test.parts: AttributeError"),
        ("exa = nowhere:exa", "plug-in 'exa' of test.parts: ModuleNotFoundError"),
        ("exa = exa_search:number", "plug-in 'exa' of test.parts is no"),
        ("a = exa_search:exa\nb = exa_search:exa", "plug-in 'b' of test.parts: its kind 'exa'"),
    ],
)
def test_a_plugin_that_cannot_be_used_is_one_clear_error(
    entries: str, problem: str, tmp_path: Path
) -> None:
    assert use(tmp_path, entries).startswith(f"ConfigError: {problem}")
