"""The parser of answers: what it lets pass, what it refuses, and that neither depends on where the bytes were cut."""

from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from router.providers.http1.parser import AnswerParser
from tests.providers.hostile_wire import CHUNKED, OK, REFUSED

Seen = tuple[int, dict[str, str], bytes, bool, bool, bool]


def fed(pieces: list[bytes], *, bodiless: bool = False) -> tuple[Seen, str]:
    """What an answer in these pieces comes to, and the first complaint about it."""
    parser = AnswerParser()
    parser.expect(bodiless=bodiless)
    body, complaint = b"", ""
    for piece in pieces:
        complaint = parser.feed(piece)
        body += b"".join(parser.pieces)
        parser.pieces.clear()
        if complaint:
            break
    stays = parser.keeps_alive and not complaint
    headers = dict(parser.headers) if parser.status else {}
    return (parser.status, headers, body, parser.is_whole, stays, parser.ends_by_close), complaint


def cut(wire: bytes, places: list[int]) -> list[bytes]:
    ends = sorted({place % (len(wire) + 1) for place in places} | {0, len(wire)})
    return [wire[a:b] for a, b in pairwise(ends)]


@pytest.mark.parametrize(
    ("wire", "body", "stays"),
    [
        (OK + b"Content-Length: 2\r\n\r\nhi", b"hi", True),
        (OK + b"content-length: 0\r\n\r\n", b"", True),
        (CHUNKED + b"1\r\nh\r\n1;ext=1\r\ni\r\n0\r\nX-Trailer: 1\r\n\r\n", b"hi", True),
        (OK + b"Transfer-Encoding: CHUNKED\r\n\r\n2\r\nhi\r\n0\r\n\r\n", b"hi", True),
        (OK + b"Connection: close\r\nContent-Length: 2\r\n\r\nhi", b"hi", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi", b"hi", False),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nhi", b"hi", True),
        (b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nhi", b"hi", True),
        (b"HTTP/1.1 204 None\r\n\r\n", b"", True),
        (b"HTTP/1.1 304 Same\r\nContent-Length: 5\r\n\r\n", b"", True),
        (
            b"HTTP/1.1 100 Go\r\nX: 1\r\n\r\nHTTP/1.1 103 Hints\r\nContent-Length: 9\r\n\r\n"
            + CHUNKED
            + b"2\r\nhi\r\n0\r\n\r\n",
            b"hi",
            True,
        ),
        (OK + b"Connection: upgrade\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\nhi", b"hi", True),
    ],
)
def test_an_answer_is_whole_at_its_last_byte_and_not_before(wire: bytes, body: bytes, stays: bool) -> None:
    (_, headers, seen, is_whole, may_stay, _), complaint = fed([wire])
    assert (seen, is_whole, may_stay, complaint) == (body, True, stays, "")
    assert {"x", "x-trailer"}.isdisjoint(headers)
    assert fed([wire[:-1]])[0][3] is False


@pytest.mark.parametrize("wire", REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("size", [1, 7, 1 << 20])
def test_what_breaks_the_rules_is_refused_however_it_is_cut(wire: bytes, size: int) -> None:
    _, complaint = fed([wire[n : n + size] for n in range(0, len(wire), size)])
    assert complaint
    assert "\n" not in complaint


@pytest.mark.parametrize("rest", [b"X", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Late: 1\r\n\r\nlater", b"\0"])
@pytest.mark.parametrize("closes", [b"", b"Connection: close\r\n"])
def test_what_follows_an_answer_belongs_to_nobody_and_ends_the_connection(rest: bytes, closes: bytes) -> None:
    (status, headers, body, is_whole, stays, _), complaint = fed([OK + closes + b"Content-Length: 2\r\n\r\nhi" + rest])
    assert (status, body, is_whole, stays) == (200, b"hi", True, False)
    assert complaint
    assert "x-late" not in headers


def test_the_answer_to_head_ends_with_its_head_and_its_connection() -> None:
    (status, headers, body, is_whole, stays, _), _ = fed([OK + b"Content-Length: 5\r\n\r\n"], bodiless=True)
    assert (status, headers["content-length"], body, is_whole, stays) == (200, "5", b"", True, False)


def test_one_parser_serves_answer_after_answer() -> None:
    parser = AnswerParser()
    for number in range(50):
        parser.expect(bodiless=False)
        wire = CHUNKED + b"2\r\nhi\r\n0\r\n\r\n" if number % 2 else OK + b"X-N: %d\r\nContent-Length: 2\r\n\r\nhi" % number
        assert parser.feed(wire) == ""
        assert (b"".join(parser.pieces), parser.is_whole, parser.keeps_alive) == (b"hi", True, True)
        assert parser.headers.get("x-n") == (None if number % 2 else str(number))
        parser.pieces.clear()


def test_a_parser_that_was_stopped_reads_no_more() -> None:
    parser = AnswerParser()
    parser.stop()
    assert parser.feed(OK)
    assert parser.status == 0


def test_header_values_are_text_without_the_spaces_around_them() -> None:
    (_, headers, *_), _ = fed([OK + b"A:   b c \t\r\nB:\r\nC: \xe9\xff\r\nContent-Length: 0\r\n\r\n"])
    assert (headers["a"], headers["b"], headers["c"]) == ("b c", "", "\xe9\xff")


TOKENS = st.text("abcXYZ-_.!", min_size=1, max_size=12).map(lambda name: f"x-{name}".encode())
VALUES = st.text('azAZ09 ,;=/"', max_size=30).map(str.encode)
CHUNKS = st.lists(st.binary(min_size=1, max_size=40), max_size=5)


@st.composite
def answers(draw: st.DrawFn) -> bytes:
    """Sound answers, framed in each of the three ways, with or without interim ones before."""
    interim = b"HTTP/1.1 100 Go\r\n\r\n" * draw(st.integers(0, 2))
    status = draw(st.sampled_from([b"200 OK", b"429 Slow down", b"500", b"404 \xe9"]))
    headers = b"".join(b"%b: %b\r\n" % line for line in draw(st.lists(st.tuples(TOKENS, VALUES), max_size=5)))
    chunks = draw(CHUNKS)
    head = interim + b"HTTP/1.1 " + status + b"\r\n" + headers
    framing = draw(st.sampled_from("length chunks close".split()))
    if framing == "length":
        return head + b"Content-Length: %d\r\n\r\n" % len(b"".join(chunks)) + b"".join(chunks)
    if framing == "close":
        return head + b"\r\n" + b"".join(chunks)
    body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    return head + b"Transfer-Encoding: chunked\r\n\r\n" + body + b"0\r\n\r\n"


@settings(max_examples=300, deadline=None)
@given(answers(), st.lists(st.integers(0, 2000), max_size=30))
def test_where_a_sound_answer_is_cut_makes_no_difference(wire: bytes, places: list[int]) -> None:
    whole = fed([wire])
    assert whole[1] == ""
    assert fed(cut(wire, places)) == whole
    assert fed([wire[n : n + 1] for n in range(len(wire))]) == whole


@settings(max_examples=500, deadline=None)
@given(answers(), st.integers(0, 5000), st.binary(max_size=12), st.lists(st.integers(0, 5000), max_size=8))
@example(OK, 0, b"", [])
def test_damage_is_refused_or_read_but_never_raises_and_never_depends_on_the_cuts(
    wire: bytes, place: int, damage: bytes, places: list[int]
) -> None:
    at = place % (len(wire) + 1)
    damaged = wire[:at] + damage + wire[at + len(damage) :]
    whole, cut_up = fed([damaged]), fed(cut(damaged, places))
    assert whole[0] == cut_up[0]
    assert bool(whole[1]) == bool(cut_up[1])


@settings(max_examples=500, deadline=None)
@given(st.lists(st.binary(max_size=200), max_size=6))
def test_noise_never_raises(pieces: list[bytes]) -> None:
    fed(pieces)
    fed([OK, *pieces])
    fed([CHUNKED, *pieces])
