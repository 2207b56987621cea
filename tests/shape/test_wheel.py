"""The wheel carries what the daemon needs on a machine without the source tree."""

import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

from tests.shape.tree import ROOT, project_files


@pytest.fixture(scope="module")
def wheel_names(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    folder: Path = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", str(folder), str(ROOT)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode == 0, result.stdout + result.stderr
    (wheel,) = folder.glob("*.whl")
    with ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_the_wheel_carries_every_migration(wheel_names: set[str]) -> None:
    migrations = {path.name for path in project_files() if path.parts[0] == "migrations"}
    assert migrations
    assert {f"router/_migrations/{name}" for name in migrations} <= wheel_names


def test_the_wheel_carries_every_file_of_the_package(wheel_names: set[str]) -> None:
    package = {str(path) for path in project_files() if path.parts[0] == "router"}
    assert package <= wheel_names


def test_the_wheel_carries_nothing_else(wheel_names: set[str]) -> None:
    tops = {name.partition("/")[0] for name in wheel_names}
    assert [top for top in tops if not top.endswith(".dist-info")] == ["router"]
    assert not [name for name in wheel_names if name.endswith((".pth", ".pyc"))]


def test_the_wheel_names_its_command_and_its_licence(wheel_names: set[str]) -> None:
    in_metadata = {name.partition(".dist-info/")[2] for name in wheel_names if ".dist-info/" in name}
    assert {"entry_points.txt", "licenses/LICENSE"} <= in_metadata
