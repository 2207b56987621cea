"""Lines on their way out: gathered in memory, handed over in batches, written by a thread that may block in our place."""

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

Later = Callable[[float, Callable[[], None]], object]
"""Call something after so many seconds: an event loop's `call_later`."""

BATCH_BYTES = 64 * 1024
BATCH_DELAY_S = 0.1
MAX_WAITING_BYTES = 8 * 2**20


class ByteSink(Protocol):
    """A binary file, as far as it is used here."""

    def write(self, chunk: bytes, /) -> object: ...

    def flush(self) -> object: ...


class Lines(Protocol):
    """What takes lines, each given without its newline."""

    def write(self, lines: Sequence[bytes]) -> None: ...

    def write_now(self, line: bytes) -> None: ...


class LineWriter:
    """Implements Lines. Takes lines from one thread (the event loop's) with `write`, and from any thread with `write_now`.

    A batch leaves after 100 ms or 64 KB. Without `later` every line leaves at once. A reader that does not read makes lines
    wait up to 8 MB; what comes then is dropped and counted in `dropped`. A stream whose reader is gone is not written again;
    what a full disk refuses is dropped too.

    `max_write`: where other processes write to the same pipe, no write is larger, unless a single line is: the kernel keeps
    writes of up to PIPE_BUF bytes in one piece, so that no line lands in the middle of another.
    """

    def __init__(
        self,
        stream: ByteSink,
        later: Later | None = None,
        *,
        max_waiting: int = MAX_WAITING_BYTES,
        max_write: int = MAX_WAITING_BYTES,
    ) -> None:
        self.dropped = 0
        self._max_write = max_write
        self._stream = stream
        self._later = later
        self._max_waiting = max_waiting
        self._buffer = bytearray()
        self._lines = 0
        self._is_timed = False
        self._thread: threading.Thread | None = None
        # Guards what both threads touch: the queue, its size, whether it is closed or broken.
        self._ready = threading.Condition()
        self._queue: deque[bytes] = deque()
        self._waiting = 0
        self._is_closed = False
        self._is_broken = False

    def write(self, lines: Sequence[bytes]) -> None:
        """Add lines, each given without its newline."""
        if not lines:
            return
        buffer = self._buffer
        buffer += b"\n".join(lines)
        buffer += b"\n"
        self._lines += len(lines)
        if self._later is None or len(buffer) >= BATCH_BYTES:
            self.flush()
        elif not self._is_timed:
            self._is_timed = True
            self._later(BATCH_DELAY_S, self._timed_out)

    def write_now(self, line: bytes) -> None:
        """Hand one line over at once; may overtake lines that are still gathered."""
        self._hand_over(line + b"\n", 1)

    def flush(self) -> None:
        """Hand over what has been gathered; returns before it is written."""
        if self._buffer:
            batch, lines = bytes(self._buffer), self._lines
            self._buffer.clear()
            self._lines = 0
            self._hand_over(batch, lines)

    def close(self, timeout_s: float = 2.0) -> bool:
        """Flush and wait for the last byte; False if the reader did not take it in time. Later lines are dropped."""
        self.flush()
        with self._ready:
            self._is_closed = True
            self._ready.notify()
        if self._thread is None:
            return True
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _timed_out(self) -> None:
        self._is_timed = False
        self.flush()

    def _hand_over(self, batch: bytes, lines: int) -> None:
        with self._ready:
            if self._is_closed or self._is_broken or self._waiting + len(batch) > self._max_waiting:
                self.dropped += lines
                return
            self._queue.append(batch)
            self._waiting += len(batch)
            if self._thread is None:
                self._thread = threading.Thread(target=self._write_all, name="log-writer", daemon=True)
                self._thread.start()
            self._ready.notify()

    def _write_all(self) -> None:
        while True:
            with self._ready:
                while not self._queue and not self._is_closed:
                    self._ready.wait()
                if not self._queue:
                    return
                batch = self._queue.popleft()
            try:
                for piece in _pieces(batch, self._max_write):
                    self._write_patiently(piece)
            except (
                ConnectionError,
                ValueError,
            ):  # the pipe's reader has gone, or the file was closed: nobody is left to tell
                with self._ready:
                    self._is_broken = True
                    self._queue.clear()
            except OSError:  # a full disk has room again some day
                with self._ready:
                    self.dropped += batch.count(b"\n")
            with self._ready:
                self._waiting -= len(batch)

    def _write_patiently(self, batch: bytes) -> None:
        """Write and flush; a terminal that another program has made non-blocking is tried again."""
        while True:
            try:
                if batch:
                    self._stream.write(batch)
                    batch = b""
                self._stream.flush()
            except BlockingIOError as busy:
                batch = batch[busy.characters_written :]
                with self._ready:
                    self._ready.wait(BATCH_DELAY_S)
            else:
                return


def _pieces(batch: bytes, limit: int) -> Iterator[bytes]:
    """Whole lines of at most `limit` bytes together; a longer line is alone."""
    start, size = 0, len(batch)
    while size - start > limit:
        cut = batch.rfind(b"\n", start, start + limit) + 1 or batch.find(b"\n", start) + 1 or size
        yield batch[start:cut]
        start = cut
    yield batch[start:]
