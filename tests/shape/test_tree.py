"""The whole project keeps the shape rules."""

import importlib.metadata
import re
import subprocess
import sys
import tomllib
from functools import partial
from pathlib import PurePosixPath

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.shape.locks import disagreements, drift, pins_of, unhashed
from tests.shape.rules import SourceFile, breaches_of, imports_of
from tests.shape.texts import missing_mentions, names_a_machine
from tests.shape.tree import ROOT, modules, project_files, python_files, text_of

PYPROJECT = tomllib.loads(text_of(PurePosixPath("pyproject.toml")))
LOCKS = (
    "requirements.lock",
    "requirements-image.lock",
    "requirements-dev.lock",
    "requirements-build.lock",
    "requirements-node.lock",
)
# Their own texts, which name hosts or paths for good reasons.
FOREIGN_TEXT = frozenset({"LICENSE", *LOCKS})

# Libraries are loaded once and the process forks for each module, so that importing each alone costs milliseconds.
IMPORT_EACH_ALONE = """
import importlib, os, sys, threading, traceback
libraries, names = (argument.split(",") for argument in sys.argv[1:])
for library in libraries:
    importlib.import_module(library)
for name in names:
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        before = threading.active_count(), dict(os.environ)
        try:
            importlib.import_module(name)
            assert (threading.active_count(), dict(os.environ)) == before, "started a thread or changed the environment"
        except BaseException as error:
            print(f"{name}: {traceback.format_exception_only(error)[-1].strip()}", flush=True)
        os._exit(0)
    os.waitpid(child, 0)
"""


def test_every_python_file_keeps_the_shape_rules() -> None:
    breaches = [b for path in python_files() for b in breaches_of(SourceFile.parse(str(path), text_of(path)))]
    assert not breaches, "\n".join(breaches)


def test_every_module_can_be_imported_alone_and_starts_nothing() -> None:
    assert len(modules()) > 10
    command = [sys.executable, "-W", "error", "-c", IMPORT_EACH_ALONE, ",".join(runtime_libraries()), ",".join(modules())]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert (result.stdout, result.stderr, result.returncode) == ("", "", 0)


def runtime_libraries() -> list[str]:
    """Import names of what pyproject.toml requires."""
    required = {canonicalize_name(Requirement(text).name) for text in PYPROJECT["project"]["dependencies"]}
    by_import_name = importlib.metadata.packages_distributions()
    return sorted(
        name
        for name, distributions in by_import_name.items()
        if name.isidentifier() and not name.startswith("_") and required & {canonicalize_name(d) for d in distributions}
    )


def test_every_library_that_router_imports_is_where_the_daemon_runs() -> None:
    """What only the tests install would be missing where the daemon runs."""
    locked = pins_of(text_of(PurePosixPath("requirements-image.lock"))).keys()
    distributions = importlib.metadata.packages_distributions()
    missing = []
    for path in (p for p in python_files() if p.is_relative_to("router")):
        for line, module in imports_of(SourceFile.parse(str(path), text_of(path)).tree):
            top = module.partition(".")[0]
            provided_by = {canonicalize_name(name) for name in distributions.get(top, [])}
            if top not in sys.stdlib_module_names and top != "router" and not provided_by & locked:
                missing.append(f"{path}:{line}: {module}")
    assert not missing, "\n".join(missing)


def test_no_committed_text_names_a_machine_or_a_registry() -> None:
    found = []
    for path in project_files():
        if str(path) in FOREIGN_TEXT:
            continue
        try:
            text = text_of(path)
        except UnicodeDecodeError:
            continue
        found += [f"{path}:{place}" for place in names_a_machine(text)]
    assert not found, "\n".join(found)


def test_prose_names_only_files_and_targets_that_exist() -> None:
    targets = frozenset(re.findall(r"^([a-z]+):", text_of(PurePosixPath("Makefile")), re.MULTILINE))
    prose = [path for path in project_files() if path.suffix == ".md" and (len(path.parts) == 1 or path.parts[0] == "docs")]
    found = [
        f"{path}: {m}" for path in prose for m in missing_mentions(text_of(path), partial(is_in_tree, path.parent), targets)
    ]
    assert not found, "\n".join(found)


def is_in_tree(folder: PurePosixPath, name: str) -> bool:
    """`name`, which may be a pattern, names something below `folder` or below the project."""
    return any(next(place.glob(name.rstrip("/")), None) is not None for place in (ROOT / folder, ROOT))


@pytest.mark.parametrize("name", LOCKS)
def test_every_locked_package_has_hashes_and_no_address(name: str) -> None:
    assert not list(unhashed(text_of(PurePosixPath(name))))


def test_the_locks_hold_what_pyproject_requires() -> None:
    extras = PYPROJECT["project"]["optional-dependencies"]
    own = PYPROJECT["project"]["name"]
    base = PYPROJECT["project"]["dependencies"]
    whole = base + extras["tokens"] + extras["aws"] + extras["google"]
    dev = whole + [r for r in extras["test"] + extras["dev"] if not r.startswith(f"{own}[")]
    required = {
        "requirements.lock": base,
        "requirements-image.lock": whole,
        "requirements-dev.lock": dev,
        "requirements-build.lock": PYPROJECT["dependency-groups"]["build"],
        "requirements-node.lock": PYPROJECT["dependency-groups"]["node"],
    }
    assert not [f"{name}: {d}" for name, needs in required.items() for d in drift(needs, text_of(PurePosixPath(name)))]


def test_the_locks_agree_with_one_another() -> None:
    run, image, dev, build, _node = (pins_of(text_of(PurePosixPath(name))) for name in LOCKS)
    assert not [*disagreements(run, dev), *disagreements(image, dev), *disagreements(build, dev)]
    assert run.keys() <= image.keys() <= dev.keys()
