"""Checks that a release's tag names the version of every package: `check_release.py v0.1.0`."""

import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]


def problems(tag: str) -> list[str]:
    """What contradicts the tag, one line each."""
    found: list[str] = []
    for path in [ROOT / "pyproject.toml", *sorted(ROOT.glob("packages/*/pyproject.toml"))]:
        project = tomllib.loads(path.read_text("utf-8"))["project"]
        if tag != f"v{project['version']}":
            found.append(f"{project['name']} is {project['version']}, the tag is {tag}")
    if f"## [{tag.removeprefix('v')}]" not in (ROOT / "CHANGELOG.md").read_text("utf-8"):
        found.append(f"CHANGELOG.md has no section for {tag.removeprefix('v')}")
    return found


if __name__ == "__main__":
    sys.exit("\n".join(problems(sys.argv[1])) or None)
