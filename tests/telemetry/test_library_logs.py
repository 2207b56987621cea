"""What libraries log comes out as our lines, and a library that repeats itself is counted."""

import logging
from collections.abc import Iterator

import msgspec
import pytest

from router.telemetry.library_logs import REPEATS, LibraryLogs
from router.telemetry.lines import LineWriter
from router.telemetry.logs import LogSink
from router.telemetry.redaction import Redactor
from tests.gateway.fakes import FakeClock
from tests.telemetry.entries import Memory, Timer


class Bridge:
    def __init__(self) -> None:
        self.clock, self.stream = FakeClock(), Memory()
        self.writer = LineWriter(self.stream, Timer())
        self.handler = LibraryLogs(LogSink(self.clock, self.writer, Redactor()), self.clock)
        self.logger = logging.Logger("aiohttp.server")  # noqa: LOG001  one that no other test shares
        self.logger.addHandler(self.handler)

    def lines(self) -> list[dict[str, object]]:
        assert self.writer.close()
        return [msgspec.json.decode(line) for line in self.stream.taken.splitlines()]


@pytest.fixture
def bridge() -> Bridge:
    return Bridge()


def test_a_warning_becomes_a_line_and_chatter_does_not(bridge: Bridge) -> None:
    bridge.logger.info("served %s", "x")
    bridge.logger.warning("slow %s", "callback")
    (line,) = bridge.lines()
    assert {name: line[name] for name in ("level", "event", "logger", "message")} == {
        "level": "warning",
        "event": "library_log",
        "logger": "aiohttp.server",
        "message": "slow callback",
    }


def test_an_error_brings_its_traceback_without_its_secrets(bridge: Bridge) -> None:
    try:
        raise ValueError("key sk-demo.my-secret refused")
    except ValueError:
        bridge.logger.exception("Error handling request")
    (line,) = bridge.lines()
    assert line["level"] == "error"
    assert str(line["traceback"]).endswith("ValueError: key sk-demo.*** refused\n")


def test_repeats_are_counted_and_told_a_minute_later(bridge: Bridge) -> None:
    for n in range(500):
        bridge.logger.warning("cookie %d is bad", n)
    bridge.logger.warning("something else")
    bridge.clock.pass_(60)
    bridge.logger.warning("cookie %d is bad", 500)
    lines = bridge.lines()
    written = [f"cookie {n} is bad" for n in range(REPEATS)]
    assert [line["message"] for line in lines] == [*written, "something else", "cookie 500 is bad"]
    assert lines[-1]["suppressed"] == 500 - REPEATS


def test_a_flood_of_different_lines_does_not_grow_the_memory_of_them(bridge: Bridge) -> None:
    for n in range(5000):
        bridge.logger.warning(f"unique {n}")  # noqa: G004  what a careless library does
    assert len(bridge.handler._seen) <= 256


def test_a_malformed_log_call_harms_nobody(bridge: Bridge, capsys: pytest.CaptureFixture[str]) -> None:
    bridge.logger.warning("%d apples", "three")
    assert bridge.lines() == []
    assert "three" in capsys.readouterr().err


@pytest.fixture
def root_logger() -> Iterator[logging.Logger]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield root
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)


def test_installed_it_hears_every_logger(bridge: Bridge, root_logger: logging.Logger) -> None:
    bridge.handler.install()
    logging.getLogger("asyncio").warning("Executing took too long")
    root_logger.handlers[:] = []
    assert [line["logger"] for line in bridge.lines()] == ["asyncio"]
