"""Which code is running, for the records of runs."""

import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


@cache
def code_version() -> str:
    """The version of WideSeek; in a git checkout also the commit, and whether files differ from it.

    Example: `0.1.0 (commit 1a2b3c4d5e, changed)`
    """
    try:
        released = version("wideseek-core")
    except PackageNotFoundError:
        released = "unknown"
    above = list(Path(__file__).resolve().parents)
    commit = _commit(above[4]) if len(above) > 4 else ""
    return f"{released} (commit {commit})" if commit else released


def _commit(root: Path) -> str:
    """The commit of a checkout of this workspace; empty elsewhere, or without git."""
    if not (root / ".git").exists() or not (root / "packages" / "wideseek-core").is_dir():
        return ""
    head = _git(root, "rev-parse", "--short=10", "HEAD")
    changed = _git(root, "status", "--porcelain", "--untracked-files=no")
    return f"{head}, changed" if head and changed else head


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "--no-optional-locks", "-C", str(root), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return "" if done.returncode else done.stdout.strip()
