"""Damaged answers and plain noise on one connection: every answer comes to an end, every connection is free or gone, and
where the bytes were cut on their way makes no difference."""

from collections.abc import Iterable
from itertools import pairwise

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from router.domain.routes import Timeouts
from router.domain.upstream import FailureKind
from tests.providers.hostile_wire import CHUNKED, OK
from tests.providers.sockets import Wire, calling, outcome

WHOLE = OK + b"Content-Length: 3\r\n\r\nabc"
FUZZ = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
ANSWERS = [WHOLE, CHUNKED + b"3\r\nabc\r\n2\r\nde\r\n0\r\nX: 1\r\n\r\n", OK + b"\r\nabc", b"HTTP/1.1 100 Go\r\n\r\n" + WHOLE]


@FUZZ
@given(
    wire=st.sampled_from(ANSWERS),
    places=st.lists(st.integers(0, 120), max_size=6),
    damage=st.tuples(st.integers(0, 120), st.binary(max_size=4)),
    ends=st.booleans(),
)
async def test_any_answer_damaged_anyhow_comes_to_an_end_and_to_nothing_but_a_failure(
    wire: bytes, places: list[int], damage: tuple[int, bytes], ends: bool
) -> None:
    at, noise = damage[0] % (len(wire) + 1), damage[1]
    wire = wire[:at] + noise + wire[at + len(noise) :]
    cuts = sorted({place % (len(wire) + 1) for place in places} | {0, len(wire)})
    w = Wire(calling(timeouts=Timeouts(first_byte=0.01, idle=0.01)))
    w.hears(*[wire[a:b] for a, b in pairwise(cuts)])
    if ends:
        w.ends()
    await outcome(w.answer)
    # Kept and free, or gone: never both, never neither.
    assert (w.connection.is_open, w.socket.is_aborted) in {(True, False), (False, True)}
    assert len(w.owner.gone) == w.socket.is_aborted
    w.connection.drop()
    assert w.connection._timer is None


@FUZZ
@given(st.lists(st.binary(max_size=100), max_size=4), st.booleans())
async def test_noise_comes_to_an_end(pieces: list[bytes], ends: bool) -> None:
    w = Wire(calling(timeouts=Timeouts(first_byte=0.005, idle=0.005)))
    w.hears(*pieces)
    if ends:
        w.ends()
    assert (await outcome(w.answer))[2] is not None
    assert w.socket.is_aborted
    assert w.connection._timer is None


@FUZZ
@given(st.sampled_from(ANSWERS), st.integers(0, 120))
async def test_a_connection_that_breaks_anywhere_is_a_reset_unless_all_was_said(wire: bytes, place: int) -> None:
    at = place % (len(wire) + 1)
    w = Wire()
    w.hears(wire[:at])
    w.ends()
    status, body, kind = await outcome(w.answer)
    by_close = wire == ANSWERS[2]
    is_whole = at >= wire.index(b"\r\n\r\n") + 4 if by_close else at == len(wire)
    assert kind is (None if is_whole else FailureKind.RESET)
    assert (status, body) == (200, body) if is_whole else status in {0, 200}
    assert b"abcde".startswith(body)


# What answers are made of, right and wrong, in any order.
FRAGMENTS = [
    OK,
    b"HTTP/1.1 ",
    b"HTTP/1.0 200 OK\r\n",
    b"HTTP/1.1 100 Go\r\n\r\n",
    b"HTTP/1.1 204 None\r\n",
    b"HTTP/1.1 101 Switch\r\nUpgrade: x\r\n",
    b"Content-Length: 3\r\n",
    b"Content-Length: 0\r\n",
    b"Content-Length: -1\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"transfer-encoding:\tCHUNKED \r\n",
    b"Connection: close\r\n",
    b"Connection: upgrade\r\n",
    b"X: y\r\n",
    b"X : y\r\n",
    b" folded\r\n",
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b"abc",
    b"3\r\nabc\r\n",
    b"3;x=y\r\nabc\r\n",
    b"ffffffffffffffff\r\n",
    b"0\r\n\r\n",
    b"0\r\nX: y\r\n\r\n",
    WHOLE,
]


async def played(pieces: Iterable[bytes]) -> tuple[tuple[int, bytes, FailureKind | None], bool]:
    """What comes of these bytes and the end of the connection; and whether it was free for another request before that."""
    w = Wire()
    w.hears(*pieces)
    was_free = w.connection.is_open and w.owner.free == [w.connection]
    w.ends()
    found = await outcome(w.answer)
    assert w.connection._timer is None
    assert w.owner.gone == [w.connection]
    return found, was_free


@FUZZ
@given(
    st.lists(st.one_of(st.sampled_from(FRAGMENTS), st.binary(max_size=8)), max_size=12),
    st.lists(st.integers(0, 400), max_size=8),
)
async def test_where_the_bytes_are_cut_makes_no_difference(fragments: list[bytes], places: list[int]) -> None:
    wire = b"".join(fragments)
    cuts = sorted({place % (len(wire) + 1) for place in places} | {0, len(wire)})
    found, was_free = await played([wire] if wire else [])
    for pieces in ([wire[a:b] for a, b in pairwise(cuts)], [wire[at : at + 1] for at in range(len(wire))]):
        again, is_free = await played(pieces)
        assert again == found
        # Empty lines behind an answer end the connection only where they come by themselves.
        assert was_free or not is_free


# llhttp reads over empty lines between two answers.
JUNK = st.binary(min_size=1, max_size=40).filter(lambda junk: junk.strip(b"\r\n") != b"")


@FUZZ
@given(st.sampled_from([wire for wire in ANSWERS if wire != OK + b"\r\nabc"]), JUNK, st.data())
async def test_junk_behind_an_answer_leaves_it_sound_and_ends_the_connection(
    wire: bytes, junk: bytes, data: st.DataObject
) -> None:
    places = data.draw(st.lists(st.integers(0, len(wire + junk)), max_size=6))
    cuts = sorted({*places, 0, len(wire + junk)})
    found, was_free = await played((wire + junk)[a:b] for a, b in pairwise(cuts))
    assert found[0] == 200
    assert found[2] is None
    assert not was_free
