"""Whatever a provider answers is told to each caller, whole and in a stream, and both say the same."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.domain.chat import ChatQuery, ChatResult, Choice, Finish, Part, Reasoning, Text, ToolCall
from router.domain.events import Broken, Finished, PartEnded, PartStarted, Started, StreamEvent, UsageReported
from router.domain.folding import folded, unfolded
from router.domain.usage import Usage
from router.providers.sse import blocks
from tests.providers.properties.made_chats import results
from tests.providers.properties.targets import CALLERS

Asked = tuple[ChatResult, dict[str, str]]
CALLER = pytest.mark.parametrize("name", CALLERS)
QUICK = settings(max_examples=150, deadline=None, derandomize=True)


def asked_by(name: str) -> ChatQuery:
    return ChatQuery(CALLERS[name][0].family, (), stream=True, wants_usage=True)


def streamed(name: str, events: list[StreamEvent]) -> bytes:
    encoder = CALLERS[name][0].stream_encoder(asked_by(name))
    return b"".join([*(encoder.feed(event) for event in events), encoder.close()])


def read_again(name: str, told: bytes) -> ChatResult:
    decoder = CALLERS[name][1].stream_decoder()
    events = [event for frame in blocks(told) for event in decoder.feed(frame)]
    assert decoder.finished
    return folded([*events, *decoder.close()])


def said(choice: Choice) -> tuple[object, ...]:
    """What of a choice is the same in every dialect. Blanks between thoughts are each dialect's own."""
    text = "".join(part.text for part in choice.parts if isinstance(part, Text))
    thought = "".join("".join(part.text for part in choice.parts if isinstance(part, Reasoning)).split())
    calls = [(part.id, part.name, part.arguments) for part in choice.parts if isinstance(part, ToolCall)]
    return text, thought, calls, choice.finish


def counted(usage: Usage | None) -> tuple[int, ...]:
    assert usage is not None
    return (
        usage.input_tokens,
        usage.output_tokens,
        usage.cached_input_tokens,
        usage.cache_write_tokens,
        usage.reasoning_tokens,
    )


def mixed(result: ChatResult, seed: int) -> list[StreamEvent]:
    """The events of a stream in which the parts of all choices are under way side by side, each in its own order."""
    rng = random.Random(seed)
    lanes: dict[tuple[int, int], list[StreamEvent]] = {}
    ends: list[StreamEvent] = []
    started: list[StreamEvent] = []
    for event in unfolded(result):
        if isinstance(event, Started):
            started.append(event)
        elif isinstance(event, Finished | UsageReported):
            ends.append(event)
        else:
            assert not isinstance(event, Broken), "a whole answer has no such event"
            lanes.setdefault((event.choice, event.index), []).append(event)
    waiting, told = list(lanes.values()), started
    while waiting:
        # A part begins before the next one of its choice does.
        may = [
            lane for lane in waiting if not isinstance(lane[0], PartStarted) or lane is _first_new(waiting, lane[0].choice)
        ]
        lane = rng.choice(may)
        told.append(lane.pop(0))
        waiting = [one for one in waiting if one]
    return [*told, *ends]


def _first_new(waiting: list[list[StreamEvent]], choice: int) -> list[StreamEvent]:
    new = [lane for lane in waiting if isinstance(lane[0], PartStarted) and lane[0].choice == choice]
    return new[0]


@CALLER
@QUICK
@given(given_=results())
def test_every_word_of_an_answer_reaches_the_caller(name: str, given_: Asked) -> None:
    result, marks = given_
    whole = CALLERS[name][0].encode_result(result, asked_by(name)).decode()
    stream = streamed(name, list(unfolded(result))).decode()
    assert not {place for word, place in marks.items() if word not in whole or word not in stream}


@CALLER
@QUICK
@given(given_=results())
def test_a_stream_says_what_the_whole_answer_says(name: str, given_: Asked) -> None:
    result, _ = given_
    whole = CALLERS[name][1].decode_result(CALLERS[name][0].encode_result(result, asked_by(name)))
    again = read_again(name, streamed(name, list(unfolded(result))))
    assert [said(choice) for choice in again.choices] == [said(choice) for choice in whole.choices]
    assert counted(again.usage) == counted(whole.usage) == counted(result.usage)


@CALLER
@QUICK
@given(given_=results(), seed=st.integers(0, 2**16))
def test_parts_that_are_under_way_side_by_side_stay_apart(name: str, given_: Asked, seed: int) -> None:
    result, marks = given_
    events = mixed(result, seed)
    assert folded(events) == folded(list(unfolded(result)))
    told = streamed(name, events)
    assert not {place for word, place in marks.items() if word not in told.decode()}
    calls = [call for choice in result.choices for call in choice.parts if isinstance(call, ToolCall)]
    again = read_again(name, told)
    found = [part for choice in again.choices for part in choice.parts if isinstance(part, ToolCall)]
    assert {(c.id, c.name, c.arguments) for c in found} == {(c.id, c.name, c.arguments) for c in calls}


@QUICK
@given(given_=results(choices=2), seed=st.integers(0, 2**16))
def test_two_choices_that_mix_stay_apart(given_: Asked, seed: int) -> None:
    result, _ = given_
    whole = CALLERS["chat"][1].decode_result(CALLERS["chat"][0].encode_result(result, asked_by("chat")))
    again = read_again("chat", streamed("chat", mixed(result, seed)))
    assert [said(choice)[2:] for choice in again.choices] == [said(choice)[2:] for choice in whole.choices]


@QUICK
@given(given_=results())
def test_an_answer_and_its_events_are_one(given_: Asked) -> None:
    events = list(unfolded(given_[0]))
    assert folded(events) == given_[0]
    assert sum(isinstance(event, PartEnded) for event in events) == sum(len(choice.parts) for choice in given_[0].choices)


@CALLER
@pytest.mark.parametrize("finish", list(Finish))
def test_every_end_is_told_alike_in_a_stream_and_whole(name: str, finish: Finish) -> None:
    parts: tuple[Part, ...] = (ToolCall("c", "f", "{}"),) if finish is Finish.TOOLS else (Text("hi"),)
    result = ChatResult(CALLERS[name][0].family, "id", "m", (Choice(parts, finish),), Usage(1, 1))
    whole = CALLERS[name][1].decode_result(CALLERS[name][0].encode_result(result, asked_by(name)))
    assert read_again(name, streamed(name, list(unfolded(result)))).choices[0].finish is whole.choices[0].finish
