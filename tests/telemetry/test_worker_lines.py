"""A line of one of several workers says whose it is, and no write of theirs tears another's line."""

import json

from router.telemetry.lines import LineWriter
from router.telemetry.logs import LogSink
from router.telemetry.redaction import Redactor
from router.telemetry.worker_lines import WorkerLines
from tests.gateway.fakes import FakeClock
from tests.telemetry.entries import Memory


class Writes(Memory):
    """Remembers each write."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []

    def write(self, chunk: bytes, /) -> int:
        self.writes.append(chunk)
        return super().write(chunk)


def logged(log_format: str, traceback: str = "") -> str:
    stream = Memory()
    writer = LineWriter(stream)
    sink = LogSink(FakeClock(), WorkerLines(writer, 7), Redactor(), log_format=log_format)
    sink.write_now("info", "started", {"message": "hello"} | ({"traceback": traceback} if traceback else {}))
    assert writer.close()
    return stream.taken.decode()


def test_a_json_line_has_the_worker_s_number() -> None:
    entry = json.loads(logged("json"))
    assert (entry["message"], entry["worker"]) == ("hello", 7)


def test_a_text_line_has_it_before_the_traceback() -> None:
    head, *below = logged("text", "one\ntwo").splitlines()
    assert head.endswith("message=hello worker=7")
    assert [line.strip() for line in below] == ["one", "two"]


def test_writes_are_whole_lines_and_no_larger_than_may_stay_in_one_piece() -> None:
    stream = Writes()
    writer = LineWriter(stream, lambda _, __: None, max_write=100)
    lines = [b"x" * size for size in (30, 30, 30, 99, 100, 250, 1, 98, 0, 40)]
    for line in lines:
        writer.write([line])
    assert writer.close()
    assert stream.taken == b"".join(line + b"\n" for line in lines)
    assert all(piece.endswith(b"\n") for piece in stream.writes)
    assert {len(piece) for piece in stream.writes if len(piece) > 100} == {101, 251}
    assert all(piece.count(b"\n") == 1 for piece in stream.writes if len(piece) > 100)
