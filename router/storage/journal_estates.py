"""Journals whose processes have died: found by their free locks, held while they are read, removed when all is settled."""

import os
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path

from router.domain.ledger import LedgerEntry
from router.storage.journal_disk import lock
from router.storage.journal_home import remove_folder, segment_files
from router.storage.journal_replay import Replay, content_of


class Estate:
    """Implements domain.ports.Estate. Ours alone until `remove` or `release`."""

    def __init__(self, folder: Path, descriptor: int) -> None:
        self.instance = folder.name
        self._folder = folder
        self._lock: int | None = descriptor
        self._replay = Replay()
        self._entries = self._read()

    @property
    def damaged(self) -> int:
        return self._replay.damaged

    def read(self, limit: int) -> list[LedgerEntry]:
        return list(islice(self._entries, limit))

    def _read(self) -> Iterator[LedgerEntry]:
        for path in segment_files(self._folder):
            yield from self._replay.feed(content_of(path))
        yield from self._replay.orphans()

    def remove(self) -> None:
        try:
            remove_folder(self._folder)
        finally:
            self.release()

    def release(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def find_estates(root: Path, own: str) -> list[Estate]:
    """Lock every journal in `root` that no process holds, but not `own`. Raises OSError; no folder at all is no journal."""
    try:
        folders = sorted(path for path in root.iterdir() if path.name != own and path.is_dir())
    except FileNotFoundError:
        return []
    found: list[Estate] = []
    try:
        for folder in folders:
            if folder.name.startswith("."):
                _sweep(folder)
            elif (descriptor := lock(folder / "lock")) is not None:
                found.append(Estate(folder, descriptor))
            else:
                with suppress(OSError):
                    folder.rmdir()  # only the lock was gone: somebody died removing it
    except BaseException:
        for estate in found:
            estate.release()
        raise
    return found


def _sweep(nursery: Path) -> None:
    """A folder that never got its name, because its process died. One that is just about to is not harmed for long: its
    process makes another."""
    with suppress(OSError):
        if (descriptor := lock(nursery / "lock")) is not None:
            try:
                remove_folder(nursery)
            finally:
                os.close(descriptor)
        else:
            nursery.rmdir()
