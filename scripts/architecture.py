"""Writes the measured part of docs/architecture.md: which folders import which.

`python scripts/architecture.py` rewrites the part between the markers; `--check` exits with 1 if
the page is out of date, which the tests run. Nothing is imported: sources are read as text.
"""

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "architecture.md"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"


@dataclass(frozen=True, slots=True, kw_only=True)
class Module:
    """One source file."""

    name: str
    """Dotted, as it is imported."""
    imports: frozenset[str]
    """Dotted names of WideSeek modules, or of names in them."""

    @property
    def package(self) -> str:
        """The package that it is installed with."""
        return self.name.partition(".")[0]

    @property
    def folder(self) -> str:
        """The package or subpackage that holds it, two names deep."""
        parts = self.name.split(".")
        return ".".join(parts[: min(2, len(parts) - 1)])


def modules(root: Path = ROOT) -> list[Module]:
    """Every source file of the packages, by name."""
    found = [
        *root.glob("packages/*/src/wideseek_*/**/*.py"),
        *root.glob("apps/wideseek_apps/**/*.py"),
    ]
    return sorted((_module(path) for path in found), key=lambda module: module.name)


def _module(path: Path) -> Module:
    start = next(at for at, part in enumerate(path.parts) if part.startswith("wideseek_"))
    name = ".".join(path.with_suffix("").parts[start:])
    text = path.read_text("utf-8")
    return Module(name=name, imports=frozenset(_imports(ast.parse(text, str(path)))))


def _imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            if node.module.startswith("wideseek_"):
                yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (a.name for a in node.names if a.name.startswith("wideseek_"))


def folder_of(name: str, names: frozenset[str]) -> str | None:
    """The folder of the module that an imported name belongs to; None for no module of ours."""
    parts = name.split(".")
    while parts:
        dotted = ".".join(parts)
        if dotted in names:
            return ".".join(parts[: min(2, len(parts) - 1)]) or dotted
        if f"{dotted}.__init__" in names:
            return ".".join(parts[:2])
        parts.pop()
    return None


def packages_table(every: list[Module]) -> list[str]:
    """The packages that each package imports."""
    rows = ["| package | imports |", "| --- | --- |"]
    for package in sorted({module.package for module in every}):
        own = [module for module in every if module.package == package]
        used = {name.partition(".")[0] for module in own for name in module.imports} - {package}
        rows.append(f"| `{package}` | {_listed(used)} |")
    return rows


def folders_table(every: list[Module]) -> list[str]:
    """The folders of the same package that each folder imports."""
    names = frozenset(module.name for module in every)
    rows = ["| folder | imports |", "| --- | --- |"]
    for folder in sorted({module.folder for module in every}):
        own = [module for module in every if module.folder == folder]
        package = own[0].package
        targets = {folder_of(name, names) for module in own for name in module.imports}
        inside = {t for t in targets if t and t.partition(".")[0] == package and t != folder}
        rows.append(f"| `{folder}` | {_listed(inside)} |")
    return rows


def _listed(names: set[str]) -> str:
    return ", ".join(f"`{name}`" for name in sorted(names)) or "nothing"


def measured(root: Path = ROOT) -> str:
    """The measured part of the page."""
    every = modules(root)
    return "\n".join(
        [
            BEGIN,
            "",
            "Packages, and the packages that their sources import:",
            "",
            *packages_table(every),
            "",
            "Folders, and the folders of the same package that their files import (the name of the",
            "package itself means the files beside its folders):",
            "",
            *folders_table(every),
            "",
            END,
        ]
    )


def main() -> None:
    """Rewrites the page, or checks it."""
    page = PAGE.read_text("utf-8")
    head, rest = page.split(BEGIN)
    tail = rest.split(END)[1]
    wanted = f"{head}{measured()}{tail}"
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(wanted, "utf-8")
    elif page != wanted:
        sys.exit("docs/architecture.md is out of date: run python scripts/architecture.py")


if __name__ == "__main__":
    main()
