"""The lock a daemon holds beside its SQLite database, so that a second daemon is refused at its start."""

import fcntl
import os
from contextlib import suppress
from pathlib import Path

from router.storage.database import DatabaseInUse, DatabaseUnreachable
from router.storage.sqlite import make_private_folder


class DaemonLock:
    """Held until `release` or until the process ends, however it ends. The file itself stays: removing it would race."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor: int | None = descriptor

    @classmethod
    def take(cls, database: Path) -> "DaemonLock":
        """Lock `<database>.lock` and write our pid into it. Raises DatabaseInUse at once if another process holds it."""
        path = database.with_name(database.name + ".lock")
        try:
            make_private_folder(path.parent)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise DatabaseUnreachable(
                f"the folder of the SQLite database, {path.parent}, cannot be used: {error.strerror}; make it writable for "
                "this user, or name another place in database.url"
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(descriptor, 32).strip()
            os.close(descriptor)
            raise DatabaseInUse(path, int(holder) if holder.isdigit() else None) from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)
        return cls(path, descriptor)

    def fileno(self) -> int:
        """The open file: a process that inherits it holds the lock too."""
        assert self._descriptor is not None, "released"
        return self._descriptor

    def release(self) -> None:
        if self._descriptor is not None:
            with suppress(OSError):
                os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = None
