"""Framing: the same frames whatever the cuts, byte for byte, bounded."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.domain.upstream import FailureKind, TransportFailure
from router.providers.sse import FrameSplitter, blocks, frames

LINE_ENDS = ["\n", "\r\n", "\r"]


def fed(stream: bytes, cuts: list[int]) -> tuple[list[bytes], bytes]:
    splitter = FrameSplitter()
    edges = [0, *sorted(cuts), len(stream)]
    out = [splitter.feed(stream[a:b]) for a, b in pairwise(edges) if b > a]
    return [piece for piece in out if piece], splitter.end()


def test_a_chunk_of_whole_frames_is_returned_as_the_same_object() -> None:
    chunk = b"data: 1\n\ndata: 2\n\n"
    assert FrameSplitter().feed(chunk) is chunk


def test_a_chunk_of_whole_crlf_frames_is_returned_as_the_same_object() -> None:
    chunk = b"data: 1\r\n\r\n"
    assert FrameSplitter().feed(chunk) is chunk


def test_an_incomplete_frame_is_held_until_its_blank_line() -> None:
    splitter = FrameSplitter()
    assert splitter.feed(b"data: 1\n\ndata: 2") == b"data: 1\n\n"
    assert splitter.tail == b"data: 2"
    assert splitter.feed(b"\n") == b""
    assert splitter.feed(b"\n") == b"data: 2\n\n"
    assert splitter.tail == b""


@pytest.mark.parametrize("end", LINE_ENDS)
def test_every_cut_gives_whole_frames_and_all_bytes(end: str) -> None:
    stream = f": c{end}{end}data: é{end}{end}event: x{end}data: 🌍{end}{end}".encode()
    for cut in range(len(stream) + 1):
        pieces, rest = fed(stream, [cut])
        assert b"".join(pieces) + rest == stream
        for piece in pieces:
            assert piece.endswith((end * 2).encode())


@pytest.mark.parametrize("end", LINE_ENDS)
def test_one_byte_at_a_time_gives_every_frame_by_itself(end: str) -> None:
    stream = "".join(f"data: {i}{end}{end}" for i in range(3)).encode()
    pieces, rest = fed(stream, list(range(len(stream))))
    assert b"".join(pieces) + rest == stream
    assert [f for p in [*pieces, rest] for f in frames(p)] == [(b"", b"0"), (b"", b"1"), (b"", b"2")]


def test_a_crlf_cut_in_the_middle_is_one_line_end() -> None:
    splitter = FrameSplitter()
    assert splitter.feed(b"data: a\r") == b""
    assert splitter.feed(b"\ndata: b\r\n\r") == b""
    assert splitter.feed(b"\n") == b"data: a\r\ndata: b\r\n\r\n"


def test_frames_separated_by_single_crs_leave_at_once() -> None:
    assert FrameSplitter().feed(b"data: a\r\r") == b"data: a\r\r"


@given(
    st.lists(st.sampled_from(["data: x", "data:y", ": c", "event: e", "", "é🌍"]), max_size=12),
    st.lists(st.sampled_from(LINE_ENDS), min_size=12, max_size=12),
    st.data(),
)
def test_any_lines_with_any_line_ends_survive_any_cuts(lines: list[str], ends: list[str], data: st.DataObject) -> None:
    stream = "".join(line + end for line, end in zip(lines, ends, strict=False)).encode()
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=8))
    pieces, rest = fed(stream, cuts)
    assert b"".join(pieces) + rest == stream
    whole, tail = fed(stream, [])
    assert [f for p in [*pieces, rest] for f in frames(p)] == [f for p in [*whole, tail] for f in frames(p)]


@given(st.binary(max_size=200), st.data())
def test_any_bytes_come_out_unchanged(stream: bytes, data: st.DataObject) -> None:
    splitter = FrameSplitter()
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=8))
    edges = [0, *sorted(cuts), len(stream)]
    out = b"".join(splitter.feed(stream[a:b]) for a, b in pairwise(edges))
    assert out + splitter.tail == stream
    list(frames(stream))
    assert b"".join(blocks(stream)) == stream


def test_an_event_over_the_cap_is_refused() -> None:
    splitter = FrameSplitter(max_event=100)
    splitter.feed(b"data: " + b"x" * 90)
    with pytest.raises(TransportFailure) as caught:
        splitter.feed(b"x" * 20)
    assert caught.value.kind is FailureKind.TOO_LARGE


def test_a_large_event_in_many_small_chunks_takes_linear_time() -> None:
    splitter = FrameSplitter()
    for _ in range(4000):
        assert splitter.feed(b"x" * 1460) == b""
    assert len(splitter.feed(b"\n\n")) == 4000 * 1460 + 2


@pytest.mark.parametrize(
    "tail", [b"data: [DONE]\n", b"data: [DONE]", b"data:[DONE]", b"data: 1\r\n", b'data: {"a":1}', b"\n"]
)
def test_a_whole_event_without_its_blank_line_passes_at_a_clean_end(tail: bytes) -> None:
    splitter = FrameSplitter()
    splitter.feed(b"data: 0\n\n")
    assert splitter.feed(tail) == b""
    assert splitter.end() == tail


@pytest.mark.parametrize("tail", [b'data: {"a":', b"dat", b"data: [DON", b"data: [DONE] said he"])
def test_a_tail_cut_inside_a_line_is_dropped_at_the_end(tail: bytes) -> None:
    splitter = FrameSplitter()
    splitter.feed(b"data: 0\n\n" + tail)
    assert splitter.end() == b""
    assert splitter.tail == b""


def test_frames_follow_the_whatwg_rules() -> None:
    block = b"\xef\xbb\xbfevent: a\ndata: 1\ndata:2\ndata:  3\nid: 9\n: no\n\nevent: empty\n\ndata\r\n\r\ndata: last"
    assert list(frames(block)) == [(b"a", b"1\n2\n 3"), (b"", b""), (b"", b"last")]
