"""Lines leave in batches, in order, and a reader that is slow or gone harms nobody but the log."""

from router.telemetry.lines import BATCH_BYTES, BATCH_DELAY_S, LineWriter
from tests.telemetry.entries import HungUp, Memory, Stalled, Timer


def test_lines_wait_for_the_timer_and_leave_as_one_batch() -> None:
    stream, timer = Memory(), Timer()
    writer = LineWriter(stream, timer)
    for n in range(50):
        writer.write([b"line %d" % n])
    assert [delay for delay, _ in timer.asked] == [BATCH_DELAY_S]
    assert stream.taken == b""
    timer.fire()
    assert stream.wrote.wait(5)
    assert (len(stream.lines), stream.batches) == (50, 1)
    writer.write([b"next"])
    assert len(timer.asked) == 1
    assert writer.close()
    assert stream.lines[-1] == "next"


def test_a_full_batch_does_not_wait_for_the_timer() -> None:
    stream, timer = Memory(), Timer()
    writer = LineWriter(stream, timer)
    for _ in range(BATCH_BYTES // 1000 + 1):
        writer.write([b"x" * 1000])
    assert stream.wrote.wait(5)
    assert writer.close()


def test_without_a_timer_every_line_leaves_at_once() -> None:
    stream = Memory()
    writer = LineWriter(stream)
    writer.write([b"one"])
    assert stream.wrote.wait(5)
    assert stream.taken == b"one\n"
    assert writer.close()


def test_closing_writes_what_is_left_in_order_and_drops_what_comes_later() -> None:
    stream = Memory()
    writer = LineWriter(stream, Timer())
    for n in range(1000):
        writer.write([b"%d" % n])
    assert writer.close()
    writer.write([b"late"])
    writer.flush()
    assert stream.lines == [str(n) for n in range(1000)]
    assert writer.dropped == 1


def test_a_reader_that_does_not_read_costs_lines_not_memory_and_not_the_caller() -> None:
    stream = Stalled()
    writer = LineWriter(stream, max_waiting=10_000)
    writer.write([b"first"])
    assert stream.called.wait(5)
    for _ in range(1000):
        writer.write([b"x" * 99])
    assert writer.dropped > 850
    assert not writer.close(timeout_s=0.01)
    stream.reading.set()
    assert writer.close()
    assert len(stream.lines) == 1001 - writer.dropped


def test_a_reader_that_has_gone_ends_the_writing_without_an_error() -> None:
    stream = HungUp()
    writer = LineWriter(stream)
    writer.write([b"one"])
    assert stream.wrote.wait(5)
    assert writer.close()
    assert stream.taken == b""


class Busy(Memory):
    """A terminal made non-blocking by another program: takes three bytes, then asks to be tried again."""

    def __init__(self) -> None:
        super().__init__()
        self.refusals = 2

    def write(self, chunk: bytes, /) -> int:
        if self.refusals:
            self.refusals -= 1
            self.taken += chunk[:3]
            raise BlockingIOError(11, "try again", 3)
        return super().write(chunk)


def test_a_busy_terminal_gets_every_byte_once() -> None:
    stream = Busy()
    writer = LineWriter(stream)
    writer.write([b"0123456789"])
    assert stream.wrote.wait(5)
    assert stream.taken == b"0123456789\n"
    assert writer.close()


async def test_writing_and_flushing_do_not_block_the_event_loop() -> None:
    stream, timer = Memory(), Timer()
    writer = LineWriter(stream, timer)
    writer.write([b"one"])
    timer.fire()
    writer.write_now(b"two")
    assert stream.wrote.wait(5)
