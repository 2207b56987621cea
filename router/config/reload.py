"""Reload in two steps: prepare may fail and changes nothing; swap cannot fail. Watches the files by looking at them."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from router.config.compile import compile_snapshot
from router.config.load import Loaded, load
from router.config.problems import ConfigError, Problem
from router.config.snapshot import Snapshot

WATCH_INTERVAL_S = 1.0
_Stamp = tuple[int, int, int] | None


@dataclass(frozen=True, slots=True)
class Prepared:
    """A configuration that is valid as a whole and ready to be swapped in."""

    loaded: Loaded
    snapshot: Snapshot


class Reloader:
    """Prepares configurations from one path and hands the good ones to `swap`.

    `problems` are those of the last attempt, empty after a good one: what readiness reports. `swap` must not raise.
    `rejected` is told of every failed attempt.
    """

    def __init__(self, path: Path, environ: Mapping[str, str]) -> None:
        self.problems: tuple[Problem, ...] = ()
        self._path = path
        self._environ = environ
        self._swap: Callable[[Prepared], None] | None = None
        self._rejected: Callable[[ConfigError], None] | None = None
        self._seen: dict[Path, _Stamp] = {}
        self._one_at_a_time = asyncio.Lock()

    def attach(self, *, swap: Callable[[Prepared], None], rejected: Callable[[ConfigError], None]) -> None:
        """Who takes what `reload` prepares; before that only `prepare` may be called."""
        self._swap = swap
        self._rejected = rejected

    def prepare(self) -> Prepared:
        """Load and compile. Raises ConfigError. Blocks: on the event loop's thread only before the daemon serves."""
        before = _stamps([self._path, *self._seen])
        try:
            loaded = load(self._path, self._environ)
            prepared = Prepared(loaded, compile_snapshot(loaded))
        except ConfigError as error:
            self.problems = error.problems
            self._seen = _stamps_since(before, [*before, *error.files])
            raise
        self.problems = ()
        self._seen = _stamps_since(before, _watched(loaded))
        return prepared

    async def reload(self) -> bool:
        """Prepare in a thread, then swap; on failure everything stays as it was. True if a new configuration is in force."""
        assert self._swap is not None and self._rejected is not None, "nobody is attached"
        async with self._one_at_a_time:
            try:
                prepared = await asyncio.to_thread(self.prepare)
            except ConfigError as error:
                self._rejected(error)
                return False
            self._swap(prepared)
            return True

    def has_changed(self) -> bool:
        """Whether a watched file is new, gone or different since it was last read."""
        return any(_stamp(path) != stamp for path, stamp in self._seen.items())

    async def watch(self, sleep: Callable[[float], Awaitable[object]]) -> None:
        """Reload when a file changes, until cancelled; a change is acted on once it has been still for one look."""
        pending: dict[Path, _Stamp] | None = None
        while True:
            await sleep(WATCH_INTERVAL_S)
            if not await asyncio.to_thread(self.has_changed):
                pending = None
                continue
            now = await asyncio.to_thread(_stamps, list(self._seen))
            if now == pending:
                pending = None
                await self.reload()
            else:
                pending = now


def _watched(loaded: Loaded) -> list[Path]:
    """The files read and the folders of include patterns: a new file changes its folder."""
    folders = [(loaded.folder / pattern).parent for pattern in loaded.config.include if any(c in pattern for c in "*?[")]
    return [*loaded.files, *folders]


def _stamps_since(before: dict[Path, _Stamp], paths: Iterable[Path]) -> dict[Path, _Stamp]:
    """What was seen before reading counts: a file that changed while it was read is then read again."""
    return {path: before[path] if path in before else _stamp(path) for path in paths}


def _stamps(paths: Iterable[Path]) -> dict[Path, _Stamp]:
    return {path: _stamp(path) for path in paths}


def _stamp(path: Path) -> _Stamp:
    """Time, size and inode; None if there is no such file. Atomic replacement changes the inode, editing the others."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
