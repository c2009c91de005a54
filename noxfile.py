"""Checks of the whole workspace: `uv run nox` runs lint, types, tests and the isolated wheels."""

import tomllib
from pathlib import Path

import nox

nox.options.default_venv_backend = "uv"
nox.options.sessions = ["lint", "types", "docs", "tests", "isolated", "nemo_aligner"]

ROOT = Path(__file__).parent
PACKAGES = sorted(path.parent.name for path in ROOT.glob("packages/*/pyproject.toml"))
UNIT_TESTS = " and ".join(
    f"not {marker}"
    for marker in ("bench", "network", "nemo_aligner", "vllm", "sglang", "viewers", "ray")
)
"""Marker expression of the tests that need nothing but the project."""

ON_BOTH_CORES = ("-n", "2", "--dist", "loadfile", "--no-loadscope-reorder")
"""Two workers; the tests of one file share its fixtures and stay together, in the order given."""

TOGETHER = (
    "tests",
    "packages/wideseek-rl/tests",
    "packages/wideseek-apps/tests",
    "packages/wideseek-data/tests",
    "packages/wideseek-agents/tests/test_renderer_oracle.py",
)
"""Tests that need the whole environment, or much time. Those with long files come first. The other
packages' tests are run once too, by `isolated`: from the package's wheel."""

CODE = ("packages", "apps", "examples", "scripts", "tests", "noxfile.py")


def sync(session: nox.Session, *arguments: str) -> None:
    """Installs from the lock into the session's environment."""
    session.run_install("uv", "sync", "-q", "--frozen", "--active", *arguments, external=True)


@nox.session
def lint(session: nox.Session) -> None:
    sync(session, "--only-group", "dev")
    session.run("ruff", "check", *CODE)
    session.run("ruff", "format", "--check", *CODE)


@nox.session
def types(session: nox.Session) -> None:
    groups = ("--group", "bench", "--group", "docs", "--group", "notebooks")
    sync(session, *groups, "--extra", "atlas-build", "--extra", "official")
    # With threads the cells of notebooks are read as JSON, so those are checked by themselves.
    python = ("--pythonpath", _python(session))
    notebooks = "examples/notebooks"
    examples = sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("examples/*"))
    examples.remove(notebooks)
    code = (part for part in CODE if part != "examples")
    session.run("basedpyright", *python, "--threads", "2", *code, *examples)
    session.run("basedpyright", *python, notebooks)


@nox.session
def docs(session: nox.Session) -> None:
    """The documentation site, in which a broken link or an unknown name is an error.

    Beside it the files that only their hosts run: by their schemas, the Dockerfile by hadolint, and
    the script for SLURM by shellcheck.
    """
    sync(session, "--only-group", "docs")
    session.run("mkdocs", "build", "-q", "-d", session.create_tmp())
    for schema, files in SCHEMAS.items():
        session.run("check-jsonschema", "-q", "--builtin-schema", f"vendor.{schema}", *files)
    session.run("hadolint", "docker/Dockerfile")
    session.run("shellcheck", "examples/cluster/slurm.sh")
    job = ("--schemafile", "tests/data/rayjob.schema.json", "examples/cluster/kuberay.yaml")
    session.run("check-jsonschema", "-q", *job)


SCHEMAS = {
    "citation-file-format": ("CITATION.cff",),
    "compose-spec": ("docker/compose.yaml", "docker/compose.gpu.yaml"),
    "github-issue-config": (".github/ISSUE_TEMPLATE/config.yml",),
    "github-issue-forms": (".github/ISSUE_TEMPLATE/bug.yml", ".github/ISSUE_TEMPLATE/feature.yml"),
    "github-workflows": (".github/workflows/release.yml",),
}
"""Published schemas that check-jsonschema brings along, and the files that follow them."""


@nox.session
def tests(session: nox.Session) -> None:
    """The tests of the workspace, and of the packages that `isolated` only installs.

    Paths after `--` are run instead: `nox -s tests -- packages` runs all tests of all packages.
    """
    groups = ("--group", "bench", "--group", "notebooks")
    sync(session, *groups, "--extra", "atlas-build", "--extra", "official")
    chosen = session.posargs or TOGETHER
    session.run("pytest", "-q", *ON_BOTH_CORES, "-m", UNIT_TESTS, *chosen)


@nox.session
def nemo_aligner(session: nox.Session) -> None:
    """The trainer on NeMo-Aligner, whose dependencies exclude those of the other extras.

    Every process imports NeMo for some 15 s: `-- -m nemo_aligner` runs the slow cases too.
    """
    sync(session, "--extra", "nemo-aligner")
    quick = ("-m", "nemo_aligner and not slow")
    session.run("pytest", "-q", *(session.posargs or quick), "packages/wideseek-rl/tests")


