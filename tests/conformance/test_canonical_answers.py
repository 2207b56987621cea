"""Every recorded chat, of whatever provider: read without loss however it is cut, and told to each of the three callers.

What an answer says is read plainly (plain_reading.py) from the recording and from what each caller gets, and compared.
"""

import json
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from math import ceil
from typing import Any

import pytest

from router.domain.chat import ChatResult
from router.domain.events import Broken
from router.domain.folding import folded, unfolded
from router.domain.requests import Api
from router.domain.usage import Price, Usage
from router.providers.translated import TranslatedMeter
from tests.conformance.callers import AT, CALLERS, Caller
from tests.conformance.every import Recording, chats, events_of, every, frames_of, recording
from tests.conformance.expected import Counts, Json
from tests.conformance.plain_reading import read
from tests.conformance.recordings import ABSENT, BEYOND_SDKS
from tests.conformance.said import FILTERED, OTHER, STOP, TOOLS, Answer, Said, same_arguments
from tests.conformance.sdks import put_together

NONE = pytest.param("", marks=pytest.mark.skip(reason=ABSENT))
ANSWERED: list[Any] = [name for name in chats() if recording(name).status < 300] or [NONE]
STREAMS: list[Any] = [name for name in chats() if recording(name).status < 300 and recording(name).is_stream] or [NONE]
SIZES = (1, 2, 3, 7, 64, 1460)
FEW_SIZES = (1, 7, 1460)
MANY_BYTES = 1 << 16
PRICE = Price(
    input=1_000_003,
    output=3_000_017,
    cached_input=100_003,
    cache_write=1_250_003,
    reasoning=5_000_011,
    audio_input=7_000_003,
    audio_output=11_000_003,
)


def result_of(of: Recording) -> tuple[ChatResult, bool]:
    """(what the recording says, whether it ends as its dialect does)."""
    if not of.is_stream:
        return of.tongue.target.decode_result(of.body), True
    events, finished = events_of(of)
    return folded(events), finished and not any(isinstance(event, Broken) for event in events)


@lru_cache(maxsize=1)
def whole_frames(of: Recording) -> list[bytes]:
    return frames_of(of, ())


@pytest.mark.parametrize("recorded", STREAMS, ids=str)
def test_no_cut_changes_a_stream(recorded: str) -> None:
    of = recording(recorded)
    assert all(is_the_same(of, every(size, of.body)) for size in (SIZES if len(of.body) < MANY_BYTES else FEW_SIZES))


def is_the_same(of: Recording, cuts: Sequence[int]) -> bool:
    """A decoder gets whole frames, so that the same frames are the same events; of an array it gets the pieces."""
    is_framed_alike = not of.is_array and frames_of(of, cuts) == whole_frames(of)
    return is_framed_alike or events_of(of, cuts) == events_of(of)


@pytest.mark.torture
@pytest.mark.parametrize("recorded", STREAMS, ids=str)
def test_no_cut_in_two_changes_a_stream(recorded: str) -> None:
    of = recording(recorded)
    whole = events_of(of)
    assert all(events_of(of, every(size, of.body)) == whole for size in SIZES)
    assert all(is_the_same(of, (cut,)) for cut in range(1, min(4096, len(of.body))))


@pytest.mark.parametrize("recorded", ANSWERED, ids=str)
def test_an_answer_is_read_without_loss_at_the_recorded_count(recorded: str) -> None:
    of = recording(recorded)
    result, is_whole = result_of(of)
    wanted = read(of.tongue.api, of.body, is_stream=of.is_stream)
    assert is_whole == (not wanted.broken)
    assert folded(unfolded(result)) == result
    if is_whole:
        check_count(result.usage, wanted.counts)


def check_count(usage: Usage | None, wanted: Counts | None) -> None:
    if wanted is None or usage is None:
        assert usage is None and wanted is None
        return
    assert not usage.estimated and not usage.suspect
    assert counts_of(usage) == wanted
    assert PRICE.of(usage) == cost_of(wanted)


def counts_of(usage: Usage) -> Counts:
    return Counts(
        input=usage.input_tokens,
        output=usage.output_tokens,
        cached=usage.cached_input_tokens,
        cache_write=usage.cache_write_tokens,
        reasoning=usage.reasoning_tokens,
        audio_input=usage.audio_input_tokens,
        audio_output=usage.audio_output_tokens,
    )


