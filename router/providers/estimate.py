"""How much a stream has produced, from what passed: for streams that were left or cut before the provider said it."""

from collections.abc import Callable

from router.providers.sse import blocks, frames

_HEAD_BYTES = 6 * 2**10
_LATER_BYTES = 16 * 2**10
_LARGEST_KEPT = 32 * 2**10
_SAMPLE_EVERY = 32
_ONE_TOKEN_BYTES = 9
_BYTES_PER_TOKEN = 4


class Production:
    """Counts events, and keeps a bounded sample of them undecoded: most streams end with a count of their own.

    The sample is the first 6 KiB and then a block now and then; what an event carries on average is read from it only
    when somebody asks. Where that is at most 9 bytes an event is a token, as most providers send them; above it, a
    token is four bytes. Both numbers are nearly, not exactly, the same for every way of cutting a stream.
    """

    __slots__ = (
        "_text_of",
        "_events",
        "_empty",
        "_head",
        "_head_size",
        "_head_read",
        "_latest",
        "_later",
        "_later_size",
        "_blocks",
    )

    def __init__(self, text_of: Callable[[bytes], int]) -> None:
        self._text_of = text_of
        self._events = 0
        self._empty = 0
        self._head: list[bytes] = []
        """What of it has not been read."""
        self._head_size = 0
        self._head_read = (0, 0)
        self._latest = b""
        """Counted when the next comes, or somebody asks: of most streams nobody asks how many the last had."""
        self._later: list[bytes] = []
        self._later_size = 0
        self._blocks = 0

    @property
    def frames(self) -> int:
        """Events with content so far."""
        self._count_latest()
        return self._events - self._empty + self._in_head()[0]

    @property
    def is_past_head(self) -> bool:
        """Whether events without content must be noted: in the head they are found by reading it."""
        return self._blocks > 0

    def add(self, block: bytes) -> None:
        size = len(block)
        if not self._blocks and self._head_size < _HEAD_BYTES and size <= _LARGEST_KEPT:
            self._head.append(block)
            self._head_size += size
            return
        self._count_latest()
        self._latest = block
        self._blocks += 1
        if self._blocks % _SAMPLE_EVERY == 0 and self._later_size + size < _LATER_BYTES:
            self._later.append(block)
            self._later_size += size

    def add_marked(self, block: bytes, mark: bytes) -> None:
        """Of whole frames those that hold `mark`: only they have content."""
        marked = block.count(mark)
        if not marked:
            return
        if marked == _events_in(block):
            self.add(block)
            return
        for frame in blocks(block):
            if mark in frame:
                self.add(frame)

    def note_empty(self) -> None:
        """The last event added, or one near it, had no content: the end of a choice, the usage, the end."""
        if self.is_past_head:
            self._empty += 1

    def tokens(self) -> int:
        """Tokens produced so far; at least 1 once an event with content came, else 0."""
        self._count_latest()
        in_head, text = self._in_head()
        later, later_text = self._read(self._later)
        count = max(0, self._events - self._empty) + in_head
        full, text = in_head + later, text + later_text
        if not full or text <= full * _ONE_TOKEN_BYTES:
            return count
        return max(count, text * count // full // _BYTES_PER_TOKEN)

    def _count_latest(self) -> None:
        if self._latest:
            self._events += _events_in(self._latest)
            self._latest = b""

    def _in_head(self) -> tuple[int, int]:
        """As `_read`, each block of it once."""
        if self._head:
            (events, text), (more, more_text) = self._head_read, self._read(self._head)
            self._head_read = events + more, text + more_text
            self._head.clear()
        return self._head_read

    def _read(self, sample: list[bytes]) -> tuple[int, int]:
        """(events with content, bytes of their text) in a sample."""
        sizes = [self._text_of(data) for block in sample for _, data in frames(block)]
        return sum(size > 0 for size in sizes), sum(sizes)


def _events_in(block: bytes) -> int:
    return block.count(b"\ndata:") + block.startswith(b"data:")