@nox.session
def ray(session: nox.Session) -> None:
    """Runs on a Ray cluster of several nodes on this machine; some minutes.

    `-- -m ray` repeats the one with kills with ten seeds; as root it cuts the links of hosts too
    (network namespaces), and with NEMO_PYTHON, the interpreter of an environment with the extra
    nemo-aligner, it has that trainer lose ranks, workers and nodes with ten seeds too.
    """
    sync(session, "--extra", "ray")
    quick = ("-m", "ray and not slow")
    tests = sorted(str(path) for path in ROOT.glob("tests/extras/test_ray*.py"))
    session.run("pytest", "-q", *(session.posargs or quick), *tests)


@nox.session
@nox.parametrize("extra", ["vllm", "sglang"])
def extras(session: nox.Session, extra: str) -> None:
    """Installs an inference server from the lock and checks our requests by its own models.

    SGLang is started too, on the CPU, with a small model. Some gigabytes and minutes each, so not
    among the sessions that run by default.
    """
    sync(session, "--extra", extra)
    session.run("python", "-c", f"import {extra}; print({extra}.__version__)")
    session.run("pytest", "-q", "-m", extra, "tests/extras", *session.posargs)


@nox.session
def viewers(session: nox.Session) -> None:
    """Reads our logs with a viewer of others, and checks our pages with axe-core in Chromium.

    Installs both, from npm too, so it does not run by default.
    """
    sync(session)
    session.install("inspect-ai")
    node = Path(session.create_tmp())
    session.run("npm", "install", "--silent", "--prefix", str(node), "axe-core", external=True)
    axe = node / "node_modules" / "axe-core" / "axe.min.js"
    tests = ("pytest", "-q", "-m", "viewers", "tests/extras", *session.posargs)
    session.run(*tests, env={"AXE_CORE": str(axe)})


@nox.session
@nox.parametrize("package", PACKAGES, ids=PACKAGES)
def isolated(session: nox.Session, package: str) -> None:
    """Installs one package from its wheel, with nothing else of the workspace, and tests it.

    The tests of packages that are in `TOGETHER` are not run again.
    """
    dist = Path(session.cache_dir).resolve() / "dist"
    lock = dist / "constraints.txt"
    if package == PACKAGES[0] or not lock.exists():
        build(session, dist, lock)
    # uv keeps unpacked wheels by name and version: without the refresh, those of an earlier build.
    wheels = ["-q", "--find-links", str(dist), "-c", str(lock)]
    wheels += ["--override", str(_overrides(dist))]
    wheels += [f"--refresh-package={name}" for name in PACKAGES]
    session.install(*wheels, package)
    module = package.replace("-", "_")
    session.run("python", "-c", f"import {module} as m; assert 'site-packages' in m.__file__")
    session.run("python", "-c", f"import sys, {module}; assert 'torch' not in sys.modules")
    if package not in ("wideseek-rl", "wideseek-apps"):
        session.run("python", "-c", "import importlib.util as u; assert not u.find_spec('torch')")
    folder = f"packages/{package}/tests"
    if folder in TOGETHER:
        return
    testing = ("pytest", "pytest-asyncio", "pytest-xdist", "hypothesis", *EXTRAS.get(package, ()))
    session.install(*wheels, *testing)
    options = ("-q", "-p", "no:cacheprovider", *ON_BOTH_CORES)
    session.run("pytest", *options, "-m", UNIT_TESTS, folder)


EXTRAS = {
    "wideseek-agents": ("wideseek-agents[tokens]",),
    "wideseek-eval": ("wideseek-eval[hub,parquet,png]",),
    "wideseek-tools": ("wideseek-tools[all]",),
    "wideseek-judge": ("wideseek-judge[official]",),
}
"""What a package's tests need of its own extras; its bare install is checked before."""


def build(session: nox.Session, dist: Path, lock: Path) -> None:
    """All wheels, and the locked versions as constraints."""
    session.run_install(
        "uv", "build", "-q", "--clear", "--all-packages", "--wheel", "-o", str(dist), external=True
    )
    session.run_install(
        *("uv", "export", "-q", "--frozen", "--all-packages", "--no-emit-workspace", "--no-hashes"),
        *("--extra", "official", "--extra", "atlas-build", "-o", str(lock)),
        external=True,
        silent=True,
    )


def _overrides(dist: Path) -> Path:
    """The overrides of the lock, in a file: without them its versions contradict one another."""
    path = dist / "overrides.txt"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    path.write_text("\n".join(project["tool"]["uv"]["override-dependencies"]) + "\n")
    return path


@nox.session
def bench(session: nox.Session) -> None:
    """Speed and memory, as ratios measured in one run; `-- NAME ...` picks benchmarks.

    Beside them are longer measurements, `run_*.py`, and those for GPUs, `gpu_*.py`: by hand.
    """
    sync(session, "--group", "bench", "--extra", "official")
    chosen = [name for name in session.posargs if not name.startswith("-")]
    options = [name for name in session.posargs if name.startswith("-")]
    for path in sorted(ROOT.glob("tests/benchmarks/bench_*.py")):
        if not chosen or any(name in path.stem for name in chosen):
            session.run("python", str(path), *options)


def _python(session: nox.Session) -> str:
    return str(Path(session.virtualenv.location) / "bin" / "python")
