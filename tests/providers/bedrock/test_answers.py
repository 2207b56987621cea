"""What Converse answers, in common words: blocks, ends, counts, exceptions; noise is a clean error."""

import json
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.domain.chat import Family, Finish, Opaque, Reasoning, Text, ToolCall
from router.domain.events import Broken, PartStarted, Started, StreamEvent, TextDelta
from router.domain.folding import folded
from router.domain.usage import Usage
from router.providers.bedrock.codec import BEDROCK
from router.providers.bedrock.eventstream import messages, parse_message
from router.providers.bedrock.stream import ConverseDecoder
from tests.providers.bedrock.event_writer import event, exception, message
from tests.providers.bedrock.recordings import streams

START = event("messageStart", {"role": "assistant"})
USAGE = {"inputTokens": 7, "outputTokens": 5, "totalTokens": 12}


def answer(*blocks: Any, stop: str = "end_turn", usage: Any = None, **more: Any) -> bytes:
    told = {"output": {"message": {"role": "assistant", "content": list(blocks)}}, "stopReason": stop} | more
    return json.dumps(told | {"usage": usage or USAGE, "metrics": {"latencyMs": 1}, "trace": {"x": 1}}).encode()


def delta(index: int, **said: Any) -> bytes:
    return event("contentBlockDelta", {"contentBlockIndex": index, "delta": said})


def read(*frames: bytes) -> list[StreamEvent]:
    decoder = ConverseDecoder()
    return [found for frame in frames for found in decoder.feed(frame)] + list(decoder.close())


# -- whole --------------------------------------------------------------------------------------------------------


def test_blocks_of_every_kind() -> None:
    server_call = {"toolUse": {"toolUseId": "t", "name": "nova_grounding", "input": {}, "type": "server_tool_use"}}
    result = BEDROCK.decode_result(
        answer(
            {"reasoningContent": {"reasoningText": {"text": "So.", "signature": "c2ln"}}},
            {"reasoningContent": {"redactedContent": "c2VhbA=="}},
            {"text": "Hello"},
            {"toolUse": {"toolUseId": "tooluse_1", "name": "weather", "input": {"city": "Rome"}}},
            server_call,
            {"tomorrowsBlock": {"x": 1}},
            serviceTier={"type": "flex"},
        )
    )
    parts = result.choices[0].parts
    assert parts[:4] == (
        Reasoning("So.", Family.BEDROCK, "c2ln"),
        Reasoning("", Family.BEDROCK, encrypted="c2VhbA=="),
        Text("Hello"),
        ToolCall("tooluse_1", "weather", '{"city": "Rome"}'),
    )
    assert [(part.kind, msgspec.json.decode(part.raw)) for part in parts[4:] if isinstance(part, Opaque)] == [
        ("toolUse", server_call),
        ("tomorrowsBlock", {"tomorrowsBlock": {"x": 1}}),
    ]
    assert result.service_tier == "flex"


def test_a_citation_says_what_it_rests_on() -> None:
    raw = {
        "title": "facts",
        "sourceContent": [{"text": "Ruby is a language."}],
        "location": {"web": {"url": "https://ruby-lang.org", "domain": "ruby-lang.org"}},
    }
    cited = {"citationsContent": {"content": [{"text": "Ruby."}], "citations": [raw]}}
    [part] = BEDROCK.decode_result(answer(cited)).choices[0].parts
    assert isinstance(part, Text) and part.text == "Ruby."
    [citation] = part.citations
    assert (citation.title, citation.quote, citation.url) == ("facts", "Ruby is a language.", "https://ruby-lang.org")
    assert msgspec.json.decode(citation.raw) == raw


@pytest.mark.parametrize(
    ("word", "finish"),
    [
        ("end_turn", Finish.STOP),
        ("tool_use", Finish.TOOLS),
        ("max_tokens", Finish.LENGTH),
        ("stop_sequence", Finish.STOP_SEQUENCE),
        ("guardrail_intervened", Finish.FILTERED),
        ("content_filtered", Finish.FILTERED),
        ("malformed_tool_use", Finish.MALFORMED),
        ("model_context_window_exceeded", Finish.CONTEXT),
        ("something_new", Finish.UNKNOWN),
    ],
)
def test_how_an_answer_ended(word: str, finish: Finish) -> None:
    choice = BEDROCK.decode_result(answer({"text": "x"}, stop=word)).choices[0]
    assert (choice.finish, choice.said) == (finish, word)


