"""What the project consists of: the files git knows or would add, and the modules of `router`."""

import subprocess
from functools import cache
from pathlib import Path, PurePosixPath
from shutil import which

ROOT = Path(__file__).parents[2]
_GENERATED = frozenset({".git", ".venv", "build", "dist", "data", "__pycache__"})


@cache
def project_files() -> tuple[PurePosixPath, ...]:
    """Relative paths; without git (a source archive) everything but what is generated."""
    git = which("git")
    if git and (ROOT / ".git").exists():
        # For another user than the owner (a mounted tree in a container) git answers only when told that the tree is safe.
        command = [git, "-c", f"safe.directory={ROOT}", "ls-files", "-z", "-co", "--exclude-standard"]
        listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
        return tuple(PurePosixPath(name) for name in sorted(listed.split("\0")) if name and (ROOT / name).is_file())
    found = (path.relative_to(ROOT) for path in ROOT.rglob("*") if path.is_file())
    return tuple(PurePosixPath(path.as_posix()) for path in sorted(found) if path.parts[0] not in _GENERATED)


def python_files() -> tuple[PurePosixPath, ...]:
    return tuple(path for path in project_files() if path.suffix == ".py")


def text_of(path: PurePosixPath) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def modules() -> list[str]:
    """Importable names of every module of `router`, packages included."""
    own = (path for path in python_files() if path.is_relative_to("router") and "_migrations" not in path.parts)
    return sorted(".".join(path.parent.parts if path.stem == "__init__" else path.with_suffix("").parts) for path in own)
