"""Every environment that the lock allows has one version of each package.

Extras that exclude each other have versions of their own in the lock, whose markers name extras and
groups. uv does not check that only one version of a package is left: it installs them all, and the
files of the one that is unpacked last win. `Lock.installed` follows the rules by which uv selects
packages, for any interpreter and platform, and is compared with uv itself on this one.
"""

import os
import re
import subprocess
import sys
import tomllib
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache, cached_property
from itertools import chain, combinations
from pathlib import Path
from typing import Any

import pytest
from packaging.markers import Marker, default_environment
from uv import find_uv_bin

ROOT = Path(__file__).parents[1]
WORKSPACE = "wideseek"
"""The root of the workspace; it has dependency groups and is not itself installed."""

Item = tuple[str, str]
"""A package with one of its extras, or with one of its groups."""

Release = tuple[str, str]
"""Name and version of a package."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is asked of `uv sync`: a package of the workspace with extras and groups."""

    package: str
    extras: frozenset[str]
    groups: frozenset[str]

    def arguments(self) -> list[str]:
        words = ["--package", self.package, "--no-default-groups"]
        words += chain.from_iterable(("--extra", name) for name in sorted(self.extras))
        return [*words, *chain.from_iterable(("--group", name) for name in sorted(self.groups))]

    def __str__(self) -> str:
        return "-".join([self.package, *sorted(self.extras), *sorted(self.groups)])


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """The values of an interpreter and its platform that markers compare."""

    python: str
    platform: str
    processor: str

    def environment(self) -> dict[str, str]:
        return {
            "python_full_version": self.python,
            "python_version": self.python.rpartition(".")[0],
            "sys_platform": self.platform,
            "platform_machine": self.processor,
            "platform_system": {"linux": "Linux", "darwin": "Darwin"}[self.platform],
            "platform_python_implementation": "CPython",
            "implementation_name": "cpython",
            "os_name": "posix",
        }

    def __str__(self) -> str:
        return f"{self.python}-{self.platform}-{self.processor}"


def this_machine() -> Machine:
    here = default_environment()
    return Machine(
        python=here["python_full_version"],
        platform=here["sys_platform"],
        processor=here["platform_machine"],
    )


MACHINES = [
    Machine(python=python, platform=platform, processor=processor)
    for python in ("3.11.4", "3.11.14", "3.12.12", "3.13.9", "3.14.0")
    for platform, processor in (("linux", "x86_64"), ("linux", "aarch64"), ("darwin", "arm64"))
]
"""Both sides of every bound that the lock's `resolution-markers` have, on its platforms."""


@cache
def holds(marker: str, machine: Machine, active: frozenset[str]) -> bool:
    """Whether a marker of the lock holds; `active` has encoded names of extras and groups."""

    def known(comparison: re.Match[str]) -> str:
        is_active = comparison[2] in active
        return "os_name != ''" if is_active == (comparison[1] == "==") else "os_name == ''"

    plain = re.sub(r"extra (==|!=) '([^']+)'", known, marker)
    return Marker(plain).evaluate(machine.environment())


def encoded(kind: str, item: Item) -> str:
    """The name of an extra or a group in the lock's markers: `extra-8-wideseek-vllm`."""
    package, name = item
    return f"{kind}-{len(package)}-{package}-{name}"