@pytest.mark.parametrize(
    ("told", "usage"),
    [
        ({}, Usage(7, 5)),
        (
            {
                "cacheReadInputTokens": 100,
                "cacheWriteInputTokens": 30,
                "totalTokens": 142,
                "cacheDetails": [{"ttl": "1h", "inputTokens": 20}, {"ttl": "5m", "inputTokens": 10}],
            },
            Usage(137, 5, 100, 30, cache_write_1h_tokens=20),
        ),
        ({"inputTokens": 107, "cacheReadInputTokens": 100, "totalTokens": 112}, Usage(107, 5, 100)),
        ({"inputTokens": -1}, None),
        ({"outputTokens": "many"}, None),
    ],
)
def test_what_was_used_counts_every_part_once(told: dict[str, Any], usage: Usage | None) -> None:
    assert BEDROCK.decode_result(answer({"text": "x"}, usage=USAGE | told)).usage == usage


@pytest.mark.parametrize("noise", [b"", b"[]", b"{}", b'{"output":{}}', b'{"output":{"message":{"content":[7]}}}', b"\xff"])
def test_an_answer_that_is_none_is_a_clean_error(noise: bytes) -> None:
    with pytest.raises(ValueError, match="none of Converse's"):
        BEDROCK.decode_result(noise)


# -- streams ------------------------------------------------------------------------------------------------------


def test_a_stream_makes_the_answer() -> None:
    call = {"toolUse": {"toolUseId": "tooluse_1", "name": "weather"}}
    result = folded(
        read(
            START,
            delta(0, reasoningContent={"text": "S"}),
            delta(0, reasoningContent={"text": "o."}),
            delta(0, reasoningContent={"signature": "c2ln"}),
            event("contentBlockStop", {"contentBlockIndex": 0}),
            delta(1, text="Hel"),
            delta(1, text="lo"),
            delta(1, citation={"title": "t", "sourceContent": [{"text": "q"}]}),
            event("contentBlockStop", {"contentBlockIndex": 1}),
            event("contentBlockStart", {"contentBlockIndex": 2, "start": call}),
            delta(2, toolUse={"input": '{"city":'}),
            delta(2, toolUse={"input": '"Rome"}'}),
            event("contentBlockStop", {"contentBlockIndex": 2}),
            event("contentBlockStart", {"contentBlockIndex": 3, "start": call}),
            event("contentBlockStop", {"contentBlockIndex": 3}),
            event("messageStop", {"stopReason": "tool_use"}),
            event("metadata", {"usage": USAGE, "metrics": {"latencyMs": 1}}),
        )
    )
    thought, text, first, second = result.choices[0].parts
    assert thought == Reasoning("So.", Family.BEDROCK, "c2ln")
    assert isinstance(text, Text) and (text.text, text.citations[0].quote) == ("Hello", "q")
    assert first == ToolCall("tooluse_1", "weather", '{"city":"Rome"}')
    assert second == ToolCall("tooluse_1", "weather", "{}")
    assert (result.choices[0].finish, result.usage) == (Finish.TOOLS, Usage(7, 5))


def test_a_stream_without_its_first_event_and_blocks_that_change_their_kind() -> None:
    events = read(
        delta(4, reasoningContent={"redactedContent": "c2VhbA=="}),
        delta(4, text="x"),
        event("messageStop", {"stopReason": "end_turn"}),
    )
    assert isinstance(events[0], Started)
    assert [found.index for found in events if isinstance(found, PartStarted)] == [0, 1]
    assert folded(events).choices[0].parts == (Reasoning("", Family.BEDROCK, encrypted="c2VhbA=="), Text("x"))


def test_what_the_provider_runs_itself_is_passed_over() -> None:
    call = {"toolUse": {"toolUseId": "t", "name": "nova_code_interpreter", "type": "server_tool_use"}}
    events = read(
        START,
        event("contentBlockStart", {"contentBlockIndex": 0, "start": call}),
        delta(0, toolUse={"input": "{}"}),
        event("contentBlockStop", {"contentBlockIndex": 0}),
        event("contentBlockStart", {"contentBlockIndex": 1, "start": {"toolResult": {"toolUseId": "t"}}}),
        delta(1, toolResult=[{"json": {}}]),
        event("contentBlockStop", {"contentBlockIndex": 1}),
        delta(2, text="7006652"),
    )
    assert [found for found in events if isinstance(found, PartStarted)] == [PartStarted(0, Text(""))]


