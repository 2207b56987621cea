"""Every caller over every target whose stream goes wrong: the right answer or an error, never a false end, never a crash."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.domain.chat import Text
from router.domain.errors import GatewayError
from router.domain.events import Broken, Started
from router.domain.flow import pieces_of
from router.domain.folding import folded
from router.domain.requests import SAID_IN, Api, ModelRequest, parse_request
from router.domain.routes import Credential, ProviderSpec
from router.domain.upstream import FailureKind, TransportFailure
from router.providers.codec import StreamDecoder, TargetSide
from router.providers.registry import bind
from router.providers.sse import blocks
from router.providers.translated import Translated
from tests.gateway.fakes import Scripted, ScriptedTransport
from tests.gateway.spoken_streams import SPOKEN, TEXT, cut
from tests.gateway.table import Table, alias

CALLERS = (Api.CHAT, Api.MESSAGES, Api.RESPONSES)
LANES = [(caller, target) for caller in CALLERS for target in SAID_IN[caller]]
ASKED: dict[Api, dict[str, Any]] = {
    Api.CHAT: {"messages": [{"role": "user", "content": "hello"}]},
    Api.MESSAGES: {"max_tokens": 50, "messages": [{"role": "user", "content": "hello"}]},
    Api.RESPONSES: {"input": "hello", "store": False},
}
every_lane = pytest.mark.parametrize(("caller", "target"), LANES, ids=[f"{c.value}-{t.value}" for c, t in LANES])


def spec_of(caller: Api, target: Api) -> ProviderSpec:
    known = (Credential("p#1", "key-of-p"),)
    return ProviderSpec(
        "p", SPOKEN[target].provider_type, "http://p.test", known, apis=frozenset({target}), translates=frozenset({caller})
    )


def lane(caller: Api, target: Api) -> Translated:
    found = bind(spec_of(caller, target), ScriptedTransport()).lanes[caller].translated
    assert isinstance(found, Translated)
    return found


def asking(caller: Api) -> ModelRequest:
    return parse_request(caller, msgspec.json.encode({"model": "a", "stream": True} | ASKED[caller]))


class Heard(msgspec.Struct):
    """What a caller has of a stream: its text, whether it looks finished, and how it ended.

    Where the provider has told how the answer ended, it is whole, though what should follow is missing: then both are right.
    """

    text: str
    is_finished: bool
    error: str


async def heard(caller: Api, target: Api, pieces: Sequence[bytes | Exception]) -> Heard:
    """Through the whole gateway, and read as the caller's own client would."""
    script = Scripted(pieces=list(pieces), headers={"content-type": SPOKEN[target].media_type})
    table = Table(alias("a", "p", max_attempts=1), providers=[spec_of(caller, target)], p=[script])
    came: list[bytes] = []
    error = ""
    try:
        async with table.open(asking(caller)) as got:
            if got.frames is None:
                return Heard("", False, f"status {got.status}")
            async for piece in pieces_of(got.frames):
                came.append(piece)  # noqa: PERF401  what came before an error counts
    except GatewayError as failure:
        error = failure.code
    if table.outcomes != ["ok"]:
        error = error or table.outcomes[0]
    return _read(caller, b"".join(came), error)


def _read(caller: Api, stream: bytes, error: str) -> Heard:
    decoder = lane(_other(caller), caller).target.stream_decoder()
    events = [event for block in blocks(stream) for event in decoder.feed(block)]
    is_finished = decoder.finished and not any(isinstance(event, Broken) for event in events)
    if not any(isinstance(event, Started) for event in events):
        return Heard("", is_finished, error)
    events += decoder.close() if decoder.finished else ()
    parts = [part for choice in folded(events).choices for part in choice.parts]
    return Heard("".join(part.text for part in parts if isinstance(part, Text)), is_finished, error)


def _other(api: Api) -> Api:
    return Api.CHAT if api is not Api.CHAT else Api.MESSAGES


# -- nothing is wrong -------------------------------------------------------------------------------------------------


@every_lane
@pytest.mark.parametrize("size", [1, 3, 7, 64, 10**6])
async def test_an_answer_comes_over_whole_however_it_is_cut(caller: Api, target: Api, size: int) -> None:
    stream = b"".join(SPOKEN[target].frames)
    assert await heard(caller, target, cut(stream, size)) == Heard(TEXT, True, "")


@pytest.mark.parametrize(("caller", "target"), [lane for lane in LANES if lane[1] is not Api.CONVERSE])
async def test_line_ends_of_other_systems_change_nothing(caller: Api, target: Api) -> None:
    stream = b"".join(SPOKEN[target].frames).replace(b"\n", b"\r\n")
    for size in (1, 5, 10**6):
        assert await heard(caller, target, cut(stream, size)) == Heard(TEXT, True, "")


@every_lane
async def test_events_of_unknown_types_change_nothing(caller: Api, target: Api) -> None:
    spoken = SPOKEN[target]
    for unknown in spoken.unknown:
        for at in range(1, len(spoken.frames)):
            told = (*spoken.frames[:at], unknown, *spoken.frames[at:])
            assert await heard(caller, target, told) == Heard(TEXT, True, ""), (at, unknown)