@dataclass(frozen=True)
class Lock:
    """A lock file as it is read from TOML."""

    content: dict[str, Any]
    releases: dict[str, list[dict[str, Any]]] = field(init=False, default_factory=dict[str, Any])
    """The packages of each name, one for each version."""

    def __post_init__(self) -> None:
        for package in self.content["package"]:
            self.releases.setdefault(package["name"], []).append(package)

    @cached_property
    def conflicts(self) -> list[frozenset[Item]]:
        """Sets of extras and groups, of each of which at most one can be installed."""
        return [
            frozenset((one["package"], one.get("extra") or one["group"]) for one in conflict)
            for conflict in self.content["conflicts"]
        ]

    def requests(self) -> Iterator[Request]:
        """Each allowed choice of what excludes each other: alone, with `dev`, with all the rest.

        The rest only adds dependencies, so choices of some of it need no installation of their own.
        """
        for name in self.content["manifest"]["members"]:
            (package,) = self.releases[name]
            extras = {(name, extra) for extra in package.get("optional-dependencies", {})}
            groups = {(name, group) for group in package.get("dev-dependencies", {})}
            limited = (extras | groups) & frozenset[Item]().union(*self.conflicts)
            for chosen in chain.from_iterable(
                combinations(sorted(limited), size) for size in range(len(limited) + 1)
            ):
                if any(len(conflict & set(chosen)) > 1 for conflict in self.conflicts):
                    continue
                usual = {(name, "dev")} & groups
                for free in (set[Item](), usual, (extras | groups) - limited):
                    yield Request(
                        package=name,
                        extras=frozenset(extra for _, extra in extras & ({*chosen} | free)),
                        groups=frozenset(group for _, group in groups & ({*chosen} | free)),
                    )

    def installed(self, request: Request, machine: Machine) -> set[Release]:
        """What uv installs into an empty environment.

        uv goes through the dependencies twice, breadth first: to find the extras that packages ask
        of one another, and then, with all of them known, to select packages. The markers of the
        groups' own dependencies are evaluated before both, with the extras of the command alone.
        """
        (root,) = self.releases[request.package]
        active = {encoded("extra", (request.package, extra)) for extra in request.extras}
        active |= {encoded("group", (request.package, group)) for group in request.groups}
        start = [(root, None), *((root, extra) for extra in sorted(request.extras))]
        for group in sorted(request.groups):
            for edge in root["dev-dependencies"][group]:
                if self._holds(edge, machine, active):
                    start += self._targets(edge)
        self._reached(start, machine, active)
        reached = self._reached(start, machine, active)
        return {release for release in reached if release[0] != WORKSPACE}

    def _reached(
        self,
        start: Iterable[tuple[dict[str, Any], str | None]],
        machine: Machine,
        active: set[str],
    ) -> set[Release]:
        """Follows the dependencies that hold, and adds the extras that they ask for to `active`."""
        queue = deque(start)
        seen = {(package["name"], package["version"], extra) for package, extra in queue}
        while queue:
            package, extra = queue.popleft()
            for edge in _edges(package, extra):
                asked = {encoded("extra", (edge["name"], name)) for name in edge.get("extra", ())}
                if not self._holds(edge, machine, active | asked):
                    continue
                active |= asked
                for target, name in self._targets(edge):
                    key = (target["name"], target["version"], name)
                    if key not in seen:
                        seen.add(key)
                        queue.append((target, name))
        return {(name, version) for name, version, _ in seen}

    def _holds(self, edge: dict[str, Any], machine: Machine, active: set[str]) -> bool:
        if "marker" not in edge:
            return True
        return holds(edge["marker"], machine, frozenset(active & self._named_in_markers))

    @cached_property
    def _named_in_markers(self) -> frozenset[str]:
        items = frozenset[Item]().union(*self.conflicts)
        return frozenset(encoded(kind, item) for kind in ("extra", "group") for item in items)

    def _targets(self, edge: dict[str, Any]) -> list[tuple[dict[str, Any], str | None]]:
        """The package that an edge leads to: by itself, and with each extra that is asked for."""
        candidates = self.releases[edge["name"]]
        wanted = edge.get("version", candidates[0]["version"])
        (target,) = [package for package in candidates if package["version"] == wanted]
        return [(target, None), *((target, extra) for extra in edge.get("extra", ()))]


def _edges(package: dict[str, Any], extra: str | None) -> list[dict[str, Any]]:
    """The dependencies of a package, or those that one of its extras adds."""
    if extra is None:
        return package.get("dependencies", [])
    return package.get("optional-dependencies", {}).get(extra, [])


LOCK = Lock(tomllib.loads((ROOT / "uv.lock").read_text("utf-8")))
REQUESTS = list(dict.fromkeys(LOCK.requests()))

OF_THE_GROUP_DEV = {"huggingface-hub", "packaging", "tokenizers", "transformers", "virtualenv"}
"""Packages that the group `dev` brings along, in versions by extra."""


def repeated(releases: Iterable[Release]) -> dict[str, list[str]]:
    """Packages in more than one version."""
    versions: dict[str, list[str]] = {}
    for name, version in sorted(releases):
        versions.setdefault(name, []).append(version)
    return {name: found for name, found in versions.items() if len(found) > 1}


@pytest.mark.parametrize("machine", MACHINES, ids=str)
def test_every_package_is_installed_in_one_version(machine: Machine) -> None:
    """In two nowhere, and the ones that differ by extra not in none either."""
    found = {wanted: LOCK.installed(wanted, machine) for wanted in REQUESTS}
    twice = {str(wanted): repeated(releases) for wanted, releases in found.items()}
    assert not {wanted: packages for wanted, packages in twice.items() if packages}
    for wanted, releases in found.items():
        missing = OF_THE_GROUP_DEV - {name for name, _ in releases}
        assert "dev" not in wanted.groups or not missing, (str(wanted), missing)


@pytest.mark.parametrize("wanted", REQUESTS, ids=str)
def test_uv_selects_the_same(wanted: Request, tmp_path: Path) -> None:
    found = subprocess.run(
        [
            *(find_uv_bin(), "sync", "--frozen", "--offline", "--dry-run", "--color", "never"),
            *("--python", sys.executable, *wanted.arguments()),
        ],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if not name.startswith("UV_")}
        | {
            "UV_PROJECT_ENVIRONMENT": str(tmp_path / "environment"),
            "UV_CACHE_DIR": str(tmp_path.parent / "uv-cache"),
        },
        capture_output=True,
        text=True,
    )
    assert found.returncode == 0, found.stderr
    planned = re.findall(r"^ \+ (\S+?)(?:==(\S+)| @ \S+)", found.stderr, re.M)
    versions = {name: package["version"] for name, (package, *_) in LOCK.releases.items()}
    expected = LOCK.installed(wanted, this_machine())
    assert {(name, version or versions[name]) for name, version in planned} == expected
