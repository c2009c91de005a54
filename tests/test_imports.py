"""The dependency rule, the files that may import a heavy library, the shape of the workspace."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = sorted(path.parent.name for path in ROOT.glob("packages/*/pyproject.toml"))
LIBRARIES = [package for package in PACKAGES if package != "wideseek-apps"]
MODULES = [package.replace("-", "_") for package in LIBRARIES]
APPS = sorted(path.parent.name for path in ROOT.glob("apps/*/__main__.py"))

HEAVY_IMPORTS: dict[str, list[str]] = tomllib.loads(
    (ROOT / "tests" / "heavy_imports.toml").read_text("utf-8")
)
"""For each heavy library exactly the files that import it, relative to the `src` folders."""

HEAVY = {
    "aiohttp",
    "httpx2",
    "pandas",
    "qdrant_edge",
    "rich",
    "tokenizers",
    "torch",
    "transformers",
}
"""What importing wideseek_core must not bring along."""

LIGHT = {
    "wideseek_core": HEAVY,
    "wideseek_agents": HEAVY,
    "wideseek_data": HEAVY,
    "wideseek_tools": HEAVY | {"qdrant_client", "trafilatura", "ddgs", "mcp", "onnxruntime"},
}
"""What importing a package must not bring along; torch is brought by none."""


def sources() -> list[tuple[str, Path]]:
    """Every source file of the packages, with its path from `src`."""
    found = [path for name in LIBRARIES for path in ROOT.glob(f"packages/{name}/src/**/*.py")]
    return [(str(Path(*path.parts[path.parts.index("src") + 1 :])), path) for path in found]


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), str(path))


@cache
def imported(path: Path) -> set[str]:
    """First parts of the names of all modules that a file imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add(node.module or "")
    return {name.partition(".")[0] for name in names}


def project(path: Path) -> dict[str, Any]:
    return tomllib.loads((path / "pyproject.toml").read_text("utf-8"))


def tracked() -> Iterator[tuple[Path, str]]:
    """Every text file that is under version control or about to be, with its content."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in listed.stdout.decode().split("\0"):
        path = ROOT / name
        if not name or not path.is_file():
            continue
        try:
            yield path, path.read_text("utf-8")
        except UnicodeDecodeError:
            continue


def test_the_seven_packages_are_there() -> None:
    assert MODULES == [
        "wideseek_agents",
        "wideseek_core",
        "wideseek_data",
        "wideseek_eval",
        "wideseek_judge",
        "wideseek_rl",
        "wideseek_tools",
    ]


@pytest.mark.parametrize("package", LIBRARIES)
def test_a_package_knows_core_and_no_other(package: str) -> None:
    allowed = {"wideseek_core", package.replace("-", "_")}
    files = [*ROOT.glob(f"packages/{package}/src/**/*.py")]
    files += ROOT.glob(f"packages/{package}/tests/**/*.py")
    for path in files:
        used = {name for name in imported(path) if name.startswith("wideseek_")}
        assert used <= allowed, path


@pytest.mark.parametrize("library", HEAVY_IMPORTS)
def test_a_heavy_library_is_imported_in_exactly_the_files_listed(library: str) -> None:
    every = [path for path in ROOT.glob("packages/*/src/**/*.py") if library in imported(path)]
    users = [str(Path(*path.parts[path.parts.index("src") + 1 :])) for path in every]
    assert sorted(users) == HEAVY_IMPORTS[library]


def test_the_environment_is_read_in_one_place() -> None:
    readers = {
        name
        for name, path in sources()
        for node in ast.walk(tree(path))
        if (isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv"))
        or (isinstance(node, ast.alias) and node.name in ("environ", "getenv"))
    }
    assert readers == {"wideseek_core/config.py"}


def test_packages_do_not_print() -> None:
    for name, path in sources():
        names = {node.id for node in ast.walk(tree(path)) if isinstance(node, ast.Name)}
        assert "print" not in names, name


@pytest.mark.parametrize("module", MODULES)
def test_a_package_lists_its_names_and_does_nothing_else(module: str) -> None:
    (path,) = ROOT.glob(f"packages/*/src/{module}/__init__.py")
    body = tree(path).body
    assert isinstance(body[0], ast.Expr), "no docstring"
    *imports, names = body[1:]
    assert all(isinstance(node, ast.ImportFrom) for node in imports), path
    assert isinstance(names, ast.Assign)
    assert ast.unparse(names.targets[0]) == "__all__"
    listed = ast.literal_eval(names.value)
    assert set(listed) == {
        alias.asname or alias.name
        for node in imports
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


@pytest.mark.parametrize("module", MODULES)
def test_importing_a_package_brings_no_torch(module: str) -> None:
    unwanted = LIGHT.get(module, {"torch"})
    script = f"import sys, {module}; print(*{sorted(unwanted)} & sys.modules.keys())"
    script = script.replace("[", "{").replace("]", "}")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.stdout.strip(), done.stderr) == ("", "")


def test_versions_are_locked_together() -> None:
    folders = [ROOT, *(ROOT / "packages" / name for name in PACKAGES)]
    projects = [project(folder)["project"] for folder in folders]
    (version,) = {found["version"] for found in projects}
    for found in projects[1:]:
        members = [need for need in found.get("dependencies", []) if need.startswith("wideseek")]
        assert all(need.endswith(f"=={version}") for need in members), found["name"]


@pytest.mark.parametrize("package", LIBRARIES)
def test_a_package_has_its_readme_types_and_tests(package: str) -> None:
    folder = ROOT / "packages" / package
    assert (folder / "src" / package.replace("-", "_") / "py.typed").is_file()
    assert list((folder / "tests").glob("test_*.py"))
    readme = (folder / "README.md").read_text("utf-8")
    assert readme.startswith(f"# {package}\n")
    assert f"pip install {package}" in readme
    assert "```python" in readme


@pytest.mark.parametrize("app", APPS)
def test_an_app_is_short(app: str) -> None:
    lines = (ROOT / "apps" / app / "__main__.py").read_text("utf-8").splitlines()
    assert len(lines) < 60


def test_nothing_imports_an_app() -> None:
    for path in [path for name in LIBRARIES for path in (ROOT / "packages" / name).glob("**/*.py")]:
        assert "wideseek_apps" not in imported(path), path


def test_no_file_names_a_machine() -> None:
    personal = re.compile(r"(?<![\w.])/(?:home|root|Users|work)/\w")
    for path, text in tracked():
        found = personal.search(text)
        assert found is None, f"{path}: {found}"


def test_the_lock_names_public_registries_only() -> None:
    lock = (ROOT / "uv.lock").read_text("utf-8")
    hosts = set(re.findall(r"https?://([^/\"]+)/", lock))
    assert hosts <= {"pypi.org", "files.pythonhosted.org"}
    for path, text in tracked():
        if path.name in ("pyproject.toml", "uv.toml", "noxfile.py"):
            assert not re.search(r"index.url|\[tool\.uv\.index\]", text), path
