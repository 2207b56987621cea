"""The operating system as a journal uses it: one place to be slow, full or broken. Every method may raise OSError."""

import fcntl
import os
import zlib
from contextlib import suppress
from pathlib import Path

_ZEROS = bytes(2**20)
_QUICKLY = 1


class Disk:
    """Files are private to this user and not handed on to programs that are started."""

    def create(self, path: Path) -> int:
        """A new, empty file to write; its descriptor."""
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    def reopen(self, path: Path) -> int:
        """A file that exists, to be written from its beginning."""
        return os.open(path, os.O_WRONLY | os.O_CLOEXEC)

    def write(self, descriptor: int, content: bytes) -> None:
        """All of it where the descriptor stands, or OSError and perhaps a part of it."""
        written = self.write_some(descriptor, content)
        while written < len(content):
            written += self.write_some(descriptor, content[written:])

    def write_some(self, descriptor: int, content: bytes) -> int:
        return os.write(descriptor, content)

    def cut(self, descriptor: int, size: int) -> None:
        """Forget what stands behind `size`, and write on from there."""
        os.ftruncate(descriptor, size)
        os.lseek(descriptor, size, os.SEEK_SET)

    def sync(self, descriptor: int) -> None:
        os.fsync(descriptor)

    def sync_folder(self, folder: Path) -> None:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def allocate(self, path: Path, size: int) -> None:
        """Make `path` a file of `size` zero bytes that really have their place on the disk."""
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(descriptor, 0, size)
            else:
                for start in range(0, size, len(_ZEROS)):
                    self.write(descriptor, _ZEROS[: size - start])
        except OSError:
            with suppress(OSError):
                os.unlink(path)
            raise
        finally:
            os.close(descriptor)

    def pack(self, path: Path, packed: Path, *, is_synced: bool) -> int:
        """Replace `path` by `packed`, which holds it compressed; the new size. A crash leaves one of them, or both."""
        content = zlib.compress(path.read_bytes().rstrip(b"\0"), _QUICKLY)
        draft = packed.with_suffix(".draft")
        self.remove(draft)
        try:
            descriptor = self.create(draft)
            try:
                self.write(descriptor, content)
                if is_synced:
                    self.sync(descriptor)
            finally:
                os.close(descriptor)
            os.rename(draft, packed)
        except OSError:
            self.remove(draft)
            raise
        if is_synced:
            self.sync_folder(packed.parent)
        self.remove(path)
        return len(content)

    def rename(self, path: Path, new: Path) -> None:
        os.rename(path, new)

    def remove(self, path: Path) -> None:
        """What is not there is removed already."""
        path.unlink(missing_ok=True)

    def close(self, descriptor: int) -> None:
        os.close(descriptor)


def lock(path: Path, *, create: bool = False) -> int | None:
    """Lock the file at `path`; its descriptor, None if another process holds it, or if the file is gone.

    Held until the descriptor is closed or the process ends, however it ends.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if create else 0), 0o600)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Whoever held it until now may have removed it: then another file has its name, or none.
        if os.path.samestat(os.fstat(descriptor), os.stat(path)):
            return descriptor
    except (BlockingIOError, FileNotFoundError):
        pass
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None
