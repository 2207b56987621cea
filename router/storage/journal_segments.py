"""Which requests need which segments of a journal, and so which segments may go. Only facts: no file is touched here.

A request needs the segment its first line stands in and all later ones, until its last line is written; then only the
segment of that one, until it is in the database. So segments go from the oldest on, and an end outlives its beginning.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec


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


class Story(msgspec.Struct, eq=False, gc=False):
    """What a journal knows of one request until the database has it: its lines while it is unfinished, to write them again,
    and the segment it needs, None before any line is written. `is_ended` once its last line is. Of checkpoints the last two
    of an attempt are enough: they hold the rate."""

    segment: Segment | None = None
    lines: list[bytes] = []
    request: str = ""
    checkpoints: dict[int, tuple[bytes, ...]] = {}
    is_ended: bool = False
    is_deferred: bool = False
    is_flushed: bool = False

    def carried(self) -> Iterator[bytes]:
        yield from self.lines
        for lines in self.checkpoints.values():
            yield from lines


class Needs:
    """Every request between its first line and the database."""

    def __init__(self) -> None:
        self._open: dict[str, Story] = {}
        self._finished: dict[str, Story] = {}
        self._deferred = 0

    @property
    def is_empty(self) -> bool:
        return not (self._open or self._finished or self._deferred)

    @property
    def deferred(self) -> int:
        return self._deferred

    def opened(self, request: str, line: bytes) -> Story:
        story = self._open.get(request)
        if story is None:
            story = self._open[request] = Story(None, [line], request)
        else:
            story.lines.append(line)
        return story

    def refused(self, story: Story, line: bytes) -> None:
        """The `opened` line could not be written."""
        if line in story.lines:
            story.lines.remove(line)
            if not story.lines and story.segment is None:
                del self._open[story.request]

    def progressed(self, request: str, attempt: int, line: bytes) -> None:
        if (story := self._open.get(request)) is not None:
            story.checkpoints[attempt] = (*story.checkpoints.get(attempt, ())[-1:], line)

    def ended(self, request: str, attempt: int, line: bytes) -> None:
        if (story := self._open.get(request)) is not None:
            story.lines.append(line)
            story.checkpoints.pop(attempt, None)

    def finished(self, requests: Iterable[str]) -> list[Story]:
        """Their last lines are about to be written."""
        opened, finished = self._open, self._finished
        stories = []
        for request in requests:
            story = finished[request] = opened.pop(request) if request in opened else Story()
            story.lines.clear()
            stories.append(story)
        return stories

    def defer(self, request: str) -> None:
        """Nobody remembers this request, finished just now: only its line will know it."""
        if (story := self._finished.pop(request, None)) is not None:
            story.is_deferred = True
            self._deferred += 1

    def flushed(self, requests: Iterable[str]) -> None:
        """They are in the database. One whose last line waits to be written keeps its need until it is."""
        for request in requests:
            story = self._finished.pop(request, None)
            if story is None:
                continue
            story.is_flushed = True
            if story.is_ended and story.segment is not None:
                story.segment.needs -= 1

    def written(self, opened: Iterable[Story], ended: Iterable[Story], segment: Segment) -> None:
        """Opening lines and last lines stand in `segment`."""
        for story in opened:
            if story.segment is None:
                story.segment = segment
                segment.needs += 1
        for story in ended:
            if story.segment is not None:
                story.segment.needs -= 1
            story.segment, story.is_ended = segment, True
            if story.is_deferred:
                segment.deferred += 1
            elif not story.is_flushed:
                segment.needs += 1

    def remembered(self, segment: Segment, requests: Iterable[str]) -> list[str]:
        """Somebody reads the deferred requests of `segment` and remembers them again; those of `requests` that were not."""
        new = [request for request in requests if request not in self._finished]
        self._finished.update((request, Story(segment, is_ended=True)) for request in new)
        self._deferred -= segment.deferred
        segment.needs += len(new)
        segment.deferred = 0
        return new

    def older_than(self, number: int) -> list[Story]:
        """Unfinished requests that need a segment before `number`."""
        return [story for story in self._open.values() if story.segment is not None and story.segment.number < number]

    def carried(self, stories: Iterable[Story], segment: Segment) -> None:
        """All their lines have been written again to `segment`."""
        for story in stories:
            if story.segment is not None:
                story.segment.needs -= 1
            segment.needs += 1
            story.segment = segment
