"""What libraries say through `logging`, in the daemon's own lines: warnings and worse, repeats counted, not printed."""

import logging
import traceback

from router.domain.ports import Clock
from router.telemetry.logs import LogSink

REPEATS = 5
"""Lines of one kind that are written in one minute; the next minute's first says how many were not."""

_MINUTE_S = 60.0
_MAX_KINDS = 256


class LibraryLogs(logging.Handler):
    """A `logging` handler; `install` puts it in front of every logger of the process. Safe from any thread."""

    def __init__(self, sink: LogSink, clock: Clock) -> None:
        super().__init__(logging.WARNING)
        self._sink = sink
        self._clock = clock
        # Per kind of line: when its minute began, and how often it has come since.
        self._seen: dict[tuple[str, int, str], tuple[float, int]] = {}

    def install(self) -> None:
        """Become the only handler of the root logger; `warnings.warn` comes here too."""
        root = logging.getLogger()
        root.handlers[:] = [self]
        root.setLevel(logging.WARNING)
        logging.captureWarnings(capture=True)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            suppressed = self._suppressed(record)
            if suppressed is None:
                return
            fields: dict[str, object] = {"logger": record.name, "message": record.getMessage()}
            if suppressed:
                fields["suppressed"] = suppressed
            if record.exc_info and record.exc_info[1] is not None:
                fields["traceback"] = "".join(traceback.format_exception(record.exc_info[1]))
            self._sink.write_now("error" if record.levelno >= logging.ERROR else "warning", "library_log", fields)
        except Exception:  # noqa: BLE001  a library's broken log call must not break the library
            self.handleError(record)

    def _suppressed(self, record: logging.LogRecord) -> int | None:
        """None: do not write this one. Else how many of its kind were left out before it."""
        kind, now = (record.name, record.levelno, str(record.msg)), self._clock.monotonic()
        began, count = self._seen.get(kind, (now, 0))
        if now - began < _MINUTE_S:
            self._remember(kind, began, count + 1)
            return None if count >= REPEATS else 0
        self._remember(kind, now, 1)
        return max(count - REPEATS, 0)

    def _remember(self, kind: tuple[str, int, str], began: float, count: int) -> None:
        if kind not in self._seen and len(self._seen) >= _MAX_KINDS:
            self._seen.clear()
        self._seen[kind] = (began, count)
