"""What the wheels hold, and what their metadata says."""

import subprocess
import zipfile
from email.message import Message
from email.parser import HeaderParser
from pathlib import Path

import pytest

from .conftest import ROOT

PACKAGES = sorted(path.parent.name for path in ROOT.glob("packages/*/pyproject.toml"))


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All packages, built."""
    folder = tmp_path_factory.mktemp("wheels")
    build = ["uv", "build", "-q", "--offline", "--all-packages", "--wheel", "-o", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    return folder


def opened(wheels: Path, package: str) -> zipfile.ZipFile:
    (path,) = wheels.glob(f"{package.replace('-', '_')}-*.whl")
    return zipfile.ZipFile(path)


def metadata(wheel: zipfile.ZipFile, module: str) -> Message:
    (name,) = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
    assert name.startswith(module)
    return HeaderParser().parsestr(wheel.read(name).decode())


@pytest.mark.parametrize("package", PACKAGES)
def test_a_wheel_has_its_licence_its_types_and_no_tests(package: str, wheels: Path) -> None:
    module = package.replace("-", "_")
    with opened(wheels, package) as wheel:
        names = wheel.namelist()
        (licence,) = [name for name in names if name.endswith("licenses/LICENSE")]
        assert wheel.read(licence) == (ROOT / "LICENSE").read_bytes()
    assert f"{module}/py.typed" in names
    assert [name for name in names if not name.startswith((f"{module}/", f"{module}-"))] == []
    assert [name for name in names if "test_" in name] == []


@pytest.mark.parametrize("package", PACKAGES)
def test_the_metadata_describes_the_package(package: str, wheels: Path) -> None:
    with opened(wheels, package) as wheel:
        found = metadata(wheel, package.replace("-", "_"))
    assert found["Name"] == package
    assert found["License-Expression"] == "Apache-2.0"
    assert len(found["Summary"]) > 20
    assert found["Author"] == "The WideSeek contributors"
    assert found["Keywords"]
    assert "Typing :: Typed" in (found.get_all("Classifier") or [])
    payload = str(found.get_payload())
    assert payload.startswith(f"# {package}\n")


def test_the_atlas_keeps_the_notices_of_its_sources(wheels: Path) -> None:
    with opened(wheels, "wideseek-data") as wheel:
        assert any(
            name.endswith("licenses/src/wideseek_data/atlas/NOTICE")
            or name.endswith("licenses/NOTICE")
            for name in wheel.namelist()
        )


def test_the_console_command_comes_with_the_apps(wheels: Path) -> None:
    with opened(wheels, "wideseek-apps") as wheel:
        (name,) = [name for name in wheel.namelist() if name.endswith("entry_points.txt")]
        assert "wideseek = wideseek_apps.main:main" in wheel.read(name).decode()
