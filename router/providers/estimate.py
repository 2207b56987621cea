"""How much a stream has produced, from what passed: for streams that were left or cut before the provider said it."""

from collections.abc import Callable

from router.providers.sse import blocks, frames

_HEAD_EVENTS = 24
_HEAD_BYTES = 64 * 2**10
_LATER_BYTES = 16 * 2**10
_SAMPLE_EVERY = 32
_ONE_TOKEN_BYTES = 9
_BYTES_PER_TOKEN = 4


class Production:
    """Counts events, and keeps a bounded sample of them undecoded: most streams end with a count of their own.

    The sample is the first 24 events and then a block now and then; what an event carries on average is read from it
    only when somebody asks. Where that is at most 9 bytes an event is a token, as most providers send them; above it,
    a token is four bytes. Both are nearly the same for every way of cutting a stream.
    """

    __slots__ = ("_text_of", "_events", "_empty", "_head", "_head_size", "_later", "_later_size", "_blocks")

    def __init__(self, text_of: Callable[[bytes], int]) -> None:
        self._text_of = text_of
        self._events = 0
        self._empty = 0
        self._head: list[bytes] = []
        self._head_size = 0
        self._later: list[bytes] = []
        self._later_size = 0
        self._blocks = 0

    @property
    def frames(self) -> int:
        """Events with content so far."""
        return self._events - self._empty - self._read(self._head)[1]

    def add(self, block: bytes) -> None:
        before = self._events
        self._events += block.count(b"\ndata:") + block.startswith(b"data:")
        if before < _HEAD_EVENTS and self._head_size < _HEAD_BYTES:
            kept = block if self._events <= _HEAD_EVENTS else _first_events(block, _HEAD_EVENTS - before)
            self._head.append(kept)
            self._head_size += len(kept)
            return
        self._blocks += 1
        if self._blocks % _SAMPLE_EVERY == 0 and self._later_size < _LATER_BYTES:
            self._later.append(block)
            self._later_size += len(block)

    def note_empty(self) -> None:
        """The last event added, or one near it, had no content: the end of a choice, the usage, the end."""
        if self._events > _HEAD_EVENTS:
            self._empty += 1

    def tokens(self) -> int:
        """Tokens produced so far; at least 1 once an event with content came, else 0."""
        full, empty, text = self._read(self._head)
        more, _, more_text = self._read(self._later)
        count = self._events - self._empty - empty
        full, text = full + more, text + more_text
        if not full or count < 1:
            return min(full, 1)
        if text <= full * _ONE_TOKEN_BYTES:
            return count
        return max(count, text * count // full // _BYTES_PER_TOKEN)

    def _read(self, sample: list[bytes]) -> tuple[int, int, int]:
        """(events with content, without, bytes of text) in a sample."""
        sizes = [self._text_of(data) for block in sample for _, data in frames(block)]
        full = sum(size > 0 for size in sizes)
        return full, len(sizes) - full, sum(sizes)


def _first_events(block: bytes, wanted: int) -> bytes:
    kept: list[bytes] = []
    for frame in blocks(block):
        if wanted <= 0:
            break
        wanted -= frame.count(b"\ndata:") + frame.startswith(b"data:")
        kept.append(frame)
    return b"".join(kept)
