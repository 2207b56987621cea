"""What committed text may not name (machine paths, registry hosts), and what prose may not promise (missing files)."""

import re
from collections.abc import Callable, Iterator

_MACHINE_PATH = re.compile(r"(?<![\w.])/(?:tmp|root|home|work|farm|Users)/[\w.-]+")
_REGISTRY = re.compile(
    r"pypi\.(?:org|python)|pythonhosted\.|npmjs\.(?:org|com)|\bdeb\.debian\.|proxy\.golang\.|crates\.io", re.IGNORECASE
)
_LINK = re.compile(r"\]\((?!\w+:|#)([^)#\s]+)(?:#[^)]*)?\)")
_CODE_SPAN = re.compile(r"`([^`\s]+)`")
_MAKE = re.compile(r"(?:^|`)\s*make ([a-z]+)", re.MULTILINE)
_TOP_LEVEL = ("router/", "migrations/", "deploy/", "docs/", "tests/", "bench/", ".ci/", ".github/")
_ROOT_FILE = re.compile(
    r"[A-Z]\w+\.md|Makefile|Dockerfile|LICENSE|pyproject\.toml|router\.example\.yaml|requirements[\w-]*\.lock"
)


def names_a_machine(text: str) -> Iterator[str]:
    """Lines with a path of somebody's machine or the host of a package registry."""
    for number, line in enumerate(text.splitlines(), 1):
        for pattern in (_MACHINE_PATH, _REGISTRY):
            if found := pattern.search(line):
                yield f"{number}: {found[0]}"


def missing_mentions(prose: str, exists: Callable[[str], bool], targets: frozenset[str]) -> Iterator[str]:
    """Links and code spans of Markdown that name no file (`exists` takes a path or pattern), and unknown make targets."""
    for path in _LINK.findall(prose):
        if not exists(path):
            yield f"link to {path}"
    for span in _CODE_SPAN.findall(prose):
        is_path = span.startswith(_TOP_LEVEL) or _ROOT_FILE.fullmatch(span)
        if is_path and "<" not in span and "NNNN" not in span and not exists(span):
            yield f"mention of {span}"
    for target in _MAKE.findall(prose):
        if target not in targets:
            yield f"make {target}"
