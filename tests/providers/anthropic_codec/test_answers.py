"""Answers and streams for Anthropic's callers, whoever gave them; and bytes that are no answer."""

import json
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from anthropic.types import Message, RawMessageStreamEvent
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from router.domain.chat import (
    ChatQuery,
    ChatResult,
    Choice,
    Family,
    Finish,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    Role,
    Text,
    ToolCall,
)
from router.domain.errors import InvalidRequest
from router.domain.events import (
    Broken,
    Finished,
    PartEnded,
    PartStarted,
    SignatureDelta,
    Started,
    StreamEvent,
    TextDelta,
    UsageReported,
)
from router.domain.folding import folded, unfolded
from router.domain.usage import Usage
from router.providers.anthropic.codec import ANTHROPIC
from router.providers.sse import blocks

EVENTS: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)
ASKED = ChatQuery(Family.ANTHROPIC, ())
USAGE = Usage(input_tokens=100, output_tokens=9, cached_input_tokens=60, cache_write_tokens=30, cache_write_1h_tokens=10)


def result_of(*parts: Part, finish: Finish = Finish.STOP, family: Family = Family.CHAT, said: str = "") -> ChatResult:
    return ChatResult(family, "id-1", "m", (Choice(parts, finish, said),), USAGE)


def told(result: ChatResult) -> dict[str, Any]:
    body = ANTHROPIC.encode_result(result, ASKED)
    Message.model_validate_json(body)
    found: dict[str, Any] = json.loads(body)
    return found


def streamed(events: list[StreamEvent]) -> list[dict[str, Any]]:
    encoder = ANTHROPIC.stream_encoder(ASKED)
    out = b"".join([encoder.feed(event) for event in events]) + encoder.close()
    return [json.loads(line[6:]) for line in out.split(b"\n") if line.startswith(b"data: ")]


def heard_again(content: list[Any]) -> tuple[Part, ...]:
    """The parts of an assistant's turn as its caller gives it back."""
    body = {"messages": [{"role": "assistant", "content": content}]}
    (turn,) = ANTHROPIC.decode_query(msgspec.json.encode(body)).turns
    assert turn.role is Role.ASSISTANT
    return turn.parts


def content_of(events: list[dict[str, Any]]) -> list[Any]:
    """What a client makes of the blocks of a stream."""
    made: list[Any] = []
    for event in events:
        if event["type"] == "content_block_start":
            assert event["index"] == len(made)
            made.append(event["content_block"] | ({"input": ""} if event["content_block"]["type"] == "tool_use" else {}))
        elif event["type"] == "content_block_delta":
            delta = dict(event["delta"])
            del delta["type"]
            ((name, value),) = delta.items()
            made[event["index"]][{"partial_json": "input"}.get(name, name)] += value
    return [b | {"input": json.loads(b["input"] or "{}")} if b["type"] == "tool_use" else b for b in made]


def test_usage_is_told_as_anthropic_counts_it() -> None:
    usage = told(result_of(Text("x")))["usage"]
    assert (usage["input_tokens"], usage["cache_read_input_tokens"], usage["cache_creation_input_tokens"]) == (10, 60, 30)
    assert usage["cache_creation"] == {"ephemeral_5m_input_tokens": 20, "ephemeral_1h_input_tokens": 10}
    assert ANTHROPIC.decode_result(ANTHROPIC.encode_result(result_of(Text("x")), ASKED)).usage == USAGE


@pytest.mark.parametrize("finish", list(Finish))
def test_every_end_has_a_word_that_the_sdk_knows(finish: Finish) -> None:
    words = {"end_turn", "max_tokens", "stop_sequence", "tool_use", "pause_turn", "refusal", "model_context_window_exceeded"}
    assert told(result_of(Text("x"), finish=finish, said="length"))["stop_reason"] in words


OTHERS: list[tuple[Part, ...]] = [
    (Reasoning("so", Family.GEMINI, "c2ln"), Text("x")),
    (Reasoning("so", Family.RESPONSES, encrypted="gAAA", id="rs_1", is_summary=True), ToolCall("c1", "f", '{"a":1}')),
    (ToolCall("c1", "f", "{}", signature="c2ln", family=Family.GEMINI), ToolCall("c2", "g", '{"b":[2]}')),
]


