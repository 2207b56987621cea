"""Which requests need which segments of a journal, and so which segments may go. Only facts: no file is touched here.

A request needs the segment its first line stands in and all later ones, until its last line is written; then only the
segment of that one, until it is in the database. So segments go from the oldest on, and an end outlives its beginning.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path


class Segment:
    """One file. `capacity` is None where the file may grow; `needs` counts requests that somebody remembers, `deferred`
    finished ones that stand here alone. Once `is_packed`, the file at `path` may have become its packed form."""

    __slots__ = ("capacity", "deferred", "descriptor", "is_packed", "needs", "number", "path", "since", "size")

    def __init__(self, number: int, path: Path, descriptor: int, size: int, *, capacity: int | None = None) -> None:
        self.number = number
        self.path = path
        self.descriptor: int = descriptor
        self.size = size
        self.capacity = capacity
        self.since = 0.0
        self.needs = 0
        self.deferred = 0
        self.is_packed = False

    def has_room(self, size: int) -> bool:
        return self.capacity is None or self.size + size <= self.capacity


class Shelf:
    """All segments of one journal, the oldest first; the last one is being written. `size` is bytes in all."""

    def __init__(self) -> None:
        self._segments: dict[int, Segment] = {}
        self.size = 0

    def __getitem__(self, number: int) -> Segment:
        return self._segments[number]

    def __iter__(self) -> Iterator[Segment]:
        return iter(self._segments.values())

    def __len__(self) -> int:
        return len(self._segments)

    def add(self, segment: Segment) -> None:
        self._segments[segment.number] = segment
        self.size += segment.size

    def grew(self, segment: Segment, size: int) -> None:
        segment.size += size
        self.size += size

    def packed(self, segment: Segment, size: int) -> None:
        """It has become smaller. It may have left the shelf meanwhile."""
        if segment.number in self._segments:
            self.size += size - segment.size
        segment.size = size

    def take_needless(self) -> list[Segment]:
        """Take off, from the oldest on, what nobody needs. The last one stays."""
        needless: list[Segment] = []
        for segment in self:
            if segment.needs or segment.deferred or len(needless) == len(self) - 1:
                break
            needless.append(segment)
        for segment in needless:
            del self._segments[segment.number]
            self.size -= segment.size
        return needless


class Story:
    """What a journal knows of one unfinished request: its lines, to write them again, and the oldest segment it needs
    (0: none yet). Of checkpoints the last two of an attempt are enough: they hold the rate."""

    __slots__ = ("checkpoints", "is_deferred", "is_flushed", "lines", "oldest")

    def __init__(self) -> None:
        self.oldest = 0
        self.lines: list[bytes] = []
        self.checkpoints: dict[int, tuple[bytes, ...]] = {}
        self.is_deferred = False
        self.is_flushed = False

    def carried(self) -> Iterator[bytes]:
        yield from self.lines
        for lines in self.checkpoints.values():
            yield from lines


class Needs:
    """Every request between its first line and the database, on one shelf."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._open: dict[str, Story] = {}
        self._ending: dict[str, Story] = {}  # finished, its last line not written yet
        self._queued: dict[str, int] = {}  # written, on its way to the database: the segment
        self._deferred = 0

    @property
    def is_empty(self) -> bool:
        return not (self._open or self._ending or self._queued or self._deferred)

    @property
    def deferred(self) -> int:
        return self._deferred

    def opened(self, request: str, line: bytes) -> None:
        story = self._open.get(request)
        if story is None:
            story = self._open[request] = Story()
        story.lines.append(line)

    def refused(self, request: str, line: bytes) -> None:
        """The `opened` line could not be written."""
        story = self._open.get(request)
        if story is not None and line in story.lines:
            story.lines.remove(line)
            if not story.lines and not story.oldest:
                del self._open[request]

    def progressed(self, request: str, attempt: int, line: bytes) -> None:
        if (story := self._open.get(request)) is not None:
            story.checkpoints[attempt] = (*story.checkpoints.get(attempt, ())[-1:], line)

    def ended(self, request: str, attempt: int, line: bytes) -> None:
        if (story := self._open.get(request)) is not None:
            story.lines.append(line)
            story.checkpoints.pop(attempt, None)

    def finished(self, request: str) -> None:
        self._ending[request] = self._open.pop(request) if request in self._open else Story()

    def defer(self, request: str) -> None:
        """Nobody remembers this finished request: only its line will know it."""
        if (story := self._ending.get(request)) is not None:
            story.is_deferred = True
            self._deferred += 1

    def flushed(self, requests: Iterable[str]) -> None:
        """They are in the database. One whose last line waits to be written keeps its need until it is."""
        for request in requests:
            number = self._queued.pop(request, None)
            if number is not None:
                self._shelf[number].needs -= 1
            elif (story := self._ending.get(request)) is not None:
                story.is_flushed = True

    def opening_written(self, request: str, number: int) -> None:
        story = self._open.get(request) or self._ending.get(request)
        if story is not None and not story.oldest:
            self._move(story, number)

    def end_written(self, request: str, number: int) -> None:
        story = self._ending.pop(request)
        self._move(story, 0)
        if story.is_deferred:
            self._shelf[number].deferred += 1
        elif not story.is_flushed:
            self._queued[request] = number
            self._shelf[number].needs += 1

    def remembered(self, segment: Segment, requests: Iterable[str]) -> list[str]:
        """Somebody reads the deferred requests of `segment` and remembers them again; those of `requests` that were not."""
        new = [request for request in requests if request not in self._queued]
        self._queued.update(dict.fromkeys(new, segment.number))
        self._deferred -= segment.deferred
        segment.needs += len(new)
        segment.deferred = 0
        return new

    def older_than(self, number: int) -> list[Story]:
        """Unfinished requests that need a segment before `number`."""
        return [story for story in self._open.values() if 0 < story.oldest < number]

    def carried(self, stories: Iterable[Story], number: int) -> None:
        """All their lines have been written again to segment `number`."""
        for story in stories:
            self._move(story, number)

    def _move(self, story: Story, number: int) -> None:
        if story.oldest:
            self._shelf[story.oldest].needs -= 1
        if number:
            self._shelf[number].needs += 1
        story.oldest = number
