"""The lock files against pyproject.toml, offline: what is required is locked, at an allowed version, with hashes."""

import re
from collections.abc import Iterable, Iterator, Mapping

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

_PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", re.MULTILINE)
_ENTRY = re.compile(r"^[A-Za-z0-9].*?(?=^[A-Za-z0-9]|\Z)", re.MULTILINE | re.DOTALL)
_ELSEWHERE = re.compile(r"^\s*(?:-|[^#]*(?:://|@ ))(?!-hash=sha256:)", re.MULTILINE)


def pins_of(lock: str) -> dict[str, str]:
    """Canonical name to version. A package locked at several versions for several platforms counts by its last."""
    return {canonicalize_name(name): version for name, version in _PIN.findall(lock)}


def drift(requirements: Iterable[str], lock: str) -> Iterator[str]:
    """Requirements that the lock lacks or holds at a version they exclude."""
    pins = pins_of(lock)
    for requirement in map(Requirement, requirements):
        version = pins.get(canonicalize_name(requirement.name))
        if version is None:
            yield f"{requirement.name} is not locked"
        elif not requirement.specifier.contains(version, prereleases=True):
            yield f"{requirement.name} is locked at {version}; required is {requirement.specifier}"


def unhashed(lock: str) -> Iterator[str]:
    """Entries without a hash, and lines that name an index, a link or a file."""
    for entry in _ENTRY.findall(lock):
        if "--hash=sha256:" not in entry:
            yield entry.splitlines()[0]
    yield from (found[0].strip() for found in _ELSEWHERE.finditer(lock))


def disagreements(one: Mapping[str, str], other: Mapping[str, str]) -> Iterator[str]:
    """Packages in both locks at different versions."""
    for name in sorted(one.keys() & other.keys()):
        if one[name] != other[name]:
            yield f"{name}: {one[name]} and {other[name]}"
