"""Lines of one of several workers that write to the same place: each says whose it is."""

from collections.abc import Sequence

from router.telemetry.lines import LineWriter


class WorkerLines:
    """Implements telemetry.lines.Lines: adds `worker` to JSON lines as their last member, to text lines at their end."""

    def __init__(self, writer: LineWriter, worker: int) -> None:
        self._writer = writer
        self._member = b',"worker":%d}' % worker
        self._word = b" worker=%d" % worker

    def write(self, lines: Sequence[bytes]) -> None:
        self._writer.write([self._signed(line) for line in lines])

    def write_now(self, line: bytes) -> None:
        self._writer.write_now(self._signed(line))

    def _signed(self, line: bytes) -> bytes:
        if line.startswith(b"{"):
            return line[:-1] + self._member
        head, newline, traceback = line.partition(b"\n")
        return head + self._word + newline + traceback
