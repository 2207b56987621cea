"""The folder of one journal: `<root>/<instance>/` with `lock`, `reserve`, `NNNNNNNN.journal` (`.packed` once compressed)."""

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from router.storage.journal_disk import Disk, lock
from router.storage.journal_lines import VERSION, Header, encoded
from router.storage.journal_segments import Segment
from router.storage.sqlite import make_private_folder

PROBE_BYTES = 256 * 1024


class Home:
    """Every method that touches files raises OSError. `instance` is the name of the folder."""

    def __init__(self, root: Path, instance: str, reserve_bytes: int, disk: Disk) -> None:
        self.folder = root / instance
        self._nursery = root / f".{instance}.new"
        self._header = encoded(Header(VERSION, instance))
        self._reserve = self.folder / "reserve"
        self._reserve_bytes = reserve_bytes
        self._disk = disk
        self._lock: int | None = None

    def prepare(self, number: int) -> Segment:
        """Everything that is needed to accept requests: the folder, the reserve, some space, a segment with its header."""
        if self._lock is None:
            self._found()
        if not self._reserve.exists():
            self._disk.allocate(self._reserve, self._reserve_bytes)
        probe = self.folder / "probe"
        self._disk.allocate(probe, PROBE_BYTES)
        self._disk.remove(probe)
        return self.new_segment(number)

    def _found(self) -> None:
        """The folder gets its name when its lock is held: a folder with a free lock has lost its process."""
        make_private_folder(self._nursery.parent)
        self._nursery.mkdir(mode=0o700, exist_ok=True)
        descriptor = lock(self._nursery / "lock", create=True)
        if descriptor is None:
            raise BlockingIOError(None, "another process holds the lock", str(self._nursery))
        try:
            with suppress(OSError):  # for people; a full disk must not keep the lock from working
                os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)
            self._disk.rename(self._nursery, self.folder)
        except OSError:
            os.close(descriptor)
            raise
        self._lock = descriptor

    def new_segment(self, number: int) -> Segment:
        path = self.folder / f"{number:08d}.journal"
        descriptor = self._disk.create(path)
        try:
            self._disk.write(descriptor, self._header)
        except OSError:
            self._disk.close(descriptor)
            self._disk.remove(path)
            raise
        return Segment(number, path, descriptor, len(self._header))

    def take_reserve(self, number: int) -> Segment:
        """The reserve as a segment: its place on the disk is there even when the disk is full."""
        path = self.folder / f"{number:08d}.journal"
        self._disk.rename(self._reserve, path)
        descriptor = self._disk.reopen(path)
        try:
            self._disk.write(descriptor, self._header)
        except OSError:
            self._disk.close(descriptor)
            raise
        return Segment(number, path, descriptor, len(self._header), capacity=self._reserve_bytes)

    def pack(self, segment: Segment, *, is_synced: bool) -> int:
        """Compress a segment that is not written any more; its new size."""
        return self._disk.pack(segment.path, segment.path.with_suffix(".packed"), is_synced=is_synced)

    def remove(self, segments: Iterable[Segment]) -> None:
        for segment in segments:
            for suffix in (".journal", ".packed"):
                self._disk.remove(segment.path.with_suffix(suffix))

    def close(self, *, is_needless: bool) -> None:
        """Let go of the lock; the folder goes too if nothing in it is needed. What cannot be removed is adopted later."""
        if self._lock is None:
            return
        with suppress(OSError):
            self._disk.remove(self._reserve)
            if is_needless:
                remove_folder(self.folder)
        os.close(self._lock)
        self._lock = None


def segment_files(folder: Path) -> list[Path]:
    """The files of a journal's segments in their order; the packed one where a crash has left both."""
    files = {path.stem: path for suffix in (".journal", ".packed") for path in folder.glob(f"*{suffix}")}
    return [files[number] for number in sorted(files)]


def remove_folder(folder: Path) -> None:
    """The oldest segment first, the lock last, so that what is left after a crash is a journal still."""
    order = {path.name: n for n, path in enumerate(segment_files(folder), 1)}
    order["lock"] = len(order) + 1
    for path in sorted(folder.iterdir(), key=lambda path: order.get(path.name, 0)):
        path.unlink(missing_ok=True)
    folder.rmdir()