def cost_of(counts: Counts) -> int:
    """Each token once, at the price of what it is; nano-USD, rounded up. Some providers count more cached tokens than there
    were in all: no more than all are charged."""
    parts = [
        *split(counts.input, (counts.cached, counts.cache_write, counts.audio_input)),
        *split(counts.output, (counts.reasoning, counts.audio_output)),
    ]
    prices = (PRICE.cached_input, PRICE.cache_write, PRICE.audio_input, PRICE.input)
    prices_out = (PRICE.reasoning, PRICE.audio_output, PRICE.output)
    priced = zip(parts, [*prices, *prices_out], strict=True)
    return ceil(sum(Fraction(count * (price or 0), 1_000_000) for count, price in priced))


def split(whole: int, parts: tuple[int, ...]) -> list[int]:
    """The parts as far as they go into the whole, and what is left."""
    found = []
    for part in parts:
        found.append(min(part, whole))
        whole -= found[-1]
    return [*found, whole]


# -- what each caller is told -----------------------------------------------------------------------------------


@pytest.mark.parametrize("recorded", ANSWERED, ids=str)
def test_each_caller_is_told_the_same_and_its_sdk_reads_it(recorded: str) -> None:
    of = recording(recorded)
    wanted = read(of.tongue.api, of.body, is_stream=of.is_stream)
    for caller in CALLERS:
        if of.is_stream and not of.is_array:
            check_stream(caller, of, wanted)
        else:
            check_whole(caller, of, wanted)


def check_whole(caller: Caller, of: Recording, wanted: Answer) -> None:
    result, _ = result_of(of)
    if of.is_array:
        told = caller.told(result)
    else:
        told, usage = caller.way_back(of.tongue).answer(of.body, AT)
        check_count(usage, wanted.counts)
    caller.check(of, told, is_stream=False)
    check_told(caller, read(caller.api, told, is_stream=False), wanted)
    again = caller.streamed(unfolded(result))
    caller.check(of, again, is_stream=True)
    check_told(caller, read(caller.api, again, is_stream=True), wanted)


def check_stream(caller: Caller, of: Recording, wanted: Answer) -> None:
    meter = caller.way_back(of.tongue).meter(AT)
    assert isinstance(meter, TranslatedMeter)
    told = b"".join(map(meter.feed, whole_frames(of)))
    assert (meter.finished and not meter.failed) == (not wanted.broken)
    if wanted.broken:
        return
    told += meter.close()
    caller.check(of, told, is_stream=True)
    check_count(meter.usage, wanted.counts)
    check_told(caller, read(caller.api, told, is_stream=True), wanted)
    if not (of.name in BEYOND_SDKS and of.tongue.api is caller.api):
        seen = json.dumps(put_together(caller.api, told)).encode()
        check_told(caller, read(caller.api, seen, is_stream=False), wanted)
        ids = call_ids(caller.api, json.loads(seen))
        assert all(ids) and len(set(ids)) == len(ids)
    whole = caller.told(result_of(of)[0])
    caller.check(of, whole, is_stream=False)
    check_told(caller, read(caller.api, whole, is_stream=False), wanted)


def call_ids(api: Api, answer: Json) -> list[str]:
    """Of every call that the caller may answer."""
    if api is Api.CHAT:
        return [call["id"] for choice in answer["choices"] for call in choice["message"].get("tool_calls") or ()]
    if api is Api.MESSAGES:
        return [block["id"] for block in answer["content"] if block["type"] == "tool_use"]
    return [item["call_id"] for item in answer["output"] if item["type"] == "function_call"]


def check_told(caller: Caller, got: Answer, wanted: Answer) -> None:
    choices = wanted.choices if caller.api is Api.CHAT else wanted.choices[:1]
    assert len(got.choices) == len(choices)
    for ours, theirs in zip(got.choices, choices, strict=True):
        check_choice(ours, theirs)
    if wanted.counts is not None:
        assert got.counts is not None
        assert (got.counts.input, got.counts.output) == (wanted.counts.input, wanted.counts.output)
        # Messages tells them beside the rest of the input, so that there can be no more of them than there is.
        assert got.counts.cached in {wanted.counts.cached, min(wanted.counts.cached, wanted.counts.input)}


def check_choice(ours: Said, theirs: Said) -> None:
    assert ours.text == theirs.text
    assert ours.thought == theirs.thought
    assert same_arguments(ours.calls, theirs.calls)
    # OpenAI ends a choice whose tool was forced with `stop`; other APIs have one word for calls.
    was_forced = theirs.finish == STOP and theirs.calls and ours.finish == TOOLS
    # A refusal is a `stop` with a member of its own in one API, and an end of its own in another.
    was_refused = (ours.is_refusal or theirs.is_refusal) and {ours.finish, theirs.finish} == {STOP, FILTERED}
    assert ours.finish == theirs.finish or was_forced or was_refused or theirs.finish == OTHER