@pytest.mark.parametrize("parts", OTHERS, ids=str)
def test_what_another_family_signed_comes_back_with_the_next_turn(parts: tuple[Part, ...]) -> None:
    whole = told(result_of(*parts, family=Family.GEMINI))["content"]
    pieces = content_of(streamed(list(unfolded(result_of(*parts, family=Family.GEMINI)))))
    assert heard_again(whole) == heard_again(pieces) == parts


def test_a_thought_that_nobody_signed_has_an_empty_signature() -> None:
    (thought, _) = told(result_of(Reasoning("so", Family.CHAT), Text("x")))["content"]
    assert thought == {"type": "thinking", "thinking": "so", "signature": ""}
    assert heard_again([thought]) == (Reasoning("so"),)


def test_a_refusal_is_a_text_that_ends_with_refusal_and_anthropics_own_stands_beside() -> None:
    foreign = told(result_of(Refusal("no"), finish=Finish.REFUSED))
    assert (foreign["content"], foreign["stop_reason"]) == ([{"type": "text", "text": "no"}], "refusal")
    own = told(result_of(Refusal("no"), finish=Finish.REFUSED, family=Family.ANTHROPIC))
    assert (own["content"], own["stop_details"]["explanation"]) == ([], "no")


def test_arguments_that_are_no_object_are_told_as_what_they_are() -> None:
    (call,) = told(result_of(ToolCall("c", "f", '{"a":')))["content"]
    assert call["input"] == {"INVALID_JSON": '{"a":'}


def test_other_families_own_parts_are_left_out() -> None:
    assert told(result_of(Opaque(Family.RESPONSES, "web_search_call", msgspec.Raw(b"{}"))))["content"] == []


def test_parts_that_come_mixed_are_told_one_after_the_other() -> None:
    mixed: list[StreamEvent] = [
        Started(Family.CHAT, "id-1", "m"),
        PartStarted(0, ToolCall("a", "f", "")),
        PartStarted(1, ToolCall("b", "g", "")),
        TextDelta(1, '{"y"'),
        TextDelta(0, '{"x"'),
        TextDelta(0, ":1}"),
        TextDelta(1, ":2}"),
        PartEnded(0),
        PartStarted(2, Text("")),
        PartEnded(1),
        TextDelta(2, "done"),
        PartEnded(2),
        PartStarted(0, Text("of another choice"), choice=1),
        Finished(Finish.TOOLS),
        UsageReported(USAGE),
    ]
    events = streamed(mixed)
    for event in events:
        EVENTS.validate_python(event)
    order = [event["index"] for event in events if "index" in event]
    assert order == sorted(order)
    assert content_of(events) == [
        {"type": "tool_use", "id": "a", "name": "f", "input": {"x": 1}},
        {"type": "tool_use", "id": "b", "name": "g", "input": {"y": 2}},
        {"type": "text", "text": "done"},
    ]
    assert events[-2]["delta"]["stop_reason"] == "tool_use"
    assert events[-2]["usage"]["input_tokens"] == 10


def test_a_seal_that_comes_late_is_told_before_the_block_ends() -> None:
    events = streamed(
        [
            Started(Family.RESPONSES, "id-1", "m"),
            PartStarted(0, Reasoning("", Family.RESPONSES, id="rs_1")),
            TextDelta(0, "so"),
            SignatureDelta(0, "gA", is_encrypted=True),
            SignatureDelta(0, "AA", is_encrypted=True),
            PartEnded(0),
            Finished(Finish.STOP),
        ]
    )
    assert heard_again(content_of(events)) == (Reasoning("so", Family.RESPONSES, encrypted="gAAA", id="rs_1"),)


@pytest.mark.parametrize(
    ("broken", "kind"),
    [
        (Broken("overloaded_error", "x"), "overloaded_error"),
        (Broken("server_error", "x", 429), "rate_limit_error"),
        (Broken("server_error", "x"), "api_error"),
    ],
)
def test_a_broken_stream_ends_with_an_error_and_no_false_end(broken: Broken, kind: str) -> None:
    events = streamed([Started(Family.CHAT, "i", "m"), broken])
    assert [event["type"] for event in events] == ["message_start", "error"]
    assert events[1]["error"] == {"type": kind, "message": "x"}


