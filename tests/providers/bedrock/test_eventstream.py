"""AWS's binary event stream: cut anywhere it reads the same, botocore reads the same, and what was damaged is found out."""

from contextlib import suppress
from datetime import UTC, datetime
from struct import pack
from typing import Any
from uuid import UUID
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.domain.upstream import FailureKind, TransportFailure
from router.providers.bedrock.eventstream import (
    MAX_MESSAGE_BYTES,
    Message,
    MessageSplitter,
    count_messages,
    messages,
    parse_message,
)
from tests.providers.bedrock.event_writer import event, message
from tests.providers.bedrock.recordings import streams

EVERY_TYPE: dict[str, Any] = {
    "yes": True,
    "no": False,
    "byte": (2, -7),
    "short": (3, -3000),
    "int": (4, 2**31 - 1),
    "long": (5, -(2**63)),
    "bytes": b"\0\xff",
    "text": "grün",
    "time": datetime(2026, 11, 21, 8, 5, 1, 250_000, tzinfo=UTC),
    "uuid": UUID(int=2**127 + 1),
}


def cut(stream: bytes, size: int) -> list[bytes]:
    splitter = MessageSplitter()
    whole = [splitter.feed(stream[at : at + size]) for at in range(0, len(stream), size)]
    return [one for block in whole for one in messages(block)]


def parsed(stream: bytes, size: int) -> list[Message]:
    return [parse_message(one) for one in cut(stream, size)]


def test_every_type_of_header_is_read() -> None:
    told = parse_message(message(EVERY_TYPE, b"payload"))
    assert told.payload == b"payload"
    assert told.headers == {name: value[1] if isinstance(value, tuple) else value for name, value in EVERY_TYPE.items()}


def test_a_stream_reads_the_same_however_it_is_cut() -> None:
    stream = event("messageStart", {"role": "assistant"}) + message(EVERY_TYPE, b"x" * 300) + message({}, b"")
    whole = cut(stream, len(stream))
    assert len(whole) == count_messages(stream) == 3
    for size in range(1, len(stream)):
        assert cut(stream, size) == whole
    for at in range(len(stream)):
        splitter = MessageSplitter()
        assert splitter.feed(stream[:at]) + splitter.feed(stream[at:]) == stream


def test_short_recorded_streams_read_the_same_cut_in_two_anywhere() -> None:
    short = [recording.body for recording in streams() if len(recording.body) <= 4096]
    assert short
    for stream in short:
        for at in range(1, len(stream)):
            splitter = MessageSplitter()
            assert splitter.feed(stream[:at]) + splitter.feed(stream[at:]) == stream


def test_recorded_streams_read_the_same_however_they_are_cut() -> None:
    for recording in streams():
        whole = [parse_message(one) for one in messages(recording.body)]
        for size in (1, 2, 3, 7, 64, 1460):
            assert [parse_message(one) for one in cut(recording.body, size)] == whole, recording.name


def test_botocore_reads_the_same_in_every_recorded_stream() -> None:
    eventstream = pytest.importorskip("botocore.eventstream", reason="botocore is the reference, and is not installed")
    for recording in streams():
        buffer = eventstream.EventStreamBuffer()
        buffer.add_data(recording.body)
        expected = [(told.headers, told.payload) for told in buffer]
        assert [tuple(parse_message(one)) for one in cut(recording.body, 7)] == expected, recording.name


def test_a_bit_that_was_turned_anywhere_is_found_out() -> None:
    sound = event("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "The light is on."}})
    for at in range(len(sound)):
        damaged = bytearray(sound)
        damaged[at] ^= 0x10
        with pytest.raises((ValueError, TransportFailure)):
            parsed(bytes(damaged) + sound, 64)


def test_a_length_that_cannot_be_is_refused_before_it_is_waited_for() -> None:
    with pytest.raises(TransportFailure) as failure:
        MessageSplitter().feed(b"HTTP/1.1 200 OK\r\n")
    assert failure.value.kind is FailureKind.PROTOCOL
    vast = message({}, b"x" * (MAX_MESSAGE_BYTES + 1))
    with pytest.raises(TransportFailure) as failure:
        MessageSplitter().feed(vast[:64])
    assert failure.value.kind is FailureKind.TOO_LARGE


def test_a_header_that_occurs_twice_is_refused() -> None:
    once = message({"a": "1"}, b"")
    header = once[12:-4]
    with pytest.raises(ValueError, match="twice"):
        parse_message(_with_headers(header * 2))


def test_a_message_that_was_cut_is_thrown_away_at_the_end() -> None:
    splitter = MessageSplitter()
    whole = event("messageStart", {})
    assert splitter.feed(whole + whole[:9]) == whole
    assert splitter.end() == b""


@given(st.binary(max_size=64))
def test_noise_gives_only_clean_errors(noise: bytes) -> None:
    for raw in (noise, _with_headers(noise)):
        with suppress(ValueError, TransportFailure):
            parsed(raw, 5)


def _with_headers(head: bytes) -> bytes:
    """A message of sound checksums with these bytes as headers."""
    prelude = pack(">II", len(head) + 16, len(head))
    whole = prelude + pack(">I", crc32(prelude)) + head
    return whole + pack(">I", crc32(whole))