@pytest.mark.parametrize("start", [{}, {"text": {}}, None])
def test_a_text_that_is_announced_is_heard(start: object) -> None:
    events = read(
        START,
        event("contentBlockStart", {"contentBlockIndex": 0, "start": start}),
        delta(0, text="Hello"),
        event("contentBlockStop", {"contentBlockIndex": 0}),
        event("messageStop", {"stopReason": "end_turn"}),
    )
    assert folded(events).choices[0].parts == (Text("Hello"),)


def test_a_kind_of_block_that_is_not_known_is_passed_over() -> None:
    begun = event("contentBlockStart", {"contentBlockIndex": 0, "start": {"tomorrows": {}}})
    assert not [found for found in read(START, begun, delta(0, text="?")) if isinstance(found, PartStarted)]


def test_events_of_types_that_are_not_known_are_counted_and_no_events() -> None:
    decoder = ConverseDecoder()
    noise = [event("tomorrowsEvent", {"x": 1}), message({}, b""), delta(0, tomorrowsDelta={"x": 1})]
    assert not [found for frame in noise for found in decoder.feed(frame)]
    assert decoder.unknown == 3 and not decoder.finished


@pytest.mark.parametrize(
    ("frame", "broken"),
    [
        (exception("throttlingException", {"message": "Slow down."}), Broken("throttlingException", "Slow down.", 429)),
        (
            exception("modelStreamErrorException", {"originalMessage": "It fell.", "originalStatusCode": 503}),
            Broken("modelStreamErrorException", "It fell.", 503),
        ),
        (
            message({":message-type": "exception", ":exception-type": "newException"}, b"no JSON"),
            Broken("newException", "the model's stream ended with newException", 500),
        ),
        (
            message({":message-type": "error", ":error-code": "500", ":error-message": "Inner."}, b""),
            Broken("500", "Inner.", 500),
        ),
    ],
)
def test_an_exception_ends_the_stream(frame: bytes, broken: Broken) -> None:
    assert read(START, delta(0, text="x"), frame)[-1] == broken
    assert read(frame) == [broken]


@pytest.mark.parametrize(
    "frames",
    [
        [event("contentBlockDelta", {"contentBlockIndex": "x"})],
        [event("contentBlockDelta", {"contentBlockIndex": 0})],
        [delta(0, toolUse={"input": "{}"})],
        [message({":event-type": "messageStop"}, b"\xff")],
        [b"", b"data: {}\n\n"],
    ],
)
def test_a_frame_that_is_none_is_a_clean_error(frames: Sequence[bytes]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  each kind of noise has words of its own
        read(START, *frames)


@given(st.data())
def test_recorded_events_with_anything_changed_give_only_clean_errors(data: st.DataObject) -> None:
    recorded = streams()
    recording = data.draw(st.sampled_from(recorded))
    told = [parse_message(one) for one in messages(recording.body)]
    at = data.draw(st.integers(0, len(told) - 1))
    payload = bytearray(told[at].payload)
    for _ in range(data.draw(st.integers(1, 4))):
        payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
    frames = [message(dict(one.headers), bytes(payload) if n == at else one.payload) for n, one in enumerate(told)]
    with suppress(ValueError):
        assert all(isinstance(found, StreamEvent) for found in read(*frames))


def test_a_stream_says_nothing_twice() -> None:
    events = read(START, delta(0, text=""), delta(0, text="x"), delta(0, text=""))
    assert [found.text for found in events if isinstance(found, TextDelta)] == ["x"]


@pytest.mark.parametrize(
    ("body", "message_", "code"),
    [
        (b'{"message":"Input is too long for requested model."}', "Input is too long for requested model.", True),
        (b'{"Message":"User is not authorized"}', "User is not authorized", False),
        (b"<html>", "<html>", False),
        (b"", "HTTP 400", False),
    ],
)
def test_what_an_error_says(body: bytes, message_: str, *, code: bool) -> None:
    told = BEDROCK.decode_error(400, body)
    assert (told.message, told.code) == (message_, "context_length_exceeded" if code else None)