@pytest.mark.parametrize(
    ("status", "body", "code", "param"),
    [
        (400, "prompt is too long: 210000 tokens > 200000 maximum", "context_length_exceeded", None),
        (400, "input length and `max_tokens` exceed context limit: 1 + 2 > 3", "context_length_exceeded", None),
        (400, "Your credit balance is too low to access the Anthropic API.", "insufficient_quota", None),
        (400, "Output blocked by content filtering policy", "content_policy_violation", None),
        (400, "messages.0.content: Field required", None, "messages.0.content"),
        (529, "Overloaded", None, None),
    ],
)
def test_what_an_error_is_about_is_read_from_its_text(status: int, body: str, code: str | None, param: str | None) -> None:
    envelope = {"type": "error", "error": {"type": "invalid_request_error", "message": body}, "request_id": "r"}
    told = ANTHROPIC.decode_error(status, json.dumps(envelope).encode())
    assert (told.message, told.kind, told.code, told.param) == (body, "invalid_request_error", code, param)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"error":7}', b"\xff\xfe"])
def test_an_error_that_is_no_envelope_is_told_as_far_as_it_can_be(body: bytes) -> None:
    assert ANTHROPIC.decode_error(502, body).message


# -- whatever comes -----------------------------------------------------------------------------------------------------

ANSWER: dict[str, Any] = {
    "type": "message",
    "id": "i",
    "content": [
        {"type": "thinking", "thinking": "t", "signature": "s"},
        {"type": "tool_use", "id": "c", "name": "f", "input": {}},
    ],
    "stop_reason": "refusal",
    "stop_details": {"explanation": "e"},
    "usage": {"input_tokens": 1, "output_tokens": 2, "cache_creation": {"ephemeral_1h_input_tokens": 1}},
}
REQUEST: dict[str, Any] = {
    "messages": [
        {"role": "user", "content": [*ANSWER["content"], {"type": "document", "source": {"type": "text", "data": "d"}}]}
    ],
    "tools": [{"name": "f", "input_schema": {}}],
    "thinking": {"type": "enabled", "budget_tokens": 5},
    "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": {}}},
    "tool_choice": {"type": "auto"},
    "metadata": {"user_id": "u"},
}
leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=6)
values = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
)


@st.composite
def mutated(draw: st.DrawFn, whole: Any) -> bytes:
    """`whole` with one value somewhere in it replaced or taken out."""
    copy = place = json.loads(json.dumps(whole))
    while True:
        key = draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        inner = place[key]
        if isinstance(inner, dict | list) and inner and draw(st.booleans()):
            place = inner
            continue
        if isinstance(place, dict) and draw(st.booleans()):
            del place[key]
        else:
            place[key] = draw(values)
        return json.dumps(copy).encode()


def frames_of(result: ChatResult) -> list[bytes]:
    encoder = ANTHROPIC.stream_encoder(ASKED)
    return list(blocks(b"".join([encoder.feed(event) for event in unfolded(result)]) + encoder.close()))


FRAMES = frames_of(result_of(Reasoning("so", Family.ANTHROPIC, "s"), Text("x"), ToolCall("c", "f", '{"a":1}')))
DATA = [json.loads(frame.split(b"data: ")[1]) for frame in FRAMES]


@given(mutated(ANSWER) | st.binary(max_size=60))
def test_an_answer_that_is_none_is_a_value_error(body: bytes) -> None:
    with suppress(ValueError):
        ANTHROPIC.encode_result(ANTHROPIC.decode_result(body), ASKED)


@given(mutated(REQUEST) | st.binary(max_size=60))
def test_a_request_that_is_none_is_an_invalid_request(body: bytes) -> None:
    with suppress(InvalidRequest):
        ANTHROPIC.encode_query(ANTHROPIC.decode_query(body), "m", "p/m")


@given(
    st.lists(st.sampled_from(range(len(DATA))).flatmap(lambda at: mutated(DATA[at])) | st.sampled_from(FRAMES), max_size=12)
)
def test_frames_that_are_none_are_value_errors_and_the_rest_are_events_in_order(frames: list[bytes]) -> None:
    decoder, events = ANTHROPIC.stream_decoder(), list[StreamEvent]()
    with suppress(ValueError):
        for frame in frames:
            events += decoder.feed(frame if frame.startswith(b"event") else b"data: " + frame + b"\n\n")
    with suppress(ValueError):
        folded(events)