@every_lane
async def test_blocks_of_unknown_content_are_no_crash_and_take_no_text_away(caller: Api, target: Api) -> None:
    spoken = SPOKEN[target]
    for at in range(1, spoken.ends):
        got = await heard(caller, target, (*spoken.frames[:at], *spoken.block, *spoken.frames[at:]))
        assert got.error or (got.text, got.is_finished) == (TEXT, True), at


# -- something is wrong -----------------------------------------------------------------------------------------------


@every_lane
async def test_a_stream_that_is_cut_between_frames_is_an_error_until_it_is_whole(caller: Api, target: Api) -> None:
    spoken = SPOKEN[target]
    for count in range(len(spoken.frames)):
        got = await heard(caller, target, spoken.frames[:count])
        assert bool(got.error) is (count < spoken.ends), count
        assert got.text == TEXT or not got.is_finished, count


@every_lane
async def test_a_stream_that_is_cut_anywhere_is_never_a_false_end(caller: Api, target: Api) -> None:
    stream = b"".join(SPOKEN[target].frames)
    for size in range(1, len(stream), 37):
        got = await heard(caller, target, [stream[:size]])
        assert got.error or (got.text, got.is_finished) == (TEXT, True), size
        assert got.text == TEXT or not got.is_finished, size


@every_lane
async def test_a_connection_that_breaks_is_an_error(caller: Api, target: Api) -> None:
    spoken = SPOKEN[target]
    for count in range(1, spoken.ends):
        script: list[bytes | Exception] = [*spoken.frames[:count], TransportFailure(FailureKind.RESET)]
        got = await heard(caller, target, script)
        assert got.error and (got.text == TEXT or not got.is_finished)


@every_lane
async def test_the_providers_own_error_event_ends_it(caller: Api, target: Api) -> None:
    spoken = SPOKEN[target]
    for at in range(1, spoken.ends):
        got = await heard(caller, target, (*spoken.frames[:at], spoken.error, *spoken.frames[at:]))
        assert got.error and (got.text == TEXT or not got.is_finished), at


@every_lane
async def test_a_stream_that_begins_with_an_error_is_an_answer_with_a_status(caller: Api, target: Api) -> None:
    got = await heard(caller, target, (SPOKEN[target].error,))
    assert got.error and not got.text and not got.is_finished


@every_lane
async def test_a_frame_that_is_none_ends_it(caller: Api, target: Api) -> None:
    spoken = SPOKEN[target]
    for noise in spoken.noise:
        for at in (2, spoken.ends - 1):
            got = await heard(caller, target, (*spoken.frames[:at], noise, *spoken.frames[at:]))
            assert got.error and (got.text == TEXT or not got.is_finished), (at, noise)


# -- anything may come ------------------------------------------------------------------------------------------------


@st.composite
def spoilt(draw: st.DrawFn, target: Api) -> list[bytes]:
    """The frames of an answer, some of them changed: bytes, order, number."""
    spoken = SPOKEN[target]
    pool = [*spoken.frames, *spoken.unknown, *spoken.block, spoken.error, *spoken.noise]
    frames = draw(st.lists(st.sampled_from(pool), max_size=3)) + list(spoken.frames)
    if draw(st.booleans()):
        frames = draw(st.permutations(frames))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(frames) - 1))
        frame = bytearray(frames[at])
        place = draw(st.integers(0, max(0, len(frame) - 1)))
        match draw(st.sampled_from(["flip", "cut", "drop", "twice", "swap"])):
            case "flip" if frame:
                frame[place] = draw(st.integers(0, 255))
            case "cut":
                del frame[place:]
            case "drop":
                frame.clear()
            case "twice":
                frame.extend(bytes(frame))
            case _:
                for old, new in ((b'"index": 0', b'"index": 7'), (b'"text"', b'"tool_use"'), (b":", b": null,")):
                    if draw(st.booleans()):
                        frame = bytearray(bytes(frame).replace(old, new, 1))
        frames[at] = bytes(frame)
    return [frame for frame in frames if frame]


@pytest.mark.parametrize("target", sorted(SPOKEN))
@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_a_decoder_says_only_that_a_frame_is_none(target: Api, data: st.DataObject) -> None:
    caller = _other(target)
    side: TargetSide = lane(caller, target).target
    decoder: StreamDecoder = side.stream_decoder()
    try:
        for frame in data.draw(spoilt(target)):
            decoder.feed(frame)
        decoder.close()
    except ValueError:
        return


@every_lane
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_whatever_a_decoder_makes_of_it_can_be_told_to_the_caller(caller: Api, target: Api, data: st.DataObject) -> None:
    found = lane(caller, target)
    translation = found.translation(asking(caller), "m", "p/m")
    meter, splitter = translation.meter(1), found.framing.splitter()
    try:
        for frame in data.draw(spoilt(target)):
            meter.feed(splitter.feed(frame))
        meter.feed(splitter.end())
        meter.close()
    except (TransportFailure, ValueError):
        return
